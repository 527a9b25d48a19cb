"""Theorem 5.2 against random and optimised text models, direct enumeration, and simulated refits."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from coevo.measures import text_diversity
from coevo.theory import image, matthew
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]
SIX = 6.1


def random_text_models(n_texts: int, rng: np.random.Generator, count: int = 4000) -> Array:
    """Draw text models from nearly uniform to nearly one-hot, shape (count, K)."""
    concentration = 10 ** rng.uniform(-1, 2, count)
    gamma = rng.gamma(concentration[:, None], size=(count, n_texts))
    return gamma / gamma.sum(axis=1, keepdims=True)


def two_levels(n_texts: int, top: int, high: float) -> Array:
    return np.r_[np.full(top, high), np.full(n_texts - top, (1 - top * high) / (n_texts - top))]


@pytest.mark.parametrize("n_texts", [2, 3, 5, 20])
def test_no_random_text_model_has_a_larger_rarest_mass(n_texts: int) -> None:
    p = random_text_models(n_texts, np.random.default_rng(n_texts))
    m_star = np.array([matthew.largest_rarest_mass(d, n_texts) for d in text_diversity(p)])
    assert (p.min(axis=1) <= m_star * (1 + 1e-9)).all()
    # It is reached: no smaller number would do.
    extreme = two_levels(n_texts, 1, 0.9)
    assert matthew.largest_rarest_mass(float(text_diversity(extreme)), n_texts) == pytest.approx(extreme[-1])
    assert extreme[-1] > 0.999 * matthew.largest_rarest_mass(float(text_diversity(extreme)), n_texts)


def test_largest_rarest_mass_at_the_ends() -> None:
    assert matthew.largest_rarest_mass(0.8, 5) == pytest.approx(0.2)
    assert matthew.largest_rarest_mass(float(text_diversity(np.full(3, 1 / 3))), 3) == pytest.approx(1 / 3)
    for k in (2, 5, 50):  # D / m* = (K - 1)(2 - K m*): digits survive at tiny diversities
        assert matthew.largest_rarest_mass(1e-20, k) == pytest.approx(1e-20 / (2 * (k - 1)), rel=1e-14)
        m = matthew.largest_rarest_mass(0.3, k)
        assert 0.3 / m == pytest.approx((k - 1) * (2 - k * m), rel=1e-12)


@pytest.mark.parametrize(
    ("n_texts", "n_images", "dim", "count"),
    [(2, 100, 2, 2000), (5, 100, 2, 20_000), (5, 20, 4, 2000), (12, 400, 1, 2000)],
)
def test_bounds_hold_for_random_text_models(n_texts: int, n_images: int, dim: int, count: int) -> None:
    # Proof: rho_max / rho_min = 1 + a (1/p_min - 1/p_max) / (1 - a/p_min) with p_min <= m*, p_max >= 1 - D.
    a = (dim + 1) / (8 * n_images)
    p = random_text_models(n_texts, np.random.default_rng(7), 5 * count)
    p = p[p.min(axis=1) > 1.001 * a][:count]
    assert len(p) == count
    ratio = (1 - a / p.max(axis=1)) / (1 - a / p.min(axis=1))
    diversities = text_diversity(p)
    papers = np.array([matthew.matthew_bound(d, n_texts, n_images, dim) for d in diversities])
    sharp = np.array([matthew.sharp_matthew_bound(d, n_texts, n_images, dim) for d in diversities[:2000]])
    assert (ratio[:2000] >= sharp * (1 - 1e-12)).all()
    assert (ratio >= papers).all()
    assert (sharp >= papers[:2000]).all()
    assert (papers > 1 - a / (1 - diversities)).all()
    assert matthew.rate_ratio(p[0], n_images, dim, "approximate") == pytest.approx(ratio[0], rel=1e-12)
    # Negative control: the exact rates do violate (5.3), at text models with a rare text.
    rare = two_levels(n_texts, 1, 1 - (n_texts - 1) * 0.2 / n_images)
    diversity = float(text_diversity(rare))
    assert matthew.rate_ratio(rare, n_images, dim) < matthew.matthew_bound(diversity, n_texts, n_images, dim)


@pytest.mark.parametrize(("diversity", "n_texts"), [(0.3, 5), (0.6, 5), (0.795, 5), (0.9, 12), (0.83, 12), (0.665, 3)])
def test_sharp_bound_is_the_minimum_found_by_an_optimiser(diversity: float, n_texts: int) -> None:
    n_images, dim = 200, 2
    a = (dim + 1) / (8 * n_images)
    bound = matthew.sharp_matthew_bound(diversity, n_texts, n_images, dim)
    rng, found = np.random.default_rng(1), []
    for _ in range(12):  # minimise log(1 - a/p_1) - log(1 - a/p_K) over p_K <= p_i <= p_1 on the constraint set
        start = np.sort(rng.dirichlet(np.full(n_texts, 3.0)))[::-1]
        result = optimize.minimize(
            lambda p: np.log1p(-a / p[0]) - np.log1p(-a / p[-1]),
            np.maximum(start, 2 * a),
            method="SLSQP",
            bounds=[(1.01 * a, 1)] * n_texts,
            constraints=[
                {"type": "eq", "fun": lambda p: p.sum() - 1},
                {"type": "eq", "fun": lambda p: (p**2).sum() - 1 + diversity},
                {"type": "ineq", "fun": lambda p: p[0] - p},
                {"type": "ineq", "fun": lambda p: p - p[-1]},
            ],
            options={"maxiter": 500, "ftol": 1e-15},
        )
        if abs(result.x.sum() - 1) < 1e-9 and abs((result.x**2).sum() - 1 + diversity) < 1e-9:
            found.append(float(np.exp(result.fun)))
    assert min(found) == pytest.approx(bound, rel=1e-7)
    p = matthew.least_unequal_text_model(diversity, n_texts, n_images, dim)
    assert float(text_diversity(p)) == pytest.approx(diversity, rel=1e-12)
    assert p.sum() == pytest.approx(1, abs=1e-12)


def test_one_dominant_text_is_least_unequal_below_one_minus_two_over_k() -> None:
    for k in (3, 5, 12, 40):
        for d in np.linspace(0.05, 1 - 2 / k, 12):
            p = matthew.least_unequal_text_model(d, k, 100_000, 2)
            assert (p[1:] == p[-1]).all()
            assert p[-1] == matthew.largest_rarest_mass(d, k)
    # Close to the uniform text model several texts share the lead: the condition is not empty.
    p = matthew.least_unequal_text_model(0.9, 12, 1000, 2)
    assert p[1] == p[0] > p[-1]


@pytest.mark.parametrize("n_texts", [2, 3, 4, 5, 8])
def test_sharp_bound_is_the_least_of_all_two_level_text_models(n_texts: int) -> None:
    n_images, dim = 200, 2
    a, shared = 3 / 1600, 0
    for diversity in np.linspace(0.1, 0.9999 * (1 - 1 / n_texts), 60):
        spread = np.sqrt(n_texts * (1 - diversity) - 1)
        ratios = {}
        for j in range(1, n_texts):
            u = np.sqrt(j / (n_texts - j))
            high, low = (1 + spread / u) / n_texts, (1 - spread * u) / n_texts
            if low > a:
                ratios[j] = (1 - a / high) / (1 - a / low)
        best = min(ratios, key=ratios.__getitem__)
        shared += best == n_texts // 2
        assert matthew.sharp_matthew_bound(diversity, n_texts, n_images, dim) == pytest.approx(ratios[best], rel=1e-13)
    assert shared > 0  # the last candidate is needed


def test_the_published_numbers_and_the_growth_like_one_over_d() -> None:
    assert matthew.matthew_bound(0.01, 5, 100, 2) == pytest.approx(3.9868, abs=5e-5)
    p = two_levels(5, 1, 1 - 4 * matthew.largest_rarest_mass(0.01, 5))
    assert matthew.rate_ratio(p, 100, 2) == pytest.approx(0.9988, abs=5e-5)
    for k, n, d in ((2, 50, 1), (5, 100, 2), (30, 1000, 6)):
        excess = matthew.matthew_bound(1e-7, k, n, d) - 1
        assert excess * 1e-7 == pytest.approx((d + 1) * (k - 1) / (4 * n), rel=1e-5)
    # Where some text model has positive rates of the form (5.1), the bound stays below 2; elsewhere it says nothing.
    for d in np.geomspace(1e-3, 0.79, 60):
        empty = matthew.largest_rarest_mass(d, 5) <= 3 / 800
        assert empty == np.isinf(matthew.sharp_matthew_bound(d, 5, 100, 2))
        assert empty or matthew.matthew_bound(d, 5, 100, 2) < 2
    # With N p_min >= 3 the linearised ratio is at most 1 + (d + 1)/24; the ratio itself reaches 1/(1 - (d + 1)/24).
    assert matthew.rate_ratio([0.97, 0.03], 100, 2, "approximate") > 1 + 3 / 24
    assert matthew.rate_ratio([0.97, 0.03], 100, 2, "approximate") < 1 / (1 - 3 / 24)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_exact_rates_are_bounded_and_have_one_minimum(dim: int) -> None:
    constants = contraction_constant(np.arange(1, 40), dim)
    assert (np.diff(constants) > 0).all()  # c_d grows: the proof is in the chapter
    for n_images in (2, 3, 10, 40):
        p = np.linspace(0, 1, 101)
        exact = np.array([image.first_step_rate(n_images, x, dim) for x in p])
        assert (exact >= constants[0] - 1e-15).all()
        signs = np.sign(np.diff(exact))
        assert (np.diff(signs) >= 0).all()  # falls, then rises
        assert exact.max() / exact.min() <= matthew.rate_ratio_ceiling(dim)
    assert matthew.rate_ratio_ceiling(dim, "mean") == pytest.approx(np.sqrt(np.pi / 2), rel=1e-14)
    assert matthew.rate_ratio_ceiling(2) == pytest.approx(1.59577, abs=5e-6)


@pytest.mark.parametrize(
    ("n_texts", "n_images", "rate"), [(2, 30, "first step"), (4, 40, "first step"), (3, 60, "mean")]
)
def test_largest_ratio_against_random_text_models(n_texts: int, n_images: int, rate: str) -> None:
    largest = matthew.largest_rate_ratio(n_texts, n_images, 2, rate)
    found = max(
        matthew.rate_ratio(p, n_images, 2, rate) for p in random_text_models(n_texts, np.random.default_rng(2))[:1500]
    )
    assert found <= largest.ratio < matthew.rate_ratio_ceiling(2, rate)
    extreme = two_levels(n_texts, 1, 1 - (n_texts - 1) * largest.rarest_mass)
    assert matthew.rate_ratio(extreme, n_images, 2, rate) == pytest.approx(largest.ratio, rel=1e-12)
    for factor in (0.97, 1.03):
        other = two_levels(n_texts, 1, 1 - (n_texts - 1) * largest.rarest_mass * factor)
        assert matthew.rate_ratio(other, n_images, 2, rate) < largest.ratio


def test_largest_ratio_digits_and_the_case_without_an_effect() -> None:
    ratio, mass = matthew.largest_rate_ratio(5, 100, 2)
    assert (round(ratio, 4), round(100 * mass, 2)) == (1.1926, 2.74)
    assert matthew.largest_rate_ratio(5, 100, 2, "mean").ratio == pytest.approx(1.1014, abs=6e-5)
    # Ten images for five texts: the uniform text model is on the falling branch, and no text model gains.
    assert matthew.largest_rate_ratio(5, 10, 2) == (1.0, 0.2)


def test_the_effect_is_reversed_as_the_text_model_collapses() -> None:
    rng = np.random.default_rng(3)
    for rate, limit in (("first step", contraction_constant(99, 2)), ("mean", contraction_constant(99, 1))):
        for _ in range(20):
            rest = rng.dirichlet(np.ones(4)) * 1e-5
            p = np.r_[1 - rest.sum(), rest]
            assert matthew.rate_ratio(p, 100, 2, rate) == pytest.approx(limit, abs=1e-6)
    assert matthew.rate_ratio([1.0, 0.0], 100, 2, "typical") == image.typical_rate(100, 1.0) < 1
    # Sufficient for reversal, as proved in the chapter: P(n_min >= 2)(1 - c_d(1)) < P(n_max >= 2)(1 - c_d(N - 1)).
    for n in (10, 100, 500):
        for q in np.geomspace(1e-3, 3, 25) / n:
            p = np.r_[1 - 2 * q, q, q]
            rare, often = stats.binom.sf(1, n, q), stats.binom.sf(1, n, p[0])
            if rare * (1 - contraction_constant(1, 2)) < often * (1 - contraction_constant(n - 1, 2)):
                assert matthew.rate_ratio(p, n, 2) < 1


def test_exact_ratio_against_simulated_refits() -> None:
    runs, rng = 100_000, np.random.default_rng(4)

    def factor(p: float) -> Array:
        """Ratio of tr Sigma^{1/2} after and before one refit of a round Gaussian in the plane, from its images."""
        n = rng.binomial(100, p, runs)
        dof = np.maximum(n - 1, 1)
        one, two = rng.chisquare(dof), np.where(n > 2, rng.chisquare(np.maximum(dof - 1, 1)), 0.0)
        corner = rng.standard_normal(runs)
        root = np.sqrt(one + two + corner**2 + 2 * np.sqrt(one * two)) / np.sqrt(dof) / 2
        return np.where(n >= 2, root, 1.0)

    for diversity, reversed_ in ((0.222, False), (0.01, True)):
        m = matthew.largest_rarest_mass(diversity, 5)
        p = two_levels(5, 1, 1 - 4 * m)
        top, low = factor(p[0]), factor(m)
        for ratio, true in (
            (matthew.rate_ratio(p, 100, 2), True),
            (matthew.matthew_bound(diversity, 5, 100, 2), False),
        ):
            x = top - ratio * low  # mean zero if and only if `ratio` is the ratio of the two means
            assert (abs(x.mean()) < SIX * x.std(ddof=1) / np.sqrt(runs)) == true
        assert (top.mean() < low.mean() - 3 * np.hypot(top.std(), low.std()) / np.sqrt(runs)) == reversed_


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: matthew.largest_rarest_mass(0.0, 5), ValueError, "diversity"),
        (lambda: matthew.largest_rarest_mass(0.81, 5), ValueError, "diversity"),
        (lambda: matthew.largest_rarest_mass(0.1, 1), ValueError, "n_texts"),
        (lambda: matthew.largest_rarest_mass("a", 5), TypeError, "diversity"),
        (lambda: matthew.matthew_bound(0.1, 5, 0, 2), ValueError, "image_samples"),
        (lambda: matthew.matthew_bound(0.1, 5, 100, 0), ValueError, "dim"),
        (lambda: matthew.matthew_bound(0.1, 5.0, 100, 2), TypeError, "n_texts"),
        (lambda: matthew.sharp_matthew_bound(0.9, 5, 100, 2), ValueError, "diversity"),
        (lambda: matthew.sharp_matthew_bound(0.1, 5, 100, 2.0), TypeError, "dim"),
        (lambda: matthew.least_unequal_text_model(0.01, 5, 100, 2), ValueError, "diversity"),
        (lambda: matthew.least_unequal_text_model(0.1, 5, True, 2), TypeError, "image_samples"),
        (lambda: matthew.rate_ratio([0.5, 0.4], 100, 2), ValueError, "p must sum"),
        (lambda: matthew.rate_ratio([1.0], 100, 2), ValueError, "p must have at least two"),
        (lambda: matthew.rate_ratio([0.997, 0.003], 100, 2, "approximate"), ValueError, "p must have all entries"),
        (lambda: matthew.rate_ratio([0.5, 0.5], 100, 2, "fast"), ValueError, "rate"),
        (lambda: matthew.rate_ratio([0.5, 0.5], 100, 0, "mean"), ValueError, "dim"),
        (lambda: matthew.rate_ratio_ceiling(0), ValueError, "dim"),
        (lambda: matthew.rate_ratio_ceiling(2, "typical"), ValueError, "rate"),
        (lambda: matthew.largest_rate_ratio(1, 100, 2), ValueError, "n_texts"),
        (lambda: matthew.largest_rate_ratio(5, 0, 2), ValueError, "image_samples"),
        (lambda: matthew.largest_rate_ratio(5, 100, 2, "approximate"), ValueError, "rate"),
    ],
)
def test_bad_input(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()
