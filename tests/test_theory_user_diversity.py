"""Theorem 6.2 and the floors around it against literally pooled images, exact integrals, and the published digits."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from coevo.theory import user_diversity as user
from coevo.theory.image import late_time_amplitude
from coevo.theory.user_moments import limit_factors, moments
from coevo.wishart import contraction_constant

Array = NDArray[np.float64]
SIX = 6.1
ROUND, FLAT = np.eye(2), np.diag([1.0, 0.2])


def root(cov: Array) -> Array:
    """Return the symmetric root of covariances (..., d, d)."""
    values, vectors = np.linalg.eigh(cov)
    size = np.sqrt(np.maximum(values, 0.0))
    return np.asarray((vectors * size[..., None, :]) @ np.swapaxes(vectors, -1, -2))


def pooled(n: NDArray[np.int64], m: NDArray[np.int64], start: Array, cov: Array, seed: int) -> Array:
    """Return Sigma_t, shape (runs, d, d), for counts of shape (t, runs): every image is drawn, and np.cov's formula."""
    rng = np.random.default_rng(seed)
    runs, dim = n.shape[1], len(cov)
    mean, sigma, user_root = np.zeros((runs, dim)), np.broadcast_to(start, (runs, dim, dim)).copy(), root(cov)
    for own, added in zip(n, m, strict=True):
        model_root = root(sigma)
        for a, b in set(zip(own.tolist(), added.tolist(), strict=True)):
            where = np.flatnonzero((own == a) & (added == b))
            if a + b < 2:
                continue
            z = rng.standard_normal((where.size, a, dim))
            images = np.concatenate(
                [
                    mean[where, None] + z @ model_root[where],
                    rng.standard_normal((where.size, b, dim)) @ user_root,
                ],
                axis=1,
            )
            mean[where] = images.mean(axis=1)
            residual = images - mean[where, None]
            sigma[where] = np.swapaxes(residual, 1, 2) @ residual / (a + b - 1)
    return sigma


def fixed(n: int, m: int, t: int, runs: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.full((t, runs), n), np.full((t, runs), m)


def mean_and_error(sample: Array) -> tuple[float, float]:
    return float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(len(sample)))


def diversity(sigma: Array) -> Array:
    return np.sqrt(np.maximum(np.linalg.eigvalsh(sigma), 0.0)).sum(axis=-1)


@pytest.mark.parametrize(
    ("n", "m", "cov", "start"),
    [
        (6, 3, FLAT, 9 * ROUND),
        (6, 3, FLAT, 0 * ROUND),
        (6, 1, ROUND, 0 * ROUND),
        (2, 2, np.array([[1.0, 0.4], [0.4, 0.3]]), ROUND),
        (1, 1, ROUND, ROUND),
        (0, 3, FLAT, ROUND),
        (5, 2, np.eye(1), np.eye(1)),
        (4, 3, np.diag([1.0, 0.5, 0.0]), 0 * np.eye(3)),
    ],
)
def test_floors_and_ceiling_against_pooled_images(n: int, m: int, cov: Array, start: Array) -> None:
    t, runs = 25, 6000
    sigma = pooled(*fixed(n, m, t, runs), start, cov, seed=10 * n + m)
    mean, error = mean_and_error(diversity(sigma))
    for floor in (
        user.diversity_floor(n, m, cov),
        user.pythagorean_floor(n, m, cov, t, float(diversity(start))),
        user.direction_floor(n, m, cov, t),
        user.best_floor(n, m, cov, t),
    ):
        assert mean > floor - SIX * error
    assert mean < user.diversity_ceiling(n, m, cov, t, start) + SIX * error
    # An equality, for every entry.
    expected = moments(np.zeros(len(cov)), start, cov, n, m, t).cov
    entry_error = sigma.std(axis=0, ddof=1) / np.sqrt(runs)
    assert (np.abs(sigma.mean(axis=0) - expected) <= SIX * entry_error + 1e-12).all()


def test_one_update_from_a_point_is_where_the_floors_bind() -> None:
    runs, n, m = 100_000, 6, 2
    mean, error = mean_and_error(diversity(pooled(*fixed(n, m, 1, runs), np.zeros((1, 1)), np.eye(1), seed=1)))
    assert abs(mean - user.direction_floor(n, m, np.eye(1), 1)) < SIX * error
    assert user.diversity_floor(n, m, np.eye(1)) < user.pythagorean_floor(n, m, np.eye(1), 1) < mean
    # m = 2 on the line: sqrt((z_1^2 + (n/s) z_2^2) / (s-1)), an ellipse.
    exact = np.sqrt(2 / np.pi) * special.ellipe(1 - n / (n + m)) / np.sqrt(n + m - 1)
    assert user.direction_floor(n, m, np.eye(1), 1) == pytest.approx(exact, rel=1e-13)
    # Without a model image the users are refitted, for ever: the round floor is an equality.
    assert user.pythagorean_floor(0, 5, ROUND) == pytest.approx(2 * contraction_constant(4, 2), rel=1e-13)
    assert user.diversity_floor(0, 5, ROUND) == pytest.approx(2 * contraction_constant(4, 2), rel=1e-13)


def test_published_digits() -> None:
    digits = {
        (20, 5): (FLAT, 0.5348, 1.0758, 1.1201, 1.1560, 1.1209, 1.5179),
        (50, 2): (ROUND, 0.1755, 0.6692, 0.9934, 1.0618, 1.4012, 2.3056),
    }
    for (n, m), (cov, *expected) in digits.items():
        values = [
            user.diversity_floor(n, m, cov),
            user.concave_floor(n, m, cov),
            user.rank_one_floor(n, m, cov),
            user.pythagorean_floor(n, m, cov),
            user.direction_floor(n, m, cov),
            user.diversity_ceiling(n, m, cov),
        ]
        np.testing.assert_allclose(values, expected, atol=6e-5)
        assert user.best_floor(n, m, cov) == max(values[3:5])


@pytest.mark.parametrize("n", [1, 2, 7, 100])
@pytest.mark.parametrize("m", [1, 2, 9])
@pytest.mark.parametrize("cov", [np.eye(1), ROUND, FLAT, np.diag([1.0, 0.0]), np.diag([1.0, 0.3, 0.3])])
def test_order_of_the_floors(n: int, m: int, cov: Array) -> None:
    top, t = float(diversity(cov)), np.array([1, 2, 5, 30])
    simple = user.diversity_floor(n, m, cov)
    new = user.pythagorean_floor(n, m, cov)
    assert (user.pythagorean_floor(n, m, cov, t) >= simple).all()
    assert max(simple, user.rank_one_floor(n, m, cov)) <= new < top
    if m >= 2:
        assert user.concave_floor(n, m, cov) <= new
    assert 0 < user.direction_floor(n, m, cov) < late_time_amplitude(cov)
    if len(cov) == 1:
        assert user.direction_floor(n, m, cov) > new
    assert (np.diff(user.best_floor(n, m, cov, t)) > 0).all()
    assert user.best_floor(n, m, cov) < user.diversity_ceiling(n, m, cov)
    # Units: ten times the user images, ten times the floor.
    assert user.best_floor(n, m, 100 * cov) == pytest.approx(10 * user.best_floor(n, m, cov), rel=1e-12)


def test_pythagorean_floor_has_a_closed_form() -> None:
    n, m, start = 8, 3, 0.7
    s = n + m
    c = contraction_constant(np.array([1, m - 1, n - 1]), 2)
    a = ((n - 1) * c[2] ** 2 + m / s * c[0] ** 2) / (s - 1)
    b = 4 * ((m - 1) * c[1] ** 2 + n / s * c[0] ** 2) / (s - 1)
    t = np.array([[0, 1], [5, 40]])
    expected = np.sqrt(a**t * start**2 + b * (1 - a**t) / (1 - a))
    np.testing.assert_allclose(user.pythagorean_floor(n, m, ROUND, t, start), expected, rtol=1e-12)
    assert user.pythagorean_floor(n, m, ROUND) == pytest.approx(np.sqrt(b / (1 - a)), rel=1e-12)
    assert isinstance(user.pythagorean_floor(n, m, ROUND, 3), float)
    assert user.direction_floor(n, m, ROUND, [0, 2]).shape == (2,)


def test_direction_floor_is_a_fixed_point_of_simulated_chi_squares() -> None:
    rng = np.random.default_rng(2)
    n, m, runs = rng.binomial(12, 0.3, 400_000), rng.poisson(2, 400_000), 400_000
    x = user.direction_floor(stats.binom(12, 0.3), stats.poisson(2), np.eye(1))
    s = np.maximum(n + m, 2)
    own = np.where(n >= 2, rng.chisquare(np.maximum(n - 1, 1)), 0) * x**2
    users = np.where(m >= 2, rng.chisquare(np.maximum(m - 1, 1)), 0)
    between = np.where((n >= 1) & (m >= 1), (m * x**2 + n) / s * rng.chisquare(1, runs), 0)
    after = np.where(n + m >= 2, np.sqrt((own + users + between) / (s - 1)), x)
    mean, error = mean_and_error(after)
    assert abs(mean - x) < SIX * error < 0.01


def test_limits_for_many_images_of_the_model() -> None:
    for m in (1, 2, 5, 30):
        assert user.direction_floor(10**6, m, np.eye(1)) == pytest.approx(np.sqrt(m / (m + 0.5)), abs=1e-6)
        level = 2 * np.sqrt(2 * m / (2 * m - 1))
        assert user.diversity_ceiling(10**7, m, ROUND) == pytest.approx(level, abs=1e-6)
        c = contraction_constant(np.array([max(m - 1, 1), 1]), 2)
        limit = np.sqrt(((m - 1) * c[0] ** 2 + c[1] ** 2) / (m + 0.75))
        assert user.pythagorean_floor(10**7, m, ROUND) == pytest.approx(2 * limit, abs=1e-6)
        assert user.diversity_floor(10**7, m, ROUND) < 0.005
    for n in (1, 3, 50):
        assert user.diversity_ceiling(n, 1, ROUND) == pytest.approx(2 * np.sqrt(2), rel=1e-12)
    assert user.diversity_ceiling(0, 3, ROUND) == 2


def test_no_user_image_no_floor() -> None:
    for n, m in ((20, 0), (0, 1), (1, 0), (stats.binom(9, 0.3), 0)):
        assert user.best_floor(n, m, ROUND) == user.diversity_floor(n, m, ROUND) == 0
        # The mean covariance stays where it starts, so that no finite ceiling holds for every start.
        assert user.diversity_ceiling(n, m, ROUND) == np.inf
        assert user.diversity_ceiling(n, m, ROUND, 9, FLAT) == pytest.approx(float(diversity(FLAT)), rel=1e-12)
        with pytest.raises(ValueError, match="user_images must be positive in some update"):
            limit_factors(n, m)
    assert user.diversity_floor(20, 1, ROUND) == 0 < user.best_floor(20, 1, ROUND)
    # The expansions of the means in 1/n leave nothing to a model that never refits.
    assert user.best_floor(stats.randint(0, 2), 0, ROUND) == 0


@pytest.mark.parametrize("q", [0.5, 1e-6, 1e-12, 1e-15])
def test_limits_do_not_depend_on_how_often_the_model_is_refitted(q: float) -> None:
    # One image of the model, so that it is refitted only when both user images come.
    law = stats.rv_discrete(values=([0, 2], [1 - q, q]))
    for cov in (np.eye(1), FLAT):
        for floor in (user.pythagorean_floor, user.direction_floor, user.best_floor):
            assert floor(1, law, cov) == pytest.approx(floor(1, 2, cov), rel=1e-13)
    assert user.diversity_floor(1, law, ROUND) == pytest.approx(q * user.diversity_floor(1, 2, ROUND), rel=1e-9)


def test_updates_without_refit_keep_the_model() -> None:
    law, start, t = stats.rv_discrete(values=([0, 3], [0.7, 0.3])), 0.4, [0, 1, 2]
    after = 2 * contraction_constant(2, 2)  # three user images alone
    expected = [start, 0.7 * start + 0.3 * after, 0.7 * (0.7 * start + 0.3 * after) + 0.3 * after]
    np.testing.assert_allclose(user.pythagorean_floor(0, law, ROUND, t, start), expected, rtol=1e-14)
    ratio = contraction_constant(2, 1)
    np.testing.assert_allclose(user.direction_floor(0, law, np.eye(1), t), [0, 0.3 * ratio, 0.51 * ratio], rtol=1e-13)


def test_flat_users_are_better_seen_from_one_direction() -> None:
    # Two user images alone and a flat Sigma*: the second term of the maximum, which is E tr A^{1/2} exactly.
    for dim in (2, 3):
        cov = np.diag([1.0, *[1e-4] * (dim - 1)])
        amplitude = late_time_amplitude(cov)
        exact = np.sqrt(2 / np.pi) * amplitude
        assert user.pythagorean_floor(0, 2, cov) == pytest.approx(exact, rel=1e-13)
        assert contraction_constant(1, dim) * diversity(cov) < 0.98 * exact


@pytest.mark.parametrize("m", [1, 3, 20])
def test_floors_keep_their_digits_at_any_number_of_images(m: int) -> None:
    for dim in (1, 2, 3):
        cov = np.eye(dim)
        user_part = contraction_constant(m - 1, dim) if m > 1 else 0.0
        amplitude = late_time_amplitude(cov)
        square = (m - 1) * (dim * user_part) ** 2 + 2 / np.pi * amplitude**2
        flat = np.sqrt(square / (m + (dim + 1) / 4))  # m/s vanishes, and (n-1) (1 - c_d^2) tends to (d+1)/4
        rank = ((m - 1) * user_part * dim + np.sqrt(2 * dim / np.pi)) / (m + (dim + 1) / 8)
        for n, tolerance in ((10**10, 1e-8), (10**15, 1e-12)):
            assert user.pythagorean_floor(n, m, cov) == pytest.approx(flat, rel=tolerance)
            assert user.rank_one_floor(n, m, cov) == pytest.approx(rank, rel=tolerance)
            assert user.direction_floor(n, m, cov) == pytest.approx(np.sqrt(m / (m + 0.5)) * amplitude, rel=tolerance)
            if m > 1:
                concave = (m - 1) * user_part * dim / (m - 0.5 + (dim + 1) / 8)
                assert user.concave_floor(n, m, cov) == pytest.approx(concave, rel=tolerance)
        if dim == 2:  # the two branches of c_d meet
            meet = [user._losses(np.array([k]), 2)[0] for k in (2 * 10**6 - 1, 2 * 10**6)]
            assert meet[0] == pytest.approx(meet[1], abs=1e-9)
            assert user._constants(2 * 10**6, 2) == pytest.approx(contraction_constant(2 * 10**6, 2), rel=1e-15)
    assert user.pythagorean_floor(10**15, 3, np.eye(1)) == pytest.approx(0.79416, abs=6e-6)


def test_expansion_of_the_contraction_constant() -> None:
    for dim in (1, 2, 3, 4):
        for nu in (200, 1000):
            assert abs(nu * (1 - contraction_constant(nu, dim)) - user._excess(nu, dim)) < dim**3 / nu**2


def test_users_that_do_not_vary() -> None:
    zero, rare = np.zeros((1, 1)), stats.bernoulli(0.01)
    assert user.diversity_ceiling(5, rare, zero) == np.inf  # from Sigma_0 > 0 the mean covariance grows
    assert user.diversity_ceiling(5, 2, zero) == 0
    assert user.best_floor(5, rare, zero) == user.best_floor(5, 2, zero) == 0
    grown = [user.diversity_ceiling(5, rare, zero, t, np.eye(1), [1.0]) for t in (10, 1000)]
    assert grown[0] < grown[1]
    assert user.diversity_ceiling(5, rare, np.eye(1), 10**5) == np.inf  # past the largest float


def test_laws_of_many_values() -> None:
    wide = stats.binom(999_999, 0.5)
    for floor in (user.diversity_floor, user.pythagorean_floor):
        assert floor(wide, 2, ROUND) == pytest.approx(floor(500_000, 2, ROUND), rel=1e-5)


def test_laws_of_one_point_are_fixed_counts() -> None:
    n, m = stats.randint(6, 7), stats.randint(3, 4)
    for function in (user.diversity_floor, user.pythagorean_floor, user.direction_floor, user.diversity_ceiling):
        assert function(n, m, FLAT) == pytest.approx(function(6, 3, FLAT), rel=1e-12)


def test_random_counts_against_pooled_images() -> None:
    rng, t, runs = np.random.default_rng(3), 40, 4000
    n, m = rng.binomial(12, 0.3, (t, runs)), rng.poisson(2, (t, runs))
    laws = stats.binom(12, 0.3), stats.poisson(2)
    sigma = pooled(n, m, FLAT, FLAT, seed=4)
    mean, error = mean_and_error(diversity(sigma))
    ceiling = user.diversity_ceiling(*laws, FLAT, [t, t + 200])
    assert user.best_floor(*laws, FLAT, t) - SIX * error < mean < ceiling[0] + SIX * error
    assert ceiling[1] == pytest.approx(user.diversity_ceiling(*laws, FLAT), rel=1e-9)
    trace, trace_error = mean_and_error(np.trace(sigma, axis1=1, axis2=2))
    assert abs(trace - moments(np.zeros(2), FLAT, FLAT, *laws, t).total_variance) < SIX * trace_error
    by_hand = sum(
        stats.poisson(2).pmf(k) * stats.binom(12, 0.3).pmf(a) * np.sqrt((k - 1) / (a + k - 1))
        * contraction_constant(k - 1, 2)
        for k in range(2, 40) for a in range(13)
    )  # fmt: skip
    assert user.diversity_floor(*laws, FLAT) == pytest.approx(by_hand * diversity(FLAT), rel=1e-12)


def test_ceiling_from_anywhere() -> None:
    offset, t, runs, n, m = np.array([1.5, -0.5]), 3, 40_000, 6, 2
    # Moving the users instead of the model: the literal loop starts the model at zero.
    rng = np.random.default_rng(6)
    mean, sigma = np.broadcast_to(offset, (runs, 2)).copy(), np.broadcast_to(ROUND, (runs, 2, 2)).copy()
    for _ in range(t):
        own = mean[:, None] + rng.standard_normal((runs, n, 2)) @ root(sigma)
        images = np.concatenate([own, rng.standard_normal((runs, m, 2)) @ root(FLAT)], axis=1)
        mean = images.mean(axis=1)
        residual = images - mean[:, None]
        sigma = np.swapaxes(residual, 1, 2) @ residual / (n + m - 1)
    expected = moments(offset, ROUND, FLAT, n, m, t).cov
    error = sigma.std(axis=0, ddof=1) / np.sqrt(runs)
    assert (np.abs(sigma.mean(axis=0) - expected) < SIX * error).all()
    assert user.diversity_ceiling(n, m, FLAT, t, ROUND, offset) == pytest.approx(float(diversity(expected)))
    late = user.diversity_ceiling(n, m, FLAT, 400, ROUND, offset)
    assert late == pytest.approx(user.diversity_ceiling(n, m, FLAT), rel=1e-12)


@pytest.mark.parametrize("batch", [2, 20])
def test_the_conditional_mean_of_random_m_is_not_a_floor(batch: int) -> None:
    # m = batch with probability q, else 0: the mean given m >= 2 is the batch, whatever q.
    n, q, t, runs = 5, 0.01, 250, 1500
    law = stats.rv_discrete(values=([0, batch], [1 - q, q]))
    rng = np.random.default_rng(batch)
    m = np.where(rng.random((t, runs)) < q, batch, 0)
    mean, error = mean_and_error(diversity(pooled(np.full((t, runs), n), m, 0 * ROUND, ROUND, seed=5)))
    remark = user.diversity_floor(n, batch, ROUND)
    assert mean + SIX * error < remark
    assert user.diversity_floor(n, law, ROUND) == pytest.approx(q * remark, rel=1e-9)
    assert mean > user.best_floor(n, law, ROUND, t) - SIX * error
    # So rare that the second moments grow without limit.
    assert user.diversity_ceiling(n, law, ROUND) == np.inf


def test_conditional_mean_is_too_large_even_given_two() -> None:
    # The factor of (6.11) is increasing and concave in m, so Jensen's inequality adds to the missing P(m >= 2).
    for dim in (1, 2, 3):
        for n in (1, 20):
            m = np.arange(2, 40)
            factor = np.array([user.diversity_floor(n, int(k), np.eye(dim)) for k in m])
            assert (np.diff(factor) > 0).all()
            assert (np.diff(factor, 2) < 0).all()


BAD_COV = [
    ([1.0, 2.0], ValueError, "user_cov must have shape"),
    (np.ones((1, 2, 2)), ValueError, r"user_cov must have shape \(d, d\), got \(1, 2, 2\)"),
    (-np.eye(2), ValueError, "user_cov must be positive semidefinite"),
    ([["a"]], TypeError, "user_cov must be an array of real numbers"),
]
ALL: list[Callable[..., Any]] = [
    user.diversity_floor,
    user.concave_floor,
    user.rank_one_floor,
    user.pythagorean_floor,
    user.direction_floor,
    user.best_floor,
    user.diversity_ceiling,
    lambda n, m, cov: user.diversity_ceiling(n, m, cov, 1, np.eye(2)),
]
WITH_LAWS = [ALL[0], *ALL[3:]]


@pytest.mark.parametrize(("cov", "error", "message"), BAD_COV)
@pytest.mark.parametrize("function", ALL)
def test_bad_covariances(function: Callable[..., Any], cov: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function(5, 3, cov)


def test_bad_counts() -> None:
    for function in WITH_LAWS:
        for bad in (-1, stats.norm(), stats.poisson(3, loc=-2)):
            with pytest.raises((ValueError, TypeError), match="images must"):
                function(bad, 3, ROUND)
            with pytest.raises((ValueError, TypeError), match="user_images must"):
                function(3, bad, ROUND)
        with pytest.raises(TypeError, match="user_images must be an integer >= 0 or a frozen discrete law"):
            function(3, 2.0, ROUND)
    for function, least in ((user.concave_floor, 2), (user.rank_one_floor, 1)):
        with pytest.raises(ValueError, match="images must be an integer >= 1, got 0"):
            function(0, 3, ROUND)
        with pytest.raises(ValueError, match=f"user_images must be an integer >= {least}, got {least - 1}"):
            function(3, least - 1, ROUND)
        with pytest.raises(TypeError, match="images must be an integer >= 1"):
            function(stats.binom(5, 0.5), 3, ROUND)


def test_bad_times_and_starts() -> None:
    for function in (user.pythagorean_floor, user.direction_floor, user.best_floor, user.diversity_ceiling):
        with pytest.raises(ValueError, match="t must hold integers >= 0, got -1"):
            function(3, 3, ROUND, -1)
        with pytest.raises(TypeError, match="t must hold integers >= 0"):
            function(3, 3, ROUND, 0.5)
        with pytest.raises(ValueError, match="t must hold integers <= 1000000, since every update is computed, got"):
            function(3, 3, ROUND, [1, 10**6 + 1])
        assert function(3, 3, ROUND, []).size == 0
    with pytest.raises(ValueError, match=r"initial_diversity must lie in \[0, inf\), got -1"):
        user.pythagorean_floor(3, 3, ROUND, 1, -1.0)
    with pytest.raises(ValueError, match=r"cov must have shape \(\.\.\., 2, 2\), got \(3, 3\)"):
        user.diversity_ceiling(3, 3, ROUND, 1, np.eye(3))
    with pytest.raises(ValueError, match=r"offset must have shape \(2,\), got \(3,\)"):
        user.diversity_ceiling(3, 3, ROUND, 1, ROUND, [0.0, 0.0, 0.0])
