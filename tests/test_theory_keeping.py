"""Laws 6.1 to 6.5: pools that keep a fraction of their past."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from coevo.theory import consensus, fidelity, keeping
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]


def schedule(t: int) -> float:
    return 1 - 0.7 / (t + 1)


def every_path(m: int, p: float, keep: Callable[[int], float], steps: int, weight: float) -> list[tuple[float, ...]]:
    """All paths of two separated texts: (probability, share of text 1, 1 if it has never been drawn)."""
    paths: list[tuple[float, ...]] = [(1.0, p, 1.0)]
    for t in range(steps):
        old = keep(t) * weight
        weight = old + m
        paths = [
            (q * float(stats.binom.pmf(k, m, x)), (old * x + k) / weight, never * (k == 0))
            for q, x, never in paths
            for k in range(m + 1)
        ]
    return paths


@pytest.mark.parametrize(("m", "weight"), [(1, 2.5), (2, 0.0), (3, 3.0)])
def test_text_laws_against_all_paths(m: int, weight: float) -> None:
    for keep in (schedule, lambda t: 0.6, lambda t: 1.0):
        paths = np.array(every_path(m, 0.3, keep, 4, weight))
        diversity = paths[:, 0] @ (2 * paths[:, 1] * (1 - paths[:, 1]))
        expected = 0.42 * keeping.kept_text_diversity(m, keep, 4, weight)
        assert diversity == pytest.approx(expected, abs=1e-13)
        variance = 0.21 * (1 - keeping.kept_text_diversity(m, keep, 4, weight))
        assert variance == pytest.approx(paths[:, 0] @ (paths[:, 1] - 0.3) ** 2, abs=1e-13)
        never = keeping.never_drawn_probability(0.3, m, keep, 4, weight)
        assert never == pytest.approx(paths[:, 0] @ paths[:, 2], abs=1e-13)


def test_text_diversity_of_constant_fractions() -> None:
    t = np.array([[0, 1], [5, 300]])
    assert keeping.kept_text_diversity(20, 0.0, t, 7) == pytest.approx((1 - 1 / 20) ** t, rel=1e-12)
    assert keeping.kept_text_diversity(20, 1.0, t) == pytest.approx(consensus.accumulated_diversity(20, t), rel=1e-12)
    late = keeping.kept_text_diversity(20, 0.8, [400, 401])
    assert late[1] / late[0] == pytest.approx(keeping.text_rate(20, 0.8), rel=1e-12)
    assert keeping.text_rate(20, 1) == 1
    assert keeping.kept_text_diversity(3, 1.0, 0) == 1
    assert keeping.new_data_share(4, 1.0, 3, 8) == pytest.approx([4 / 12, 4 / 16, 4 / 20])
    assert keeping.new_data_share(4, 0.5, 0, 8).shape == (0,)
    assert keeping.never_drawn_probability(0.3, 3, 1.0, 5) == keeping.never_drawn_probability(0.3, 3, 1.0, 5, 3)


def test_dichotomy() -> None:
    """Forgetting c t^-a: the sum of s^2 converges above a = 1/2; at 1/2 the diversity falls like t^{-c^2/M}."""
    t = [10_000, 20_000]
    exponents = {}
    for a in (0.3, 0.5, 0.8, 1.0):
        left = keeping.kept_text_diversity(10, lambda k, a=a: 1 - 1.5 / (k + 9) ** a, t)  # type: ignore[misc]
        exponents[a] = np.log(left[1] / left[0]) / np.log(2)
    assert exponents[0.5] == pytest.approx(-0.225, abs=0.002)
    assert exponents[0.3] < -5
    assert exponents[0.8] > -0.002
    assert exponents[1.0] > -0.0001


def test_accumulated_text_diversity() -> None:
    for m, weight in ((1, 1), (1, 40), (10, 3), (100, 100)):
        expected = consensus.accumulated_diversity(m, initial_points=weight)
        assert keeping.accumulated_text_diversity(m, weight) == pytest.approx(expected, rel=1e-10)
    assert keeping.accumulated_text_diversity(20) == keeping.accumulated_text_diversity(20, 20)
    assert keeping.accumulated_text_diversity(1, 0) == 0
    # The Polya urn: p_inf is Dirichlet(W_0 p_0).
    p, human = np.array([0.5, 0.3, 0.2]), 3.7
    law = stats.dirichlet(human * p)
    diversity = 1 - float((law.var() + law.mean() ** 2).sum())
    assert (1 - p @ p) * keeping.accumulated_text_diversity(1, human) == pytest.approx(diversity, rel=1e-12)
    far = keeping.kept_text_diversity(5, 1.0, [20_000, 40_000], 2.5)
    assert 2 * far[1] - far[0] == pytest.approx(keeping.accumulated_text_diversity(5, 2.5), abs=1e-8)


def second_moments(n: int, keep: Callable[[int], float], steps: int, human: int) -> tuple[float, float]:
    """F and T in one dimension from the second moments of all images ever drawn, stored one by one."""
    # Human images: any set with mean 0 and unbiased variance 1 stands for them.
    if human:
        x = np.arange(human) - (human - 1) / 2
        x /= np.std(x, ddof=1)
        moments, weight = np.outer(x, x), np.ones(human)
    else:
        moments, weight = np.zeros((0, 0)), np.zeros(0)
    variance, mean_with, mean_square = 1.0, np.zeros(0), 0.0
    for t in range(steps):
        if weight.sum() > 0:
            share = weight / weight.sum()
            spread = weight @ np.diag(moments) - weight.sum() * share @ moments @ share
            variance = spread / (weight.sum() - weight @ weight / weight.sum())
            mean_with, mean_square = moments @ share, float(share @ moments @ share)
        cross = np.repeat(mean_with[:, None], n, axis=1)
        new = np.full((n, n), mean_square) + variance * np.eye(n)
        moments = np.block([[moments, cross], [cross.T, new]])
        weight = np.concatenate([keep(t) * weight, np.ones(n)])
    share = weight / weight.sum()
    spread = weight @ np.diag(moments) - weight.sum() * share @ moments @ share
    return float(share @ moments @ share), float(spread / (weight.sum() - weight @ weight / weight.sum()))


@pytest.mark.parametrize(("n", "human"), [(2, 2), (3, 7), (5, 0)])
def test_pool_moments_against_all_images(n: int, human: int) -> None:
    for keep in (schedule, lambda t: 0.0, lambda t: 0.6, lambda t: 1.0):
        law = keeping.pool_moments(n, keep, 6, human)
        error, variance = second_moments(n, keep, 6, human)
        assert law.squared_error == pytest.approx(error, rel=1e-11)
        assert law.total_variance == pytest.approx(variance, rel=1e-11)


def test_pool_moments_of_constant_fractions() -> None:
    t = np.array([0, 3, 50])
    replaced = keeping.pool_moments(8, 0.0, t)
    assert replaced.squared_error == pytest.approx(fidelity.expected_squared_drift(np.eye(1), 8, t))
    assert replaced.total_variance == pytest.approx(np.ones(3))
    for n, weight in ((2, 2.0), (10, 10.0), (10, 25.0)):
        limits = keeping.accumulated_limits(n, weight)
        far = keeping.pool_moments(n, 1.0, [1000, 2000, 4000], weight)
        for limit, values in zip(limits, far, strict=True):
            first = 2 * values[1:] - values[:-1]
            assert (4 * first[1] - first[0]) / 3 == pytest.approx(limit, abs=1e-8)
    assert keeping.accumulated_limits(2).total_variance == pytest.approx(2 / 3, rel=1e-13)
    assert keeping.accumulated_limits(10) == keeping.accumulated_limits(10, 10)


def test_final_squared_error() -> None:
    assert keeping.final_squared_error(5, 0) == np.inf
    assert keeping.final_squared_error(7, 1) == keeping.accumulated_limits(7).squared_error
    for kappa in (0.3, 0.8):
        late = keeping.pool_moments(5, kappa, 20_000, 9).squared_error
        assert keeping.final_squared_error(5, kappa, 9) == pytest.approx(late, rel=1e-10)
        assert keeping.final_squared_error(100_000, kappa) == pytest.approx((1 + kappa) / kappa, rel=1e-4)


def root_by_quadrature(offset: float, dof: int, share: float) -> float:
    """E sqrt(offset + chi2_dof + share chi2_1)."""

    def inner(z: float) -> float:
        def density(x: float) -> float:
            return float(np.sqrt(offset + x + share * z**2) * stats.chi2.pdf(x, dof))

        return float(integrate.quad(density, 0, 150, epsabs=1e-10)[0])

    nodes, weights = np.polynomial.hermite_e.hermegauss(24)
    return float(sum(w * inner(z) for z, w in zip(nodes, weights, strict=True)) / np.sqrt(2 * np.pi))


def test_kept_deviation() -> None:
    t = np.array([0, 1, 7])
    expected = contraction_constant(5, 1) ** t
    assert keeping.kept_deviation(6, 0.0, t) == pytest.approx(expected, rel=1e-13)
    assert keeping.kept_deviation(6, 0.7, t, 0)[1] == pytest.approx(expected[1], rel=1e-13)
    # One update with n = 6, w_0 = 9, kappa = 0.7: w' = 12.3, w2' = 10.41.
    divisor = 12.3 - 10.41 / 12.3
    root = root_by_quadrature(0.7 * 8, 5, 6.3 / 12.3) / np.sqrt(divisor)
    assert keeping.kept_deviation(6, 0.7, 1, 9) == pytest.approx(root, rel=1e-7)
    assert keeping.kept_deviation(6, 1.0, 450) < keeping.kept_deviation(6, 1.0, 449)


def test_image_rate() -> None:
    assert keeping.image_rate(9, 1) == 1
    assert keeping.image_rate(9, 0) == pytest.approx(contraction_constant(8, 1), rel=1e-13)
    late = keeping.kept_deviation(9, 0.6, [300, 301])
    assert keeping.image_rate(9, 0.6) == pytest.approx(late[1] / late[0], rel=1e-12)
    for kappa in (0.2, 0.9):
        loss = (1 - kappa) ** 2 / 40_000 * (1 + 3 * kappa) / (1 + kappa)
        assert 1 - keeping.image_rate(10_000, kappa) == pytest.approx(loss, rel=1e-3)


def test_image_dichotomy() -> None:
    """The same exponent 1/2 as for texts."""
    t = [1000, 2000]
    for a, kept in ((0.3, False), (0.8, True)):
        left = keeping.kept_deviation(5, lambda k, a=a: 1 - 1.5 / (k + 9) ** a, t)  # type: ignore[misc]
        assert (left[1] > 0.98 * left[0]) == kept


@pytest.mark.parametrize("kappa", [0.0, 0.4, 0.95])
def test_student_law(kappa: float) -> None:
    dof = keeping.student_dof(kappa)
    x = np.array([0.0, 0.3, 1.0, 5.0])
    half = dof / 2
    in_one = 2 * stats.t(dof).cdf(x * np.sqrt(half)) - 1
    assert keeping.kept_drift_cdf(x, kappa, 1) == pytest.approx(in_one, abs=1e-13)
    assert keeping.kept_drift_cdf(x, kappa, 2) == pytest.approx(1 - (1 + x**2 / 2) ** -half, abs=1e-13)
    in_three = stats.f(3, dof).cdf(half * x**2 / 3)
    assert keeping.kept_drift_cdf(x, kappa, 3) == pytest.approx(in_three, abs=1e-13)
    mean = integrate.quad(lambda y: 1 - keeping.kept_drift_cdf(y, kappa, 2), 0, np.inf)[0]
    assert keeping.kept_drift_mean(kappa, 2) == pytest.approx(mean, rel=1e-7)


def test_student_law_without_memory() -> None:
    assert keeping.student_dof(0) == 2
    assert keeping.student_dof(1 - 1e-12) == pytest.approx(3)
    for d in (1, 2, 5):
        assert keeping.kept_drift_mean(0, d) == pytest.approx(fidelity.student_drift_mean(d), rel=1e-12)
        assert keeping.kept_drift_cdf(1.3, 0, d) == pytest.approx(fidelity.student_drift_cdf(1.3, d), rel=1e-12)


def test_tail_index() -> None:
    assert keeping.drift_tail_index(5, 0) == 2
    assert keeping.drift_tail_index(50, 1e-9) == pytest.approx(2, abs=1e-7)
    for kappa in (0.3, 0.9):
        assert keeping.drift_tail_index(4000, kappa) == pytest.approx(keeping.student_dof(kappa), rel=1e-3)
    # n = 5, kappa = 1/2: w = 10, c = 10 - 2/3, and half of the weight is old.
    half = keeping.drift_tail_index(5, 0.5) / 2
    nodes, weights = np.polynomial.hermite_e.hermegauss(24)

    def mean(z: float) -> float:
        def density(x: float) -> float:
            return float(((14 / 3 + x + z**2 / 2) / (28 / 3)) ** half * stats.chi2.pdf(x, 4))

        return float(integrate.quad(density, 0, 150, epsabs=1e-11)[0])

    total = sum(w * mean(z) for z, w in zip(nodes, weights, strict=True)) / np.sqrt(2 * np.pi)
    assert total == pytest.approx(1, abs=1e-9)


def test_guarantees_hold_for_every_batch() -> None:
    """Exact losses along batches of very different sizes stay above the guarantees, and come near them."""
    rng = np.random.default_rng(1)
    for weight in (3.0, 10.0, 60.0):
        law = keeping.accumulation_guarantees(weight, weight, 1)
        for sizes in (np.full(1000, 2), rng.integers(2, 300, 400), 2 ** np.arange(1, 20)):
            total = weight + np.cumsum(np.concatenate([[0], sizes]))
            assert np.prod(1 - sizes / total[1:] ** 2) >= law.text_diversity
            variance = np.concatenate([[1.0], np.cumprod(1 - sizes / (total[1:] * (total[1:] - 1)))])
            assert (sizes / total[1:] ** 2) @ variance[:-1] <= law.squared_error
        for n in (2, 10, 100):
            assert keeping.kept_deviation(n, 1.0, 200, weight) >= law.image_diversity
    exact = keeping.accumulation_guarantees(8, 21, 2)
    assert exact.text_diversity == keeping.accumulated_text_diversity(1, 8) == pytest.approx(8 / 9)
    assert exact.squared_error == 1 / 21
    assert exact.image_diversity == pytest.approx(1 - (4 + 1 / 22) / 40)
    assert keeping.accumulation_guarantees(8, 1, 2).image_diversity == 0
    small = 1000 * keeping.accumulated_limits(2, 1000).squared_error
    assert 0.98 < small < 1  # the constant cannot be improved


def least_diversity(first: int, second: int, left: int) -> float:
    """The least E D of two separated texts over all batches, chosen in view of the past, of at most `left` images."""
    total = first + second
    least = 2 * first * second / total**2
    for m in range(1, left + 1):
        drawn = stats.binom.pmf(np.arange(m + 1), m, first / total)
        after = [least_diversity(first + k, second + m - k, left - m) for k in range(m + 1)]
        least = min(least, float(drawn @ after))
    return least


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 3)])
def test_no_choice_of_batches_beats_the_urn(first: int, second: int) -> None:
    total = first + second
    kept = least_diversity(first, second, 4) / (2 * first * second / total**2)
    assert kept >= keeping.accumulation_guarantees(total, 1, 1).text_diversity
    assert kept == pytest.approx(keeping.kept_text_diversity(1, 1.0, 4, total), rel=1e-12)  # single images are worst


BAD: list[tuple[Callable[..., Any], tuple[Any, ...], type[Exception], str]] = [
    (keeping.new_data_share, (0, 0.5, 3, 1), ValueError, "samples"),
    (keeping.new_data_share, (2, 1.5, 3, 1), ValueError, "keep"),
    (keeping.new_data_share, (2, lambda t: 2.0, 3, 1), ValueError, "keep"),
    (keeping.new_data_share, (2, 0.5, -1, 1), ValueError, "steps"),
    (keeping.new_data_share, (2, 0.5, 3, -1), ValueError, "initial_weight"),
    (keeping.kept_text_diversity, (2.5, 0.5, 3), TypeError, "text_samples"),
    (keeping.kept_text_diversity, (2, 0.5, -3), ValueError, "t must"),
    (keeping.text_rate, (2, -0.1), ValueError, "keep"),
    (keeping.never_drawn_probability, (1.2, 2, 0.5, 3), ValueError, "p must"),
    (keeping.accumulated_text_diversity, (2, -1), ValueError, "initial_weight"),
    (keeping.pool_moments, (1, 0.5, 3), ValueError, "samples"),
    (keeping.pool_moments, (3, 0.5, 3, 0.5), ValueError, "initial_weight must be 0 or at least 1, got 0.5"),
    (keeping.kept_deviation, (3, "all", 3), TypeError, "keep"),
    (keeping.image_rate, (3, 2), ValueError, "keep"),
    (keeping.final_squared_error, (3, 0.99999), ValueError, "keep"),
    (keeping.final_squared_error, (3, 0.5, -1), ValueError, "initial_weight"),
    (keeping.accumulated_limits, (3, 0.0), ValueError, "initial_weight"),
    (keeping.student_dof, (1,), ValueError, "keep"),
    (keeping.drift_tail_index, (2, 0.5), ValueError, "samples"),
    (keeping.drift_tail_index, (5, 1), ValueError, "keep"),
    (keeping.kept_drift_cdf, (-1.0, 0.5, 2), ValueError, "x must"),
    (keeping.kept_drift_cdf, (1.0, 0.5, 0), ValueError, "dim"),
    (keeping.kept_drift_mean, (0.5, 0), ValueError, "dim"),
    (keeping.accumulation_guarantees, (-1, 5, 2), ValueError, "text_weight"),
    (keeping.accumulation_guarantees, (1, 0.5, 2), ValueError, "image_weight"),
    (keeping.accumulation_guarantees, (1, 5, 0), ValueError, "dim"),
]


@pytest.mark.parametrize(("function", "arguments", "error", "words"), BAD)
def test_bad_input(
    function: Callable[..., Any], arguments: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        function(*arguments)
