"""The handwritten digits: what the latent space keeps, the split, and the Gaussians fitted to it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn import datasets, decomposition  # type: ignore[import-untyped]

from coevo.digits import Digits, load_digits

PIXELS = datasets.load_digits().data
LABEL = datasets.load_digits().target


@pytest.fixture(scope="module")
def digits() -> Digits:
    return load_digits()


@pytest.fixture(scope="module")
def everything() -> Digits:
    return load_digits(60)


def test_shapes(digits: Digits) -> None:
    assert digits.dim == 16
    assert digits.centre.shape == (64,)
    assert digits.axes.shape == (16, 64)
    assert (digits.p.shape, digits.mean.shape, digits.cov.shape) == ((10,), (10, 16), (10, 16, 16))
    assert len(digits.train) == len(digits.held_out) == 10
    assert all(points.shape[1] == 16 for points in (*digits.train, *digits.held_out))


@pytest.mark.parametrize(("share", "seed"), [(0.5, 0), (0.25, 1), (0.0, 2), (0.9, 3)])
def test_split_is_stratified(share: float, seed: int) -> None:
    digits = load_digits(2, held_out=share, rng=seed)
    for label in range(10):
        n, m = len(digits.train[label]), len(digits.held_out[label])
        assert n + m == (label == LABEL).sum()
        assert abs(m - share * (n + m)) <= 0.5
        assert digits.p[label] == n / sum(map(len, digits.train))


def test_split_is_disjoint_and_has_every_picture_of_its_label(everything: Digits) -> None:
    for label in range(10):
        own = PIXELS[label == LABEL]
        training = everything.decode(everything.train[label]).reshape(-1, 64)
        same = np.abs(training[:, None] - own).max(axis=-1) < 1e-9
        assert (same.sum(axis=1) == 1).all()  # each training picture is one picture of the label, once
        rest = own[~same.any(axis=0)]
        np.testing.assert_allclose(everything.encode(rest.reshape(-1, 8, 8)), everything.held_out[label], atol=1e-9)


def test_decoding_is_exact_at_full_rank(everything: Digits) -> None:
    assert everything.explained == pytest.approx(1, abs=1e-12)
    pictures = everything.decode(np.concatenate(everything.train))
    np.testing.assert_allclose(pictures, np.rint(pictures), atol=1e-9)  # ink comes in whole numbers
    np.testing.assert_allclose(everything.encode(pictures), np.concatenate(everything.train), atol=1e-9)


def test_axes_are_orthonormal_with_fixed_signs(everything: Digits) -> None:
    np.testing.assert_allclose(everything.axes @ everything.axes.T, np.eye(60), atol=1e-12)
    assert (everything.axes.max(axis=1) == np.abs(everything.axes).max(axis=1)).all()


def test_latent_coordinates_are_those_of_the_principal_axes_of_the_training_half(
    digits: Digits, everything: Digits
) -> None:
    training = everything.decode(np.concatenate(everything.train)).reshape(-1, 64)
    pca = decomposition.PCA(16, svd_solver="full").fit(training)
    theirs, ours = pca.transform(training), digits.encode(training.reshape(-1, 8, 8))
    np.testing.assert_allclose(ours, np.concatenate(digits.train), atol=1e-9)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-9)  # an axis has no sign
    assert digits.explained == pytest.approx(pca.explained_variance_ratio_.sum(), rel=1e-12)
    np.testing.assert_allclose(digits.centre, training.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2, 16])
def test_models_are_means_and_covariances_of_the_training_pictures(dim: int) -> None:
    digits = load_digits(dim)
    for label, points in enumerate(digits.train):
        np.testing.assert_allclose(digits.mean[label], points.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(digits.cov[label], np.cov(points.T).reshape(dim, dim), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("dim", "definite"), [(16, True), (46, True), (47, False)])
def test_covariances_are_positive_definite_up_to_46_dimensions(dim: int, definite: bool) -> None:
    eigenvalues = np.linalg.eigvalsh(load_digits(dim).cov)
    assert (eigenvalues[:, 0] > 1e-10 * eigenvalues[:, -1]).all() == definite


def test_decoded_pictures_stay_in_the_range_of_ink_and_in_shape(digits: Digits) -> None:
    far = digits.decode(np.array([[[1e3] + [0] * 15], [[-1e3] + [0] * 15]]))
    assert far.shape == (2, 1, 8, 8)
    assert far.min() == 0
    assert far.max() == 16
    centre = digits.decode(np.zeros(16))
    np.testing.assert_allclose(centre.ravel(), digits.centre)
    np.testing.assert_allclose(digits.encode(centre), 0, atol=1e-12)
    assert digits.encode(np.zeros((3, 2, 8, 8))).shape == (3, 2, 16)


def test_state_is_the_fitted_model(digits: Digits) -> None:
    state = digits.state(runs=3)
    assert (state.runs, state.n_texts, state.dim) == (3, 10, 16)
    np.testing.assert_allclose(state.p, np.broadcast_to(digits.p, (3, 10)))
    np.testing.assert_array_equal(state.mean[1], digits.mean)
    np.testing.assert_allclose(state.cov[2], digits.cov, atol=1e-9)
    one_hot = np.eye(10)[4]
    np.testing.assert_array_equal(digits.state(one_hot).p, [one_hot])


def test_the_seed_decides_the_split_and_nothing_else() -> None:
    first, again, other = load_digits(2), load_digits(2, rng=np.random.default_rng(0)), load_digits(2, rng=1)
    np.testing.assert_array_equal(first.axes, again.axes)
    np.testing.assert_array_equal(first.train[3], again.train[3])
    assert not np.array_equal(first.train[3], other.train[3])
    whole = [load_digits(2, held_out=0.0, rng=seed).mean for seed in (0, 1)]
    np.testing.assert_array_equal(whole[0], whole[1])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda _: load_digits(0), r"dim must be an integer >= 1 and <= 60, got 0"),
        (lambda _: load_digits(61), r"dim must be at most 60, got 61"),
        (lambda _: load_digits(2.0), r"dim must be an integer >= 1 and <= 60, got 2.0"),  # type: ignore[arg-type]
        (lambda _: load_digits(held_out=1.0), r"held_out must lie in \[0, 0.9\], got 1"),
        (lambda _: load_digits(held_out="half"), r"held_out must be a number in .*, got 'half'"),  # type: ignore[arg-type]
        (lambda _: load_digits(rng=-1), r"rng must be a non-negative integer .*, got -1"),
        (lambda d: d.decode(np.zeros((3, 2))), r"latent must have shape \(..., 16\), got \(3, 2\)"),
        (lambda d: d.decode(1.0), r"latent must have shape \(..., 16\), got \(\)"),
        (lambda d: d.decode(np.full(16, np.nan)), r"latent must hold finite numbers, got nan"),
        (lambda d: d.encode(np.zeros((8, 7))), r"pictures must have shape \(..., 8, 8\), got \(8, 7\)"),
        (lambda d: d.encode(np.zeros(8)), r"pictures must have shape \(..., 8, 8\), got \(8,\)"),
        (lambda d: d.encode("ink"), r"pictures must be an array of real numbers, got dtype <U3"),
        (lambda d: d.state([1.0]), r"p must have shape \(10,\), got \(1,\)"),
        (lambda d: d.state(np.ones(10)), r"p must sum to 1 .*, got 10"),
        (lambda d: d.state(runs=0), r"runs must be an integer >= 1, got 0"),
    ],
)
def test_bad_input_is_named(digits: Digits, call: Callable[[Digits], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call(digits)
