"""The mean posterior: three ways to the same numbers, in plain numpy and compiled."""

import importlib

import numpy as np
import pytest
from scipy import special, stats

from coevo import factors
from coevo.simulation import State, System, _features, circle, macro_step, posterior, text_update
from coevo.simulation.state import ImageModel

_compiled = pytest.importorskip("coevo.simulation._compiled")

ENGINES = pytest.mark.parametrize("compiled", [False, True], ids=["numpy", "numba"])

#: Terms of a log-density add up to at most 2 NEAR; sums of (d + 2)^2 / 2 of them, and the factors that lead to them,
#: are rounded a few times each.
ROUNDING = 100 * np.finfo(float).eps * _features.NEAR


def random_models(rng, runs, n_texts, dim, *, spread=1.0, correlated=True):
    """Image models with means of order one and standard deviations of order `spread`."""
    mean = rng.standard_normal((runs, n_texts, dim))
    root = rng.standard_normal((runs, n_texts, dim, dim + 3)) if correlated else np.eye(dim)
    cov = spread**2 * root @ np.swapaxes(root, -1, -2) / root.shape[-1]
    unit, log_scale = factors.factorise(np.broadcast_to(cov, (runs, n_texts, dim, dim)))
    return ImageModel(mean, unit, log_scale)


def draws(rng, p, dim, number):
    """Counts and normal numbers for `number` images of each run."""
    counts = np.array([rng.multinomial(number, row) for row in p])
    return counts, rng.standard_normal((dim, len(p), number))


def by_maps(p, images, counts, z):
    """The mean posterior by the way that is exact at any scale."""
    return posterior._by_residuals(p, images, counts, z, posterior._squares_of_maps)


def by_scipy(p, images, counts, z):
    """The mean posterior with densities from scipy, image by image and text by text."""
    result = np.empty_like(p)
    for r, row in enumerate(p):
        text = np.repeat(np.arange(p.shape[1]), counts[r])
        x = images.mean[r, text] + (images.factor[r, text] @ z[:, r].T[..., None])[..., 0]
        log_density = [
            np.log(mass) + stats.multivariate_normal.logpdf(x, mean, cov) if mass > 0 else np.full(len(x), -np.inf)
            for mass, mean, cov in zip(row, images.mean[r], images.cov[r], strict=True)
        ]
        result[r] = special.softmax(log_density, axis=0).mean(axis=1)
    return result


@ENGINES
@pytest.mark.parametrize(("n_texts", "dim"), [(2, 1), (5, 2), (4, 3), (12, 5)])
@pytest.mark.parametrize("spread", [0.3, 1.0, 10.0])
def test_against_scipy(n_texts, dim, spread, compiled):
    rng = np.random.default_rng([n_texts, dim, int(10 * spread)])
    p = rng.dirichlet(np.full(n_texts, 0.7), size=6)
    images = random_models(rng, 6, n_texts, dim, spread=spread)
    counts, z = draws(rng, p, dim, 40)
    expected = by_scipy(p, images, counts, z)
    got = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    np.testing.assert_allclose(got, expected, atol=ROUNDING)
    with pytest.raises(AssertionError):  # the counts of one run given to another
        np.testing.assert_allclose(posterior.mean_posterior(p, images, counts[::-1], z.copy()), expected, atol=ROUNDING)


@ENGINES
@pytest.mark.parametrize("spread", [1.0, 0.1, 0.03, 0.01, 3e-3, 1e-3, 1e-6])
def test_features_and_residuals_agree(spread, compiled):
    """Around the scale where one way gives over to another, with some texts in the same place."""
    rng = np.random.default_rng(3)
    p = rng.dirichlet(np.ones(6), size=50)
    images = random_models(rng, 50, 6, 2, spread=spread)
    images.mean[:, 3:] = images.mean[:, :1]
    counts, z = draws(rng, p, 2, 80)
    expected = by_maps(p, images, counts, z)
    got = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    np.testing.assert_allclose(got, expected, atol=ROUNDING)


def test_features_alone_would_fail_at_small_scales(monkeypatch):
    """Negative control: the limit NEAR is what keeps cancellation out."""
    state = State.create([0.5, 0.25, 0.25], [[1.0, 0.0], [0.0, 0.0], [1e-7, 0.0]], 1e-14 * np.eye(2), 20)
    expected = text_update(state, 100, 1).p
    monkeypatch.setattr(_features, "NEAR", 1e20)
    assert np.abs(text_update(state, 100, 1).p - expected).max() > 10 * ROUNDING


@pytest.mark.parametrize("spread", [1.0, 1e-2, 1e-3])
def test_residuals_from_coordinates(spread):
    """The second way of residuals against the third, where it is used, with lines and points among the texts."""
    rng = np.random.default_rng(12)
    p = rng.dirichlet(np.ones(6), size=40)
    images = random_models(rng, 40, 6, 3, spread=spread)
    images.mean[:, 3:] = images.mean[:, :1]
    images.log_scale[::2, 1:4, 2] = -np.inf
    images.log_scale[1::2, 5] = -np.inf
    images.unit[:, 2], images.mean[:, 2] = images.unit[:, 1], images.mean[:, 1]  # on one plane
    p[:5, 0] = 0.0
    counts, z = draws(rng, p / p.sum(axis=1, keepdims=True), 3, 60)
    expected = by_maps(p, images, counts, z)
    got = posterior._by_residuals(p, images, counts, z, posterior._squares_of_images)
    np.testing.assert_allclose(got, expected, atol=ROUNDING)
    inverse = factors.invert(images.unit)
    assert posterior._can_be_formed(p, images.mean, images.log_scale, images.factor, inverse).all()
    images.log_scale[:] -= 25.0  # negative control: then coordinates do not hold the scales
    assert not posterior._can_be_formed(p, images.mean, images.log_scale, images.factor, inverse).any()
    worse = posterior._by_residuals(p, images, counts, z, posterior._squares_of_images)
    assert np.abs(worse - by_maps(p, images, counts, z)).max() > 10 * ROUNDING


@pytest.fixture
def no_residuals(monkeypatch):
    """Let the third way fail."""

    def refuse(*_):
        raise AssertionError("residuals")

    monkeypatch.setattr(posterior, "_by_residuals", refuse)


@pytest.mark.usefixtures("no_residuals")
@pytest.mark.parametrize("sigma", [3.0, 1.0, 0.1, 0.01, 1e-3, 1e-30, 1e-150])
def test_the_costly_way_is_not_taken_on_the_circle(sigma):
    text_update(circle(5, sigma, runs=10), 50, 1)


@pytest.mark.usefixtures("no_residuals")
def test_the_costly_way_is_taken_where_texts_coincide_at_a_small_scale():
    near = State.create([0.5, 0.3, 0.2], [[1.0], [0.0], [0.0]], 1e-12 * np.eye(1), 3)
    with pytest.raises(AssertionError, match="residuals"):
        text_update(near, 50, 1)


def test_distances_that_are_tiny_beside_the_centre():
    """Two texts 1e-90 apart at the origin, seen as they are although a third one stands at 1."""
    near = State.create([0.7, 0.3], [[0.0], [1e-90]], 1e-180 * np.eye(1), 4)
    scaled = State.create([0.7, 0.3], [[0.0], [1.0]], np.eye(1), 4)
    far = State.create([0.35, 0.15, 0.5], [[0.0], [1e-90], [1.0]], 1e-180 * np.eye(1), 4)
    np.testing.assert_allclose(text_update(near, 50, 1).p, text_update(scaled, 50, 1).p, rtol=1e-12)
    counts, z = np.tile([20, 10, 0], (4, 1)), np.random.default_rng(1).standard_normal((1, 4, 30))
    alone = posterior.mean_posterior(scaled.p, scaled.images, counts[:, :2], z.copy())
    among = posterior.mean_posterior(far.p, far.images, counts, z.copy())
    np.testing.assert_allclose(among[:, :2], alone, rtol=1e-12)


@ENGINES
def test_far_apart_texts_receive_what_they_drew(compiled):
    rng = np.random.default_rng(8)
    p = rng.dirichlet(np.ones(5), size=30)
    images = random_models(rng, 30, 5, 3, spread=1e-4)
    counts, z = draws(rng, p, 3, 70)
    images.mean[:10] *= 1e3  # the gap only grows
    expected = by_maps(p, images, counts, z)
    got = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    assert (got == counts / 70).all()
    assert (got == expected).all()


def test_texts_that_touch_are_not_taken_for_far_apart(monkeypatch):
    """Negative control: with a smaller gap than the rule asks for, posteriors other than 0 and 1 are lost."""
    state = State.create([0.5, 0.5], [[0.0], [2e-3]], 1e-6 * np.eye(1), 200)  # two standard deviations of 1e-3
    monkeypatch.setattr(_features, "NEAR", 0.0)
    honest = text_update(state, 100, 1).p
    monkeypatch.setattr(posterior, "NOTHING", -1e9)
    lost = text_update(state, 100, 1).p
    assert (lost == np.rint(100 * lost) / 100).all()
    assert not (honest == np.rint(100 * honest) / 100).any()


@ENGINES
@pytest.mark.parametrize("sigma", [1.0, 1e-9])
def test_texts_of_mass_zero(sigma, compiled):
    """They get nothing, whatever their image model; and a single text keeps the mass 1, to the last digit."""
    state = State.create([0.2, 0.0, 0.5, 0.3, 0.0], circle(5).mean[0], sigma**2 * np.eye(2), 40)
    state.images.log_scale[::2, 1] = -np.inf
    state.images.log_scale[1::2, 1] = -400.0
    state.p[:20] = [0.0, 0.0, 1.0, 0.0, 0.0]
    new = text_update(state, 60, 1, compiled=compiled).p
    assert (new[:, [1, 4]] == 0.0).all()
    assert (new[:20] == state.p[:20]).all()
    assert np.isfinite(new).all()
    np.testing.assert_allclose(new.sum(axis=1), 1.0, rtol=1e-15)


@ENGINES
def test_an_image_of_a_very_rare_text(compiled):
    """A density e^{-460} below the others' is not lost: nobody else could have made the image."""
    p = np.array([[1.0 - 1e-200, 1e-200]])
    images = ImageModel(np.array([[[0.0], [60.0]]]), np.ones((1, 2, 1, 1)), np.zeros((1, 2, 1)))
    got = posterior.mean_posterior(p, images, np.array([[9, 1]]), np.zeros((1, 1, 10)), compiled=compiled)
    np.testing.assert_allclose(got, [[0.9, 0.1]], rtol=1e-15)


@ENGINES
def test_a_steep_factor_is_left_to_residuals(compiled, monkeypatch):
    """Equal scales, yet a precision of 1e16: the scales alone do not tell, the trace does."""
    unit = np.broadcast_to([[1.0, 0.0], [1e8, 1.0]], (4, 3, 2, 2)).copy()
    images = ImageModel(circle(3, runs=4).mean.copy(), unit, np.full((4, 3, 2), -18.0))
    images.unit[2:] = np.eye(2)
    images.log_scale[2:] = 0.0
    p = np.full((4, 3), 1 / 3)
    counts, z = draws(np.random.default_rng(2), p, 2, 50)
    expected = by_maps(p, images, counts, z)
    seen = []
    original = posterior._by_residuals
    monkeypatch.setattr(posterior, "_by_residuals", lambda q, *rest: seen.append(len(q)) or original(q, *rest))
    got = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    np.testing.assert_allclose(got, expected, atol=ROUNDING)
    assert seen == [2]


@ENGINES
@pytest.mark.parametrize("numbers", [1, 700, 5000])
def test_passes_do_not_matter(numbers, compiled, monkeypatch):
    """Neither how many runs, nor how many images of a run, go through one matrix product."""
    rng = np.random.default_rng(4)
    p = rng.dirichlet(np.ones(4), size=11)
    images = random_models(rng, 11, 4, 3)
    counts, z = draws(rng, p, 3, 600)
    whole = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    monkeypatch.setattr(posterior, "TEXT_NUMBERS", numbers)
    monkeypatch.setattr(posterior, "IMAGE_NUMBERS", numbers)
    got = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    np.testing.assert_allclose(got, whole, rtol=1e-13)


@pytest.mark.parametrize("dim", [2, 3])
def test_compiled_functions_do_what_their_source_says(dim):
    """The source run by Python, which coverage can see, and the machine code give the same numbers."""
    rng = np.random.default_rng(6)
    p = rng.dirichlet(np.ones(3), size=4)
    p[1, 2] = 0.0
    p[2] = [0.0, 1.0, 0.0]
    images = random_models(rng, 4, 3, dim)
    images.log_scale[3] = -40.0
    counts, z = draws(rng, p / p.sum(axis=1, keepdims=True), dim, 30)
    arguments = (p, images.mean, images.unit, images.log_scale, counts)
    with np.errstate(divide="ignore"):
        python = _compiled._prepare.py_func(*arguments)
    machine, plain = _compiled.prepare(*arguments), _features.prepare(*arguments)
    np.testing.assert_array_equal(machine.near, [True, True, False, False])
    np.testing.assert_array_equal(plain.near, machine.near)
    for ours, compiled, numpy in zip(python[1:-1], machine[1:-1], plain[1:-1], strict=True):
        np.testing.assert_allclose(ours, compiled, rtol=1e-14, atol=1e-14)
        np.testing.assert_allclose(numpy, compiled, rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(python[-1][:, machine.near], machine.coefficients, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(plain.coefficients, machine.coefficients, rtol=1e-12, atol=1e-12)
    plane = _compiled._log_densities_in_the_plane.py_func
    near, density = machine.near, rng.random((3, 4, 30))
    results = []
    for draw, log_densities, collect in (
        (_compiled.draw.py_func, plane if dim == 2 else _compiled.log_densities, _compiled.collect.py_func),
        (_compiled.draw, _compiled.log_densities, _compiled.collect),
        (_features.draw, _features.log_densities, _features.collect),
    ):
        x, total, heights = z.copy(), np.zeros((4, 3)), np.empty((3, 2, 30))
        draw(x, counts, machine.mean, machine.factor)
        log_densities(heights, machine.coefficients, x[:, near])
        collect(total, density)
        results.append((x, heights, total))
    for other in results[1:]:
        for ours, theirs in zip(results[0], other, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_without_numba(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    text_update(circle(runs=2), 10, 1)
    with pytest.raises(ModuleNotFoundError, match=r"compiled=True needs numba.*coevo\[speed\]"):
        text_update(circle(runs=2), 10, 1, compiled=True)
    with pytest.raises(TypeError, match="compiled must be a bool, got 'numba'"):
        text_update(circle(runs=2), 10, 1, compiled="numba")


@ENGINES
def test_drift_of_separated_texts(compiled):
    """Corollary 3.2 is an equality for separated images: E D_t = (1 - 1/M)^t D_0, here within 6 standard errors."""
    system = System(circle(4, 1e-3), 10, 50)
    state, rng = system.initial.repeat(4000), np.random.default_rng(11)
    for _ in range(15):
        state = macro_step(state, system, rng, compiled=compiled)
    diversity = 1 - (state.p**2).sum(axis=1)
    exact = (1 - 1 / 10) ** 15 * 0.75
    error = diversity.std(ddof=1) / np.sqrt(len(diversity))
    assert abs(diversity.mean() - exact) < 6 * error
    assert abs(diversity.mean() - (1 - 1 / 11) ** 15 * 0.75) > 6 * error  # negative control: M off by one


@ENGINES
def test_singular_texts(compiled, monkeypatch):
    """One that makes no image counts for nothing; one that makes some keeps them, whatever its neighbours."""
    rng = np.random.default_rng(9)
    p = rng.dirichlet(np.ones(4), size=6)
    images = random_models(rng, 6, 4, 2)
    images.log_scale[:, 3] = [0.0, -np.inf]  # a line
    counts = np.tile([20, 10, 10, 0], (6, 1))
    counts[3:] = [0, 0, 30, 10]
    images.log_scale[3:, :3] -= 12.0  # the other texts are small and far apart
    z = rng.standard_normal((2, 6, 40))
    expected = by_maps(p, images, counts, z)
    monkeypatch.setattr(posterior, "_by_residuals", None)
    got = posterior.mean_posterior(p, images, counts, z.copy(), compiled=compiled)
    np.testing.assert_allclose(got, expected, atol=ROUNDING)
    assert (got[:3, 3] == 0).all()
    assert (got[3:] == [0.0, 0.0, 0.75, 0.25]).all()


@ENGINES
def test_a_singular_text_without_images_on_the_line_of_another(compiled):
    """The other makes images there, so both share them."""
    images = ImageModel(np.zeros((1, 3, 2)), np.broadcast_to(np.eye(2), (1, 3, 2, 2)), np.zeros((1, 3, 2)))
    images.log_scale[0, :2, 1] = -np.inf
    p, counts = np.array([[0.3, 0.2, 0.5]]), np.array([[10, 0, 10]])
    got = posterior.mean_posterior(p, images, counts, np.ones((2, 1, 20)), compiled=compiled)
    np.testing.assert_allclose(got, [[0.3, 0.2, 0.5]], rtol=1e-14)


def test_two_texts_on_one_line_are_left_to_residuals(monkeypatch):
    """Negative control: both are singular, and the densities on their common line decide."""
    state = State.create([0.3, 0.7], [[0.0, 0.0], [0.0, 0.0]], np.diag([1.0, 0.0]), 5)
    np.testing.assert_allclose(text_update(state, 30, 1).p, np.tile([0.3, 0.7], (5, 1)), rtol=1e-14)
    monkeypatch.setattr(posterior, "_settled", lambda mean, *_: np.ones((*mean.shape[:2], mean.shape[1]), bool))
    assert not np.isclose(text_update(state, 30, 1).p, [0.3, 0.7]).all()


def test_rounding_does_not_decide_about_equal_masses():
    """Whatever way the posteriors are summed up, 7 of 28 images are a quarter."""
    rng = np.random.default_rng(5)
    for _ in range(50):
        shares = rng.multinomial(28, [0.25] * 4, size=40) / 28
        noisy = shares * (1 + 3e-15 * rng.uniform(-1, 1, shares.shape))
        assert not (noisy == shares).all()
        assert (posterior._rounded(noisy, 28) == shares).all()
    tails = np.array([[0.25 + 1e-12, 0.25 - 1e-12, 1e-14, 0.5]])  # what the images say, and small masses, stay
    assert (posterior._rounded(tails.copy(), 28) == tails).all()
