"""The three measures against exact arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from scipy import linalg

from coevo.measures import fidelity, image_diversity, text_diversity


@pytest.mark.parametrize("k", [1, 2, 5, 100])
def test_uniform_texts_have_the_largest_diversity(k):
    assert text_diversity(np.full(k, 1 / k)) == pytest.approx(1 - 1 / k, abs=1e-15)
    assert text_diversity(np.eye(k)[0]) == 0.0


def test_text_diversity_is_one_minus_the_purity():
    p = np.random.default_rng(0).dirichlet(np.ones(6), size=(4, 3))
    np.testing.assert_allclose(text_diversity(p), 1 - (p**2).sum(axis=-1), rtol=1e-13)
    assert text_diversity(p).shape == (4, 3)


def test_text_diversity_keeps_its_digits_near_collapse():
    small = [2.0**-80, 2.0**-95]
    exact = 1 - (1 - sum(map(Fraction, small))) ** 2 - sum(Fraction(q) ** 2 for q in small)
    assert text_diversity([1.0, *small]) == pytest.approx(float(exact), rel=1e-15)


def test_image_diversity_is_the_trace_of_the_root():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((5, 3, 3))
    cov = root @ np.swapaxes(root, -1, -2)
    np.testing.assert_allclose(image_diversity(cov), [np.trace(linalg.sqrtm(c)).real for c in cov], rtol=1e-9)
    assert image_diversity(np.diag([4.0, 9.0])) == pytest.approx(5.0)
    assert image_diversity(np.diag([4.0, 0.0])) == pytest.approx(2.0)


def test_fidelity_is_a_distance():
    assert fidelity([3.0, 4.0], [0.0, 0.0]) == pytest.approx(5.0)
    np.testing.assert_allclose(fidelity(np.ones((4, 3, 2)), np.zeros(2)), np.full((4, 3), np.sqrt(2)))
