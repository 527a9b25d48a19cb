"""Theorem 6.3 and what lies behind it against pooled samples drawn one by one, scipy, quadrature and the engine."""

from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from coevo import State, System, UserContent, simulate
from coevo.theory import fidelity, user_moments

Array = NDArray[np.float64]
SIX = 6.1
USER = np.array([[1.0, 0.3], [0.3, 0.5]])
START = np.array([[0.2, -0.1], [-0.1, 0.6]])
OFFSET = np.array([1.5, -0.5])


def draws(law: Any, runs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.full(runs, law) if isinstance(law, int) else law.rvs(size=runs, random_state=rng)


def pooled(n: Any, m: Any, steps: int, runs: int, seed: int) -> tuple[Array, Array]:
    """Return e_t (steps + 1, runs, 2) and Sigma_t (steps + 1, runs, 2, 2) by drawing every image; mu* = 0."""
    rng = np.random.default_rng(seed)
    mean, cov = np.tile(OFFSET, (runs, 1)), np.tile(START, (runs, 1, 1))
    means, covs = [mean.copy()], [cov.copy()]
    root = np.linalg.cholesky(USER)
    for _ in range(steps):
        own, user = draws(n, runs, rng), draws(m, runs, rng)
        for a, b in {*zip(own.tolist(), user.tolist(), strict=True)}:
            if a + b < 2:
                continue
            where = np.flatnonzero((own == a) & (user == b))
            values, vectors = np.linalg.eigh(cov[where])
            factor = vectors * np.sqrt(np.maximum(values, 0))[:, None, :]
            z = rng.standard_normal((where.size, a, 2))
            generated = mean[where, None] + np.einsum("rij,rnj->rni", factor, z)
            images = np.concatenate([generated, rng.standard_normal((where.size, b, 2)) @ root.T], axis=1)
            mean[where] = images.mean(axis=1)
            residual = images - mean[where, None]
            cov[where] = np.swapaxes(residual, 1, 2) @ residual / (a + b - 1)
        means.append(mean.copy())
        covs.append(cov.copy())
    return np.array(means), np.array(covs)


def assert_mean(values: Array, expected: Array) -> None:
    """Compare the mean over axis 0 with its expectation, at six standard errors."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - expected) <= SIX * error + 1e-12).all()


@pytest.mark.parametrize(
    ("n", "m"),
    [(4, 3), (0, 2), (0, 3), (1, 1), (1, 2), (2, 0), (3, 1), (0, 1), (1, 0), (0, 0), (stats.binom(3, 0.4), 1)],
)
def test_moments_against_pooled_images(n: Any, m: Any) -> None:
    runs = 6000
    means, covs = pooled(n, m, 2, runs, seed=11)
    exact = user_moments.moments(OFFSET, START, USER, n, m, np.arange(3))
    for t in range(3):
        assert_mean(means[t][:, :, None] * means[t][:, None, :], exact.error[t])
        assert_mean(covs[t], exact.cov[t])
        moved = means[t] - OFFSET
        assert_mean(moved[:, :, None] * moved[:, None, :], exact.drift[t])


def test_moments_with_both_counts_random_and_a_negative_control() -> None:
    n, m, runs = stats.binom(5, 0.4), stats.poisson(1.0), 8000
    means, covs = pooled(n, m, 3, runs, seed=12)
    exact = user_moments.moments(OFFSET, START, USER, n, m, 3)
    square, total = (means[3] ** 2).sum(axis=1), np.trace(covs[3], axis1=1, axis2=2)
    assert_mean(square, exact.squared_error)
    assert_mean(total, exact.total_variance)
    wrong = user_moments.moments(OFFSET, START, USER, 2, 1, 3)  # the counts at their means
    assert abs(square.mean() - wrong.squared_error) > SIX * square.std() / np.sqrt(runs)


def test_moments_against_the_engine() -> None:
    n, m, runs, steps = stats.binom(20, 0.3), stats.bernoulli(0.7), 2500, 12
    start = State.create([0.3, 0.7], np.tile(OFFSET, (2, 1)), START)
    system = System(start, 1, 20, text_updates=0, user=UserContent(m, np.zeros(2), USER))
    path = simulate(system, steps, runs, rng=13)
    exact = user_moments.moments(OFFSET, START, USER, n, m, path.t)
    assert_mean((path.mean[:, :, 0] ** 2).sum(axis=-1), exact.squared_error)
    assert_mean(np.trace(path.cov[:, :, 0], axis1=-2, axis2=-1), exact.total_variance)
    assert_mean(path.fidelity[:, :, 0] ** 2, exact.squared_drift)


def test_without_user_images_it_is_theorem_3_4() -> None:
    t = np.arange(30)
    exact = user_moments.moments(np.zeros(2), START, USER, 6, 0, t)
    np.testing.assert_allclose(exact.squared_drift, fidelity.expected_squared_drift(START, 6, t), rtol=1e-12)
    np.testing.assert_allclose(exact.total_variance, np.trace(START), rtol=1e-12)
    assert user_moments.spectral_radius(6, 0) == 1


def test_user_images_alone_are_a_fresh_sample_in_every_update() -> None:
    exact = user_moments.moments(OFFSET, START, USER, 0, 7, [1, 4])
    np.testing.assert_allclose(exact.error, np.tile(USER / 7, (2, 1, 1)), rtol=1e-14)
    np.testing.assert_allclose(exact.cov, np.tile(USER, (2, 1, 1)), rtol=1e-14)
    assert user_moments.limit_factors(0, 7) == pytest.approx((1 / 7, 1))
    assert user_moments.spectral_radius(0, 7) == 0


@pytest.mark.parametrize(
    ("n", "m", "cov", "error", "total"),
    [
        (20, 5, np.diag([1.0, 0.2]), 0.1440, 1.3200),
        (10, 30, np.diag([2.0, 1.0]), 0.0801, 3.0205),
        (50, 2, np.eye(2), 0.6711, 2.6579),
        (stats.binom(100, 0.2), 5, np.diag([1.0, 0.2]), 0.1447, 1.3191),
    ],
)
def test_limits(n: Any, m: int, cov: Array, error: float, total: float) -> None:
    factors = user_moments.limit_factors(n, m)
    assert factors.error * np.trace(cov) == pytest.approx(error, abs=5.1e-5)
    assert factors.cov * np.trace(cov) == pytest.approx(total, abs=5.1e-5)
    assert user_moments.fidelity_bound(cov, n, m) == pytest.approx(np.sqrt(error), abs=1e-4)
    late = user_moments.moments(OFFSET, START, cov, n, m, 3000)
    np.testing.assert_allclose(late.error, factors.error * cov, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(late.cov, factors.cov * cov, rtol=1e-10, atol=1e-12)
    assert late.squared_drift == pytest.approx(factors.error * np.trace(cov) + OFFSET @ OFFSET, rel=1e-10)


def test_closed_forms_at_fixed_counts() -> None:
    for n in (0, 1, 2, 7, 1000, 10**7):
        for m in (1, 2, 9, 400):
            if n + m < 2:
                continue
            s = n + m
            error, cov = user_moments.limit_factors(n, m)
            assert error == pytest.approx((s - 1) / (s * (s - 1) - n * n), rel=1e-12)
            assert cov == pytest.approx(1 + n / (s * (s - 1) - n * n), rel=1e-12)
            assert 1 / (2 * m - 1) - 1e-12 <= error <= 1 / m + 1e-12
            radius = user_moments.spectral_radius(n, m)
            matrix = user_moments.update_matrix(n, m)[0]
            assert radius == pytest.approx(np.abs(np.linalg.eigvals(matrix)).max(), abs=1e-12)
            assert radius < 1
            assert np.linalg.det(matrix) == pytest.approx(n**2 * (n - 1) / (s**2 * (s - 1)) if n else 0, abs=1e-12)
    # One user image: the level does not depend on n at all.
    assert [user_moments.limit_factors(n, 1).error for n in (1, 5, 10**6)] == pytest.approx([1, 1, 1], rel=1e-12)
    # Many generated images: the golden ratio for m = 1.
    slow = (1 - user_moments.spectral_radius(10**6, 1)) * 10**6
    assert slow == pytest.approx((3 - np.sqrt(5)) / 2, rel=1e-5)


def test_the_bound_holds_at_every_time_from_the_users_law() -> None:
    t = np.arange(200)
    for n, m in ((20, 1), (5, 3), (stats.binom(30, 0.5), 2)):
        f = user_moments.moments(np.zeros(2), USER, USER, n, m, t).squared_error
        assert (np.sqrt(f) <= user_moments.fidelity_bound(USER, n, m) * (1 + 1e-12)).all()


@pytest.mark.parametrize("n", [2, 10, 500])
def test_critical_user_share(n: int) -> None:
    q = user_moments.critical_user_share(n)
    above, below = stats.bernoulli(q + 1e-6), stats.bernoulli(q - 1e-6)
    assert np.isfinite(user_moments.limit_factors(n, above).error)
    assert user_moments.limit_factors(n, below) == (np.inf, np.inf)
    assert user_moments.spectral_radius(n, above) < 1 < user_moments.spectral_radius(n, below)
    assert user_moments.fidelity_bound(np.eye(1), n, below) == np.inf


@pytest.mark.parametrize(("n", "m"), [(0, 3), (1, 3), (4, 4), (30, 6)])
def test_fourth_moment_against_simulation(n: int, m: int) -> None:
    rng = np.random.default_rng(17)
    runs = 20_000
    e, v = np.zeros(runs), np.ones(runs)
    for _ in range(25):
        images = e[:, None] + np.sqrt(v)[:, None] * rng.standard_normal((runs, n))
        images = np.concatenate([images, rng.standard_normal((runs, m))], axis=1)
        e, v = images.mean(axis=1), images.var(axis=1, ddof=1)
    assert user_moments.spectral_radius(n, m) ** 25 < 0.02
    assert_mean(e**4, np.asarray(user_moments.fourth_moment(n, m)))


def test_fourth_moment() -> None:
    # User images alone: e is normal with variance 1/m.
    assert user_moments.fourth_moment(0, 4) == pytest.approx(3 / 16, rel=1e-14)
    # Many generated images: the fourth moment of the limit law, by scipy.
    for m in (2, 3, 8):
        law = user_moments.limit_law(m)
        assert user_moments.fourth_moment(10**6, m) == pytest.approx(law.moment(4), rel=1e-4)
        assert law.moment(4) == pytest.approx(3 / ((2 * m - 1) * (2 * m - 3)), rel=1e-9)
    assert [user_moments.fourth_moment(n, 1) for n in (1, 2, 10, 10**5)] == [np.inf] * 4


def test_limit_law_against_the_diffusion_and_scipy() -> None:
    for m in (0.6, 1.0, 2.5):
        law = user_moments.limit_law(m)
        x = np.linspace(-3, 3, 7)
        shape = (1 + x**2) ** -(m + 1)
        np.testing.assert_allclose(law.pdf(x) / law.pdf(0.0), shape, rtol=1e-12)
        assert law.var() == pytest.approx(1 / (2 * m - 1), rel=1e-12)
        for d in (1, 2, 5):
            # e = sqrt(v / (2m)) Z with v inverse Gamma(m + 1/2, m): a normal-inverse-gamma law.
            root = integrate.quad(lambda u: u**0.5 * stats.invgamma.pdf(u, m + 0.5, scale=m), 0, np.inf)[0]  # noqa: B023
            expected = root / np.sqrt(2 * m) * stats.chi(d).mean()
            assert user_moments.limit_mean_drift(m, d) == pytest.approx(expected, rel=1e-6)
    # The generator of the limit diffusion has mean zero under the normal-inverse-gamma law (f = cos(e) / (1 + v)).
    m = 1.5
    scaled, w = np.linspace(-9, 9, 301)[:, None], np.linspace(-5, 14, 800)  # e = scaled sqrt(v / 2m), v = exp(w)
    v = np.exp(w)
    e = scaled * np.sqrt(v / (2 * m))
    weight = stats.norm.pdf(scaled) * stats.invgamma.pdf(v, m + 0.5, scale=m) * v * 0.06 * (w[1] - w[0])
    assert weight.sum() == pytest.approx(1, abs=1e-8)
    in_e = m * e * np.sin(e) - v / 2 * np.cos(e)
    for drift, relation in ((m * (1 - v + e**2), abs), (m * (1 - v), lambda gap: 0.05 - abs(gap))):  # and a control
        in_v = np.cos(e) * (-drift / (1 + v) + 2 * v**2 / (1 + v) ** 2)
        assert relation(float((weight * (in_e + in_v) / (1 + v)).sum())) < 1e-7


def test_limit_law_against_the_engine() -> None:
    m, n, runs = 2, 30, 6000
    start = State.create([1.0], [[0.0]], [[1.0]])
    system = System(start, 1, n, text_updates=0, user=UserContent(m))
    ends = simulate(system, 140, runs, rng=18, every=140).mean[:, -1, 0, 0]
    # At a finite n the law of the runs is not the limit law. By the triangle inequality its distance from any law is
    # the measured one, up to the greatest distance of the runs from their own law (whose quantile is `slack`).
    slack = stats.kstwo.isf(1e-9, runs)
    near, *far = (stats.kstest(ends, user_moments.limit_law(m * k).cdf).statistic for k in (1, 1 / 4, 4))
    assert near + slack < min(far) - slack


Polynomial = dict[tuple[int, ...], Fraction]


def plus(a: Polynomial, b: Polynomial, factor: Fraction) -> Polynomial:
    """Return a + factor b."""
    return {k: a.get(k, Fraction(0)) + factor * b.get(k, Fraction(0)) for k in {*a, *b}}


def times(a: Polynomial, b: Polynomial) -> Polynomial:
    out: Polynomial = {}
    for k, x in a.items():
        for j, y in b.items():
            power = tuple(map(int.__add__, k, j))
            out[power] = out.get(power, Fraction(0)) + x * y
    return out


def one_update(n: int, m: int) -> list[dict[tuple[int, int], Fraction]]:
    """Return E e'^4, E e'^2 v' and E v'^2 as exact polynomials in e and r = sqrt(v), image by image."""
    s = n + m

    def power(*where: int) -> tuple[int, ...]:
        return tuple(where.count(k) for k in range(s + 2))  # of e, r, then the s standard normal variables

    one = Fraction(1)
    images = [{power(0): one, power(1, 2 + k): one} if k < n else {power(2 + k): one} for k in range(s)]
    total: Polynomial = {}
    squares: Polynomial = {}
    for x in images:
        total, squares = plus(total, x, one), plus(squares, times(x, x), one)
    square = times(total, total)
    variance = plus(squares, square, Fraction(-1, s))
    rows = []
    for a, b, scale in (
        (square, square, Fraction(1, s**4)),
        (square, variance, Fraction(1, s**2 * (s - 1))),
        (variance, variance, Fraction(1, (s - 1) ** 2)),
    ):
        mean: dict[tuple[int, int], Fraction] = {}
        for (e, r, *normal), value in times(a, b).items():
            moment = prod(0 if k % 2 else prod(range(1, k, 2)) for k in normal)
            mean[e, r] = mean.get((e, r), Fraction(0)) + scale * value * moment
        rows.append(mean)
    return rows


@pytest.mark.parametrize("n", [1, 2, 4])
def test_fourth_moments_with_one_user_image_are_infinite(n: int) -> None:
    # The matrix B and the middle constant of the proof.
    s, rows = n + 1, one_update(n, 1)
    matrix = [[row.get(k, Fraction(0)) for k in ((4, 0), (2, 2), (0, 4))] for row in rows]
    assert matrix == [
        [Fraction(n**4, s**4), Fraction(6 * n**3, s**4), Fraction(3 * n**2, s**4)],
        [Fraction(n**2, s**3), Fraction(n**3 + 5 * n, s**3), Fraction(n**2 + 2, s**3)],
        [Fraction(1, s**2), Fraction(2 * n**2 + 4, n * s**2), Fraction(n**3 + 2 * n**2 + 2 * n - 2, n * s**2)],
    ]
    lower = [row.get((2, 0), 0) + 2 * row.get((0, 2), 0) + row.get((0, 0), 0) for row in rows]
    assert lower[1] == Fraction(n**2 - 4, s**3)
    assert lower[0] > 0 < lower[2]
    if n == 1:
        assert lower[0] + 6 * lower[1] + 3 * lower[2] > 0
        assert [row[1] / row[0] for row in matrix] == [6] * 3
        assert [row[2] / row[0] for row in matrix] == [3] * 3
    assert user_moments.fourth_moment(n, 1) == np.inf


def test_determinant_with_one_user_image() -> None:
    # Both sides are polynomials in n of degree 7 once multiplied out, so that 13 exact values prove the identity.
    for n in range(1, 14):
        rows = [
            [4 * n**3 + 6 * n**2 + 4 * n + 1, -6 * n**3, -3 * n**2],
            [-(n**2), 3 * n**2 - 2 * n + 1, -(n**2) - 2],
            [-n, -2 * n**2 - 4, 2 - n],
        ]
        (a, b, c), (d, e, f), (g, h, i) = rows
        determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        assert determinant == -((n + 1) ** 3) * (8 * n**4 + 6 * n**3 + 5 * n**2 + 11 * n + 6) < 0


@pytest.mark.parametrize(("n", "m"), [(0, 2), (1, 2), (3, 2), (2, 3)])
def test_fourth_moment_against_exact_polynomials(n: int, m: int) -> None:
    rows = one_update(n, m)
    high, low = ((4, 0), (2, 2), (0, 4)), ((2, 0), (0, 2), (0, 0))
    matrix, rest = (np.array([[float(row.get(k, 0)) for k in keys] for row in rows]) for keys in (high, low))
    limit = np.linalg.solve(np.eye(3) - matrix, rest @ np.array([*user_moments.limit_factors(n, m), 1.0]))
    assert user_moments.fourth_moment(n, m) == pytest.approx(limit[0], rel=1e-12)


def test_drift_far_from_the_users() -> None:
    # G_1 = 1e12 (n/s)^2 + (n + 1) / s^2 and 1e12 of it is the start: the drift is (1e6 / s)^2 + 1 / s.
    n, offset = 10**6, 10**6
    exact = Fraction(offset**2, (n + 1) ** 2) + Fraction(n + 1, (n + 1) ** 2)
    found = user_moments.moments([float(offset)], [[1.0]], [[1.0]], n, 1, [0, 1])
    assert found.drift[:, 0, 0] == pytest.approx([0.0, float(exact)], rel=1e-13)
    # Random counts: e_1 = (n/s) e_0 + noise, enumerated.
    law = stats.rv_discrete(values=([0, 1, 3], [0.2, 0.3, 0.5]))
    share = {0: 0.2, 1: 0.3, 3: 0.5}
    drift = sum(w * ((m / (4 + m)) ** 2 * 1e8 + 4 / (4 + m) ** 2 + m / (4 + m) ** 2) for m, w in share.items())
    assert user_moments.moments([1e4], [[1.0]], [[1.0]], 4, law, 1).drift[0, 0] == pytest.approx(drift, rel=1e-13)


def test_fixed_sigma_of_zero() -> None:
    zero, rare = np.zeros((1, 1)), stats.bernoulli(0.01)
    assert user_moments.fidelity_bound(zero, 5, rare) == np.inf  # from any other start the mean square grows
    assert user_moments.fidelity_bound(zero, 5, 2) == 0
    path = user_moments.moments([1.0], [[1.0]], zero, 5, rare, [10, 1000]).squared_error
    assert path[0] < path[1]


def test_at_the_critical_share_there_is_no_limit() -> None:
    for n in (8, 10, 12):  # where rounding leaves a determinant of exactly zero
        law = stats.bernoulli(user_moments.critical_user_share(n))
        assert user_moments.limit_factors(n, law) == (np.inf, np.inf)
        assert user_moments.spectral_radius(n, law) == pytest.approx(1, abs=1e-15)


def test_bad_input() -> None:
    for function in (user_moments.update_matrix, user_moments.limit_factors, user_moments.spectral_radius):
        with pytest.raises(ValueError, match="images must be an integer >= 0, got -1"):
            function(-1, 2)
        with pytest.raises(TypeError, match="user_images must be an integer >= 0 or a frozen discrete law"):
            function(3, 2.0)
    with pytest.raises(ValueError, match=r"got 0 with images = a law of mean 1\.5$"):
        user_moments.limit_factors(stats.binom(3, 0.5), 0)
    for n, m in ((5, 0), (0, 1), (0, 0)):
        with pytest.raises(ValueError, match="user_images must be positive in some update of at least two images"):
            user_moments.limit_factors(n, m)
    with pytest.raises(ValueError, match=r"user_cov must have shape \(d, d\), got \(1, 2, 2\)"):
        user_moments.fidelity_bound(np.eye(2)[None], 5, 2)
    with pytest.raises(ValueError, match="user_cov must be positive semidefinite"):
        user_moments.fidelity_bound(-np.eye(2), 5, 2)
    for args, error, message in (
        ((1.0, START, USER, 4, 2, 1), ValueError, "offset must have shape"),
        ((OFFSET, np.eye(3), USER, 4, 2, 1), ValueError, r"cov must have shape \(..., 2, 2\)"),
        ((OFFSET, START, np.eye(3), 4, 2, 1), ValueError, r"user_cov must have shape \(..., 2, 2\)"),
        ((OFFSET, START, USER, -4, 2, 1), ValueError, "images must be an integer >= 0, got -4"),
        ((OFFSET, START, USER, 4, "2", 1), TypeError, "user_images must be an integer >= 0"),
        ((OFFSET, START, USER, 4, 2, -1), ValueError, "t must hold integers >= 0, got -1"),
        ((OFFSET, START, USER, 4, 2, 0.5), TypeError, "t must hold integers >= 0"),
        ((OFFSET, START, USER, 4, 2, 10**6 + 1), ValueError, "t must hold integers <= 1000000, since every update is"),
    ):
        with pytest.raises(error, match=message):
            user_moments.moments(*args)
    with pytest.raises(ValueError, match="user_images must be an integer >= 1, got 0"):
        user_moments.fourth_moment(4, 0)
    with pytest.raises(ValueError, match=r"images \+ user_images must be an integer >= 2, got 1"):
        user_moments.fourth_moment(0, 1)
    with pytest.raises(TypeError, match="images must be an integer >= 0"):
        user_moments.fourth_moment(2.0, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="images must be an integer >= 2, got 1"):
        user_moments.critical_user_share(1)
    for bad in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match=r"user_images must lie in \(0, inf\)"):
            user_moments.limit_law(bad)
        with pytest.raises(ValueError, match=r"user_images must lie in \(0, inf\)"):
            user_moments.limit_mean_drift(bad, 2)
    with pytest.raises(ValueError, match="dim must be an integer >= 1, got 0"):
        user_moments.limit_mean_drift(2.0, 0)
