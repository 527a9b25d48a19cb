"""Distances between models and classical scaling, against scipy and hand examples."""

import re

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from coevo.network import classical_scaling, distance_matrix, distance_norm


def test_distances_are_those_of_scipy():
    x = np.random.default_rng(1).standard_normal((4, 3, 5, 7))
    found = distance_matrix(x)
    assert found.shape == (4, 3, 5, 5)
    for i in np.ndindex(4, 3):
        np.testing.assert_allclose(found[i], squareform(pdist(x[i])), rtol=1e-13, atol=1e-14)


def test_norm_counts_every_pair_twice():
    assert distance_norm([[0.2, 0.8], [0.8, 0.2]]) == pytest.approx(np.sqrt(2) * 0.6 * np.sqrt(2))
    x = np.random.default_rng(2).standard_normal((6, 4, 3))
    np.testing.assert_allclose(distance_norm(x), np.linalg.norm(distance_matrix(x), axis=(-2, -1)), rtol=1e-13)
    np.testing.assert_array_equal(distance_norm(np.ones((1, 3))), 0.0)


def test_norm_keeps_its_digits_near_consensus():
    x = 0.5 + np.array([[0.0, 0.0], [3e-16, -4e-16]]) * 2**10
    assert distance_norm(x) == pytest.approx(np.sqrt(2) * np.linalg.norm(x[1] - x[0]), rel=1e-12)


def test_scaling_gives_back_the_distances():
    x = np.random.default_rng(3).standard_normal((6, 2)) * [3.0, 1.0]
    points = classical_scaling(distance_matrix(x))
    np.testing.assert_allclose(distance_matrix(points), distance_matrix(x), rtol=1e-9)
    np.testing.assert_allclose(points.mean(axis=0), 0.0, atol=1e-12)
    assert points[:, 0].std() > points[:, 1].std()
    # It is the projection on the principal axes, up to signs.
    centred = x - x.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    np.testing.assert_allclose(np.abs(points), np.abs(centred @ axes.T), atol=1e-9)


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e100])
def test_the_sign_is_fixed(scale):
    x = np.array([[-1.0, 0.0], [0.0, 0.0], [4.0, 0.0]])
    for sign in (1, -1):
        points = classical_scaling(scale * distance_matrix(sign * x))
        np.testing.assert_allclose(points / scale, [[-2.0, 0.0], [-1.0, 0.0], [3.0, 0.0]], atol=1e-12)
    # A tie goes to the first.
    pair = classical_scaling(scale * np.array([[0.0, 2.0], [2.0, 0.0]]), 1)
    np.testing.assert_allclose(pair / scale, [[1.0], [-1.0]], atol=1e-12)


def test_axes_without_spread_are_zero():
    np.testing.assert_array_equal(classical_scaling(np.zeros((3, 3)), 2), np.zeros((3, 2)))
    line = classical_scaling(distance_matrix(np.arange(5.0)[:, None] ** 2), 4)
    np.testing.assert_array_equal(line[:, 1:], 0.0)
    # Distances that no points have: negative eigenvalues give no axis.
    odd = np.ones((4, 4)) - np.eye(4)
    odd[0, 1] = odd[1, 0] = 5.0
    points = classical_scaling(odd, 4)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points[:, -1], 0.0)


SQUARE = np.ones((2, 2)) - np.eye(2)
BAD = [
    (lambda: distance_matrix([1.0, 2.0]), "x", "(2,)"),
    (lambda: distance_matrix(np.ones((2, 0))), "x", "(2, 0)"),
    (lambda: distance_norm(np.ones((0, 2))), "x", "(0, 2)"),
    (lambda: distance_norm([[np.nan]]), "x", "nan"),
    (lambda: distance_norm([["a"]]), "x", "<U1"),
    (lambda: classical_scaling(np.ones((2, 3))), "distances", "(2, 3)"),
    (lambda: classical_scaling([1.0]), "distances", "(1,)"),
    (lambda: classical_scaling(-SQUARE), "distances", "-1"),
    (lambda: classical_scaling([[0.0, 1.0], [2.0, 0.0]]), "distances", "1"),
    (lambda: classical_scaling(SQUARE + np.eye(2)), "distances", "1"),
    (lambda: classical_scaling(SQUARE, 0), "dim", "0"),
    (lambda: classical_scaling(SQUARE, 3), "dim", "3"),
    (lambda: classical_scaling(SQUARE, 1.0), "dim", "1.0"),
]


@pytest.mark.parametrize(("call", "name", "value"), BAD)
def test_bad_input_is_named(call, name, value):
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert re.search(rf"(?<!\w){re.escape(name)}(?!\w)", message), message
    assert value in message.split("got", 1)[1], message
