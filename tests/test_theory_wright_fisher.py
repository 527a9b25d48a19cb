"""The Wright-Fisher chain against simulation, its own matrix, and exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from coevo.theory import wright_fisher as wf

SIX = 6.1


def test_transition_matrix_is_stochastic_and_a_martingale() -> None:
    m = 13
    matrix = wf.transition_matrix(m)
    assert matrix.shape == (m + 1, m + 1)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-13)
    np.testing.assert_allclose(matrix @ np.arange(m + 1), np.arange(m + 1), rtol=1e-13, atol=1e-13)
    # The eigenvalues are the falling factorials M(M-1).../M^k; sorted, with 1 twice.
    eigenvalues = np.sort(np.linalg.eigvals(matrix).real)[::-1]
    falling = np.cumprod(np.concatenate([[1.0], 1 - np.arange(m) / m]))
    np.testing.assert_allclose(eigenvalues, falling, atol=1e-11)


def test_law_against_simulation() -> None:
    m, p0, t, runs = 12, 0.23, 4, 200_000
    rng = np.random.default_rng(1)
    count = np.full(runs, p0 * m)
    for _ in range(t):
        count = rng.binomial(m, count / m)
    share = np.bincount(count, minlength=m + 1) / runs
    exact = wf.law(m, p0, t)
    assert (np.abs(share - exact) < SIX * np.sqrt(exact * (1 - exact) / runs)).all()
    # Negative control: one step more is another law.
    other = wf.law(m, p0, t + 1)
    assert (np.abs(share - other) > SIX * np.sqrt(other * (1 - other) / runs)).any()


def test_law_vectorised_and_unsorted() -> None:
    times = np.array([[5, 1], [2, 5]])
    laws = wf.law(7, 0.4, times)
    assert laws.shape == (2, 2, 8)
    for index in np.ndindex(2, 2):
        np.testing.assert_allclose(laws[index], wf.law(7, 0.4, int(times[index])), rtol=1e-13)


def test_check_numbers_of_fifty_samples() -> None:
    assert wf.mean_absorption_time(50, 0.2) == pytest.approx(48.457, abs=5e-4)
    assert wf.diffusion_absorption_time(50, 0.2) == pytest.approx(50.04, abs=5e-3)
    assert wf.absorption_probability(50, 0.2, 10) == pytest.approx(0.14518, abs=5e-6)


def test_absorption_time_is_the_sum_of_the_survival_probabilities() -> None:
    m, p0 = 10, 0.37
    survival = 1 - wf.absorption_probability(m, p0, np.arange(400))
    assert wf.mean_absorption_time(m, p0) == pytest.approx(survival.sum(), rel=1e-10)
    assert survival[0] == 1


def test_absorption_time_in_exact_fractions() -> None:
    # M = 2: from 1/2 the chain leaves with probability 1/2 each step, so the time is 2.
    assert wf.mean_absorption_time(2, 0.5) == pytest.approx(2.0, rel=1e-14)
    assert wf.mean_absorption_time(1, 0.3) == 1.0
    p0 = Fraction(1, 4)
    assert wf.mean_absorption_time(2, 0.25) == pytest.approx(float(1 + 2 * p0 * (1 - p0) * 2), rel=1e-14)


def test_absorbed_from_the_start() -> None:
    for p0 in (0.0, 1.0):
        assert wf.mean_absorption_time(9, p0) == 0
        assert wf.diffusion_absorption_time(9, p0) == 0
        np.testing.assert_allclose(wf.absorption_probability(9, p0, [0, 3]), 1, rtol=1e-14)
    assert isinstance(wf.absorption_probability(9, 0.5, 0), float)
    assert wf.absorption_probability(9, 0.5, 0) == 0


@pytest.mark.parametrize("m", [1, 2, 3, 4, 7, 50])
def test_diversity_moments_against_the_matrix(m: int) -> None:
    p0 = 0.23
    x = np.arange(m + 1) / m
    diversity = 2 * x * (1 - x)
    times = np.array([1, 2, 9, 60])
    laws = wf.law(m, p0, times)
    mean, variance = wf.diversity_moments(m, p0, times)
    np.testing.assert_allclose(mean, laws @ diversity, atol=1e-13)
    np.testing.assert_allclose(variance, laws @ diversity**2 - (laws @ diversity) ** 2, atol=1e-13)
    start = wf.diversity_moments(m, p0, 0)
    assert isinstance(start.mean, float)
    assert start.mean == pytest.approx(2 * p0 * (1 - p0))
    assert start.variance == pytest.approx(0, abs=1e-16)


def test_expected_diversity_of_many_texts_against_simulation() -> None:
    m, p, t, runs = 20, np.array([0.5, 0.3, 0.2]), 15, 20_000
    rng = np.random.default_rng(2)
    now = np.tile(p, (runs, 1))
    for _ in range(t):
        now = rng.multinomial(m, now) / m
    diversity = 1 - np.sum(now**2, axis=1)
    error = diversity.std() / np.sqrt(runs)
    assert abs(diversity.mean() - wf.expected_diversity(m, p, t)) < SIX * error
    # Negative control: a factor 1 - 1/(M + 1) per step is visibly wrong.
    assert abs(diversity.mean() - wf.expected_diversity(m + 1, p, t)) > SIX * error
    np.testing.assert_allclose(wf.expected_diversity(m, p, [0, 1]), np.array([1, 0.95]) * 0.62, rtol=1e-13)


@pytest.mark.parametrize(
    "function",
    [wf.law, wf.absorption_probability, wf.diversity_moments],
)
def test_bad_input_in_time(function) -> None:  # type: ignore[no-untyped-def]
    for args, error, message in (
        ((0, 0.5, 1), ValueError, "text_samples must be an integer >= 1, got 0"),
        ((2.0, 0.5, 1), TypeError, "text_samples must be an integer >= 1"),
        ((5, 1.2, 1), ValueError, r"p0 must lie in \[0, 1\], got 1.2"),
        ((5, float("nan"), 1), ValueError, r"p0 must lie in \[0, 1\], got nan"),
        ((5, [0.5], 1), TypeError, "p0 must be a number"),
        ((5, 0.5, -1), ValueError, "t must hold integers >= "),
        ((5, 0.5, 1.5), TypeError, "t must hold integers"),
    ):
        with pytest.raises(error, match=message):
            function(*args)


def test_bad_input() -> None:
    with pytest.raises(ValueError, match="t must hold integers >= 1, got 0"):
        wf.law(5, 0.5, 0)
    with pytest.raises(ValueError, match="text_samples must be an integer >= 1, got -3"):
        wf.transition_matrix(-3)
    for function in (wf.mean_absorption_time, wf.diffusion_absorption_time):
        with pytest.raises(ValueError, match="text_samples"):
            function(0, 0.5)
        with pytest.raises(ValueError, match=r"p0 must lie in \[0, 1\], got -0.1"):
            function(5, -0.1)
        with pytest.raises(TypeError, match="text_samples"):
            function("5", 0.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="p must sum to 1"):
        wf.expected_diversity(5, [0.5, 0.4], 1)
    with pytest.raises(ValueError, match="p must have shape"):
        wf.expected_diversity(5, [[0.5, 0.5]], 1)
    with pytest.raises(ValueError, match="text_samples"):
        wf.expected_diversity(0, [0.5, 0.5], 1)
    with pytest.raises(ValueError, match="t must hold"):
        wf.expected_diversity(5, [0.5, 0.5], [-1])
