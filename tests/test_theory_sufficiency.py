"""Laws 5.1 to 5.5 against enumeration, scipy's optimiser, quadrature, finite differences and simulation."""

from itertools import product
from math import factorial, inf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import optimize, stats

from coevo import State, System, UserContent, evidence, replicate
from coevo.theory import corpus, sufficiency, user_diversity, user_moments
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]


def enumerated_update(p: Array, images: int) -> float:
    """Mean diversity after one update with separated images, from all multinomial outcomes."""
    total = 0.0
    for counts in product(range(images + 1), repeat=len(p)):
        if sum(counts) == images:
            ways = factorial(images) / np.prod([factorial(c) for c in counts])
            total += ways * np.prod(p ** np.array(counts)) * (1 - sum((c / images) ** 2 for c in counts))
    return float(total)


def test_one_step_against_all_outcomes() -> None:
    p, m = np.array([0.6, 0.4]), 3
    fractions, probabilities, shares = [0.3, 0.5], [0.25, 0.35], [np.array([0.7, 0.3]), np.array([0.5, 0.25, 0.25])]
    mean = 0.4 * enumerated_update(p, m)
    for eps, probability, w in zip(fractions, probabilities, shares, strict=True):
        mean += probability * enumerated_update(np.concatenate([(1 - eps) * p, eps * w]), m)
    texts = [float(1 / (w @ w)) for w in shares]
    bounds = sufficiency.injection_bounds(1 - p @ p, m, fractions, probabilities, 1, texts)
    assert bounds.lower == pytest.approx(mean, abs=1e-12)


@pytest.mark.parametrize("updates", [1, 4])
def test_single_texts_are_the_laws_of_theorem_6_1(updates: int) -> None:
    t = np.array([0, 1, 7, 400])
    for alpha, eps in ((0.2, 0.3), (1.0, 0.9), (0.01, 0.5)):
        limits = sufficiency.injection_limits(30, [eps], [alpha], text_updates=updates)
        assert limits.lower == pytest.approx(corpus.sharp_floor(30, alpha, eps, updates), rel=1e-12)
        assert limits.upper == pytest.approx(corpus.limiting_ceiling(eps), rel=1e-12)
        bounds = sufficiency.injection_bounds(0.7, 30, [eps], [alpha], t, text_updates=updates)
        np.testing.assert_allclose(bounds.lower, corpus.diversity_floor(0.7, 30, alpha, eps, t, updates), rtol=1e-12)
        np.testing.assert_allclose(bounds.upper, corpus.diversity_ceiling(0.7, alpha, eps, t), rtol=1e-12)


def test_without_injection_nothing_is_gained() -> None:
    assert sufficiency.injection_limits(10, [0.0], [0.5]).lower == 0
    assert np.isnan(sufficiency.injection_limits(10, [0.3], [0.0]).upper)
    bounds = sufficiency.injection_bounds(0.7, 10, [0.3], [0.0], [0, 3])
    np.testing.assert_allclose(bounds.lower, [0.7, 0.7 * 0.9**3])
    np.testing.assert_allclose(bounds.upper, 0.7)


def test_one_text_is_the_worst_division_and_a_steady_drip_the_best_timing() -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        eps, chance = rng.random(4), rng.dirichlet(np.ones(5))[:4]
        texts = float(rng.integers(1, 5))
        floor = sufficiency.injection_limits(20, eps, chance, texts).lower
        steady = sufficiency.injection_limits(20, [float(eps @ chance)], [1.0], texts).lower
        assert floor < steady
        assert sufficiency.injection_limits(20, eps, chance, texts + 1).lower > floor
        assert floor < 0.95


@pytest.mark.parametrize("updates", [1, 3])
@pytest.mark.parametrize("texts", [1.0, 2.0, 7.0])
def test_highest_floor_and_least_mass_against_scipy(updates: int, texts: float) -> None:
    def floor(u: float) -> float:
        return float(sufficiency.injection_limits(40, [u], [1.0], texts, updates).lower)

    best = optimize.minimize_scalar(lambda u: -floor(u), bounds=(0, 1), method="bounded", options={"xatol": 1e-10})
    top = sufficiency.highest_floor(40, texts, updates)
    assert top == pytest.approx(-best.fun, abs=1e-12)
    for w in (0.1, 0.5, 0.99 * top):
        root = optimize.brentq(lambda u, w=w: floor(u) - w, 0, best.x, xtol=1e-14)
        assert sufficiency.least_injected_mass(w, 40, texts, updates) == pytest.approx(root, rel=1e-9)
    assert sufficiency.least_injected_mass(1.001 * top, 40, texts, updates) == inf


def test_extreme_guarantees() -> None:
    assert sufficiency.highest_floor(100) == pytest.approx(0.9, abs=1e-14)
    assert sufficiency.least_injected_mass(0.9, 100) == pytest.approx(1 / 11, abs=1e-6)  # reached, at a double root
    assert sufficiency.highest_floor(40, inf, 3) == pytest.approx((1 - 1 / 40) ** 3, rel=1e-12)
    assert sufficiency.highest_floor(1) == 0
    assert sufficiency.least_injected_mass(0.0, 1) == 0
    assert sufficiency.least_injected_mass(0.1, 1) == inf
    assert np.isfinite(sufficiency.least_injected_mass(0.94, 20, inf))
    small = sufficiency.least_injected_mass(0.5, 10**12)  # no cancellation: w g / (2 (1 - w))
    assert small == pytest.approx(0.5e-12, rel=1e-9)


@pytest.mark.parametrize("updates", [1, 3])
def test_fewest_new_texts_are_enough_and_no_fewer_are(updates: int) -> None:
    rng = np.random.default_rng(2)
    for w in (0.05, 0.3, 0.5, 0.7, 0.8):
        plan = sufficiency.fewest_new_texts(w, 24, updates)
        law = ([plan.injection_fraction], [plan.injection_prob])
        assert sufficiency.injection_limits(24, *law, plan.texts, updates).lower >= w - 1e-12
        if plan.texts == 1:
            assert plan.injection_prob == pytest.approx(corpus.least_injection_prob(w, 24, None, updates), rel=1e-12)
            mass = plan.injection_prob * plan.injection_fraction
            assert 1 <= mass / sufficiency.least_injected_mass(w, 24, 1, updates) <= 2 + 1e-12
        else:
            assert sufficiency.highest_floor(24, plan.texts - 1, updates) < w
        number = plan.injection_prob * (plan.texts if plan.texts == 1 else plan.texts - 1)
        for _ in range(100):  # random laws with fewer new texts on average
            texts = rng.integers(1, 6, size=3).astype(float)
            chance = rng.dirichlet(np.ones(3))
            chance *= min(1.0, 0.999 * number / (chance @ texts))
            assert sufficiency.injection_limits(24, rng.random(3), chance, texts, updates).lower < w


def test_the_price_where_one_text_in_every_step_is_just_enough() -> None:
    for root in (2, 5, 7, 10, 13):  # w = 1 - 1 / sqrt(M): alpha is exactly 1
        w, m = 1 - 1 / root, root**2
        assert corpus.least_injection_prob(w, m) == pytest.approx(1, abs=1e-12)
        plan = sufficiency.fewest_new_texts(w, m)
        assert plan.texts == 1
        assert plan.injection_prob == pytest.approx(1, abs=1e-12)
    assert sufficiency.fewest_new_texts(float(np.nextafter(1 - 1 / 20, 0)), 20).texts > 10**12  # just below Q


def test_divided_injections_by_simulation() -> None:
    plan = sufficiency.fewest_new_texts(0.8, 20, 3)
    assert plan.texts > 1
    rng, runs = np.random.default_rng(3), 800
    p = np.full((runs, 5), 0.2)
    for _ in range(12):
        new = np.full((runs, plan.texts), plan.injection_fraction / plan.texts)
        p = np.hstack([(1 - plan.injection_fraction) * p, new])
        for _ in range(3):
            p = rng.multinomial(20, p / p.sum(axis=1, keepdims=True)) / 20
        p = -np.sort(-p, axis=1)[:, :20]
    bound = sufficiency.injection_bounds(0.8, 20, [plan.injection_fraction], [1.0], 12, plan.texts, 3).lower
    assert evidence.check_equal("E D", bound=bound, **evidence.summary(1 - (p**2).sum(axis=1))).passed


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_level_shares_hold_for_all_numbers_of_own_images(dim: int) -> None:
    cov = np.diag(np.linspace(0.1, 1, dim))
    diversity = float(np.sqrt(np.diag(cov)).sum())
    for m in (1, 2, 5, 8, 30):
        lower, upper = sufficiency.level_share_bounds(m, dim)
        for n in (1, 2, 3, 10, 1000):
            assert lower <= user_diversity.pythagorean_floor(n, m, cov) / diversity + 1e-12
            assert upper >= user_diversity.diversity_ceiling(n, m, cov) / diversity - 1e-12
    lower, upper = sufficiency.level_share_bounds(10**6, dim)
    assert 1 < upper / lower < 1 + (2 * dim + 4) / 10**6


def test_the_loss_of_one_refit_is_bounded_uniformly() -> None:
    nu = np.arange(1, 60)
    for dim in (1, 2, 3, 4, 7):
        assert (nu * (1 - contraction_constant(nu, dim) ** 2) <= (0.5 if dim == 1 else dim + 1)).all()


def test_limit_level_in_one_dimension_against_the_inverse_gamma_law() -> None:
    for m in (1, 2, 6):
        exact = stats.invgamma(m + 0.5, scale=m).expect(np.sqrt, limit=400)
        assert sufficiency.limit_level(m, [[4.0]]) == pytest.approx(2 * exact, rel=1e-8)
        assert sufficiency.limit_level(m, [[4.0]]) == pytest.approx(2 / contraction_constant(2 * m, 1), rel=1e-12)


@pytest.mark.parametrize("small", [1.0, 0.2, 0.0])
def test_limit_level_in_the_plane_against_scipys_inverse_wishart(small: float) -> None:
    m = 4
    scale = np.diag([1.0, small if small else 1e-12])
    sample = stats.invwishart(2 * m + 2, 2 * m * scale).rvs(40_000, random_state=5)
    values = np.sqrt(np.trace(sample, axis1=1, axis2=2) + 2 * np.sqrt(np.maximum(np.linalg.det(sample), 0)))
    limit = sufficiency.limit_level(m, np.diag([1.0, small]))
    assert abs(values.mean() - limit) < 6.5 * values.std() / 200 + 1e-5
    assert limit < np.sqrt(user_moments.limit_factors(10**9, m).cov) * (1 + np.sqrt(small))


def test_users_diversity_is_exceeded_in_the_plane_and_not_in_six_dimensions() -> None:
    nu = np.arange(3, 400, 2)
    constant = contraction_constant(nu, 2)
    for k, c in zip(nu[:20], constant[:20], strict=True):  # c_2 = c_1(2 nu) E sqrt((1 + v) / 2), v ~ Beta(nu - 1, 1)
        mean = stats.beta(k - 1, 1).expect(lambda v: np.sqrt((1 + v) / 2))
        assert c == pytest.approx(stats.chi(2 * k).mean() / np.sqrt(2 * k) * mean, rel=1e-9)
    assert (constant**2 > 1 - 3 / (4 * nu) - 1 / (2 * nu * (nu + 1))).all()
    for dim, m in ((1, 30), (2, 30)):
        assert sufficiency.limit_level(m, np.eye(dim)) / dim == pytest.approx(1 + (3 - dim) / (16 * m), abs=0.2 / m**2)
    sample = stats.invwishart(2 * 30 + 6, 2 * 30 * np.eye(6)).rvs(20_000, random_state=6)
    values = np.sqrt(np.linalg.eigvalsh(sample)).mean(axis=1)
    values -= 0.5 * (np.trace(sample, axis1=1, axis2=2) / 6 - 60 / 59)  # E Sigma = 2 m / (2 m - 1): a control
    assert values.mean() == pytest.approx(1 - 3 / (16 * 30), abs=6.5 * values.std() / np.sqrt(20_000) + 1 / 30**2)


@pytest.mark.parametrize("m", [1, 3])
def test_limit_law_is_annihilated_by_the_adjoint_generator(m: int) -> None:
    """L* pi = 0 in two dimensions by central differences, coordinates (e1, e2, a, b, c), Sigma = [[a, b], [b, c]]."""

    def cov(x: Array) -> Array:
        return np.array([[x[2], x[3]], [x[3], x[4]]])

    def density(x: Array) -> float:
        sigma, e = cov(x), x[:2]
        second = np.eye(2) + np.outer(e, e)
        return float(np.linalg.det(sigma) ** -(m + 3) * np.exp(-m * np.trace(np.linalg.solve(sigma, second))))

    entries = [(0, 0), (0, 1), (1, 1)]

    def drift(x: Array) -> Array:
        change = m * (np.eye(2) - cov(x) + np.outer(x[:2], x[:2]))
        return np.concatenate([-m * x[:2], [change[i, j] for i, j in entries]])

    def diffusion(x: Array) -> Array:
        sigma, out = cov(x), np.zeros((5, 5))
        out[:2, :2] = sigma
        for r, (i, j) in enumerate(entries):
            for c, (k, q) in enumerate(entries):
                out[2 + r, 2 + c] = sigma[i, k] * sigma[j, q] + sigma[i, q] * sigma[j, k]
        return out

    rng, h = np.random.default_rng(m), 1e-3
    for _ in range(3):
        factor = rng.standard_normal((2, 2)) / 2
        start = factor @ factor.T + np.eye(2)
        x = np.concatenate([rng.standard_normal(2) / 2, [start[0, 0], start[0, 1], start[1, 1]]])
        unit = h * np.eye(5)
        total, size = 0.0, 0.0
        for i in range(5):
            ahead, behind = x + unit[i], x - unit[i]
            total -= (drift(ahead)[i] * density(ahead) - drift(behind)[i] * density(behind)) / (2 * h)
            size += abs(drift(x)[i] * density(x))
            for j in range(5):
                corner = 0.0
                for a, b in product((1, -1), repeat=2):
                    y = x + a * unit[i] + b * unit[j]
                    corner += a * b * diffusion(y)[i, j] * density(y)
                total += 0.5 * corner / (4 * h**2)
        assert abs(total) < 1e-4 * (size + density(x))


def test_least_user_images_against_a_plain_search() -> None:
    cov = np.diag([1.0, 0.2])
    diversity = 1 + np.sqrt(0.2)
    for n, share in ((5, 0.6), (20, 0.9)):
        enough = [m for m in range(1, 60) if user_diversity.best_floor(n, m, cov) >= share * diversity]
        m = sufficiency.least_user_images(n, share, cov)
        assert m == enough[0]
        assert m <= np.ceil((4 + 3 * share**2) / (1 - share**2))
    start = State.create([1.0], [[0, 0]], cov)
    system = System(start, 1, image_samples=20, text_updates=0, user=UserContent(m))
    result = replicate(system, 25, 300, rng=4, statistics=["image_diversity"], times=[25])
    error = result.standard_error["image_diversity"][0, 0]
    assert result.mean["image_diversity"][0, 0] > 0.9 * diversity - 6.5 * error


def test_least_user_images_for_drift_against_theorem_6_3() -> None:
    for n in (1, 2, 20, 10**6):
        for drift in (0.03, 0.2, 0.5, 1.0, 3.0):
            m = sufficiency.least_user_images_for_drift(n, drift, np.diag([1.0, 0.2]))
            tau = 1.2 / drift**2
            assert m == 1 if tau <= 1 else m > (tau + 1) / 2 - 1e-9
            assert m <= np.ceil(tau - 1e-9)
            assert user_moments.fidelity_bound(np.diag([1.0, 0.2]), n, m) <= drift * (1 + 1e-9)
            if m > 1:
                assert user_moments.fidelity_bound(np.diag([1.0, 0.2]), n, m - 1) > drift
    assert sufficiency.least_user_images_for_drift(1, 0.5, [[1.0]]) == 4  # tau = 4 <= m + 1 - 1 / m
    assert sufficiency.least_user_images_for_drift(10**6, 0.2, [[1.0]]) == 14  # 13 = (tau + 1) / 2 only at n = infinity


BAD: list[tuple[str, tuple[Any, ...], str]] = [
    ("injection_limits", (0, [0.1], [0.1]), "text_samples"),
    ("injection_limits", (10, [1.1], [0.1]), "fractions"),
    ("injection_limits", (10, [-0.1], [0.1]), "fractions"),
    ("injection_limits", (10, [0.1, 0.2], [0.6, 0.6]), "probabilities"),
    ("injection_limits", (10, [0.1], [-0.1]), "probabilities"),
    ("injection_limits", (10, [0.1], [0.1, 0.2]), "probabilities"),
    ("injection_limits", (10, [0.1], [0.1], 0.5), "texts"),
    ("injection_limits", (10, [0.1], [0.1], [1.0, 2.0]), "texts"),
    ("injection_limits", (10, [0.1], [0.1], 1.0, 0), "text_updates"),
    ("injection_bounds", (1.5, 10, [0.1], [0.1], 3), "initial_diversity"),
    ("injection_bounds", (0.5, 10, [0.1], [0.1], -3), "t must"),
    ("highest_floor", (10, 0.5), "texts"),
    ("least_injected_mass", (1.0, 10), "wanted"),
    ("fewest_new_texts", (0.0, 10), "wanted"),
    ("fewest_new_texts", (0.95, 20), "wanted must be less than"),
    ("fewest_new_texts", (0.5, 1), "text_samples"),
    ("level_share_bounds", (0, 1), "user_images"),
    ("level_share_bounds", (1, 0), "dim"),
    ("limit_level", (0, [[1.0]]), "user_images"),
    ("limit_level", (1, np.eye(3)), "user_cov"),
    ("least_user_images", (0, 0.5, [[1.0]]), "images"),
    ("least_user_images", (5, 1.0, [[1.0]]), "share"),
    ("least_user_images", (5, 0.5, [[0.0]]), "user_cov"),
    ("least_user_images_for_drift", (0, 0.5, [[1.0]]), "images"),
    ("least_user_images_for_drift", (5, 0.0, [[1.0]]), "drift"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), BAD)
def test_bad_input(name: str, arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        getattr(sufficiency, name)(*arguments)
