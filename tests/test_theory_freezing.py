"""Freezing texts against literal sums, brute force, enumeration of paths, simulation and the differential equation."""

from collections.abc import Callable
from itertools import pairwise, product
from math import comb

import mpmath  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import special, stats

from coevo import State, System, simulate
from coevo.theory import freezing, image
from coevo.wishart import contraction_constant

SIX = 6.1
Floats = NDArray[np.float64]
RATES: dict[str, Callable[[int, float], float]] = {
    "first step": lambda n, p: image.first_step_rate(n, p, 2),
    "mean": image.mean_rate,
    "typical": image.typical_rate,
}


@pytest.mark.parametrize("dim", [1, 2, 3, 6])
def test_the_factors_increase(dim: int) -> None:
    c = contraction_constant(np.arange(1, 40), dim)
    assert (np.diff(c) > 0).all()
    assert (c < 1).all()
    nu = np.arange(1, 500)
    exponent = 0.5 * (np.log(2 / nu) + special.digamma(nu / 2))
    assert (np.diff(exponent) > 0).all()
    assert (exponent < 0).all()


@pytest.mark.parametrize(("dof", "dim"), [(1, 5), (2, 7), (4, 3)])
def test_duality_by_singular_values(dof: int, dim: int) -> None:
    rng = np.random.default_rng(dof)
    roots = np.linalg.svd(rng.standard_normal((40_000, dof, dim)), compute_uv=False).sum(axis=1)
    for rows, columns in ((dim, dof), (dof, dim)):
        share = roots / (rows * np.sqrt(columns))
        error = share.std(ddof=1) / np.sqrt(share.size)
        assert abs(share.mean() - contraction_constant(columns, rows)) < SIX * error
    dual = np.sqrt(dof / dim) * contraction_constant(dim, dof)
    assert contraction_constant(dof, dim) == pytest.approx(dual, rel=1e-13)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("n", [3, 4, 7, 40])
def test_one_valley_by_brute_force(rate: str, n: int) -> None:
    bottom = freezing.worst_text(2, n, rate)
    x = np.linspace(0, n, 801)
    values = np.array([RATES[rate](n, t / n) for t in x])
    assert abs(x[values.argmin()] - bottom.expected_images) <= x[1]
    assert bottom.rate == pytest.approx(RATES[rate](n, bottom.expected_images / n), rel=1e-14)
    assert (values >= bottom.rate - 1e-14).all()
    assert bottom.expected_images > 2
    falls = np.diff(values) < 0
    assert (np.diff(falls.astype(int)) != 0).sum() == 1  # strictly down, then strictly up


@pytest.mark.parametrize("seed", range(20))
def test_levels_are_taken_at_most_twice_for_any_such_sequence(seed: int) -> None:
    """The count by Descartes' rule needs no Wishart matrix: any f with f(0) = f(1) = 1, a drop and an ascent."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 30))
    f = np.r_[1, 1, np.sort(rng.uniform(0, 1, n - 1))]
    p = np.linspace(0, 1, 4001)
    mean = stats.binom.pmf(np.arange(n + 1), n, p[:, None]) @ f
    signs = np.sign(np.diff(mean))
    assert (np.diff(signs[signs != 0]) != 0).sum() == 1
    # A negative binomial law with a fixed shape is of the same form.
    counts = np.arange(n + 1)
    weight = stats.nbinom.pmf(counts, 1.5, 1 - np.linspace(0.001, 0.99, 2000)[:, None])
    signs = np.sign(np.diff(1 - weight @ (1 - f)))
    assert (np.diff(signs[signs != 0]) != 0).sum() <= 1


def test_two_images() -> None:
    bottom = freezing.worst_text(1, 2)
    assert bottom.expected_images == 2
    assert bottom.rate == pytest.approx(np.sqrt(2 / np.pi), rel=1e-14)
    assert freezing.worst_text(1, 2, "typical").rate == pytest.approx(image.typical_rate(2, 1.0), rel=1e-14)
    lost_1, lost_2 = 1 - np.sqrt(2 / np.pi), 1 - np.sqrt(np.pi) / 2
    assert freezing.worst_text(5, 3, "mean").expected_images == pytest.approx(6 * lost_1 / (3 * lost_1 - lost_2))


def test_poisson_bottom_in_high_precision() -> None:
    with mpmath.workdps(30):
        f = [mpmath.mpf(1), mpmath.mpf(1)]
        f += [
            mpmath.sqrt(2 / mpmath.mpf(v)) * mpmath.gammaprod([(v + 1) / mpmath.mpf(2)], [v / mpmath.mpf(2)])
            for v in range(1, 60)
        ]

        def mean(sequence: list[mpmath.mpf], x: mpmath.mpf) -> mpmath.mpf:
            return sum(mpmath.exp(-x) * x**n / mpmath.factorial(n) * sequence[n] for n in range(len(sequence)))

        x = mpmath.findroot(lambda t: mean([b - a for a, b in pairwise(f)], t), 2.8)
        bottom = freezing.worst_text(1)
        assert abs(bottom.expected_images - x) < 1e-11
        assert abs(bottom.rate - mean(f, x)) < 1e-13
    assert freezing.worst_text(9, None, "mean") == bottom


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("x", [0.0, 1e-6, 0.7, 3.0, 40.0])
def test_poisson_rate_is_the_limit_and_its_error_is_bounded(rate: str, x: float) -> None:
    limit = freezing.poisson_rate(x, 2, rate)
    counts = np.arange(2, 400)
    c = contraction_constant(counts - 1, 2 if rate == "first step" else 1)
    if rate == "typical":
        c = 0.5 * (np.log(2 / (counts - 1)) + special.digamma((counts - 1) / 2))
    weight = stats.poisson.pmf(counts, x)
    literal = np.exp(weight @ c) if rate == "typical" else stats.poisson.cdf(1, x) + weight @ c
    assert limit == pytest.approx(literal, abs=1e-13)
    for n in (1, 2, 5, 50, 2000):
        if x <= n:
            gap = abs(RATES[rate](n, x / n) - limit)
            assert gap <= freezing.poisson_error_bound(n, x, 2, rate) + 1e-14
    # At x = 1e-6 the loss is a relative number: (1 - f(2)) x^2 / 2.
    if x == 1e-6 and rate == "mean":
        assert freezing._loss(None, x, 1, rate) == pytest.approx((1 - contraction_constant(1, 1)) * x**2 / 2, rel=1e-5)


def test_second_order_of_the_poisson_limit() -> None:
    x, n, h = 3.0, 4000, 1e-3
    limit = [freezing.poisson_rate(x + k * h, 2) for k in (-1, 0, 1)]
    curvature = (limit[0] - 2 * limit[1] + limit[2]) / h**2
    gap = image.first_step_rate(n, x / n, 2) - limit[1]
    assert gap == pytest.approx(-(x**2) * curvature / (2 * n), rel=2e-3)


@pytest.mark.parametrize("rate", RATES)
def test_partner_decides_which_text_is_slower(rate: str) -> None:
    n = 60
    worst = freezing.worst_text(2, n, rate).expected_images / n
    masses = np.geomspace(1e-3, 1, 18)
    of = {p: RATES[rate](n, p) for p in masses}
    for q in masses:
        slower = [p for p in masses if p < q and (q <= worst or p < freezing.partner(n, q, 2, rate))]
        assert slower == [p for p in masses if p < q and of[p] > of[q]]
    for q in (0.06, 0.3, 1.0):
        other = freezing.partner(n, q, 2, rate)
        assert other < worst
        assert freezing.partner(n, other, 2, rate) == pytest.approx(q, rel=1e-9)


def test_partner_at_the_ends() -> None:
    assert np.isnan(freezing.partner(60, 1e-6, 2))
    worst = freezing.worst_text(2, 60).expected_images / 60
    assert freezing.partner(60, worst, 2) == pytest.approx(worst, rel=1e-6)
    assert freezing.partner(2, 1.0, 2) == 1.0  # two images: the worst text has all the mass
    assert np.isnan(freezing.partner(2, 0.5, 2))
    kappa = np.sqrt(3 / (4 * (1 - contraction_constant(1, 2))))
    n = 10**6
    assert n * freezing.partner(n, 0.5, 2) * np.sqrt(n / 2) == pytest.approx(kappa, rel=2e-3)
    # How rare a text must be to be slower: inside the elementary bounds.
    x = 60 * freezing.partner(60, 1.0, 2)
    loss = 1 - image.first_step_rate(60, x / 60, 2)
    quotient = loss / (0.5 * (1 - contraction_constant(1, 2)) * x**2)
    assert 59 / 60 * (1 - x / 60) ** 58 <= quotient <= 1


def by_paths(m: int, p0: float, s_t: int, weight: Floats, outcome: str, steps: int = 400) -> float:
    """Sum over time of the weighted law of the chain, one text update after the other, in plain loops."""
    update = np.array(
        [[comb(m, k) * (j / m) ** k * (1 - j / m) ** (m - k) for k in range(m + 1)] for j in range(m + 1)]
    )
    row = np.array([comb(m, k) * p0**k * (1 - p0) ** (m - k) for k in range(m + 1)])
    end, total = (0 if outcome == "lost" else m), 0.0
    for _ in range(s_t - 1):
        row = row @ update
    for _ in range(steps):
        total += row[end]
        row = np.where((np.arange(m + 1) > 0) & (np.arange(m + 1) < m), row * weight, 0.0)
        for _ in range(s_t):
            row = row @ update
    return total / (1 - p0 if outcome == "lost" else p0)


@pytest.mark.parametrize("outcome", ["lost", "won"])
@pytest.mark.parametrize(("s_t", "s_i"), [(1, 1), (2, 3), (1, 0)])
def test_frozen_diversity_by_paths(outcome: str, s_t: int, s_i: int) -> None:
    m, n, p0 = 6, 9, 0.37
    masses = np.arange(m + 1) / m
    for dim in (1, 3):
        low, high = freezing.frozen_diversity(m, n, p0, dim, s_t, s_i, outcome)
        slow = by_paths(m, p0, s_t, np.array([image.mean_rate(n, p) for p in masses]) ** s_i, outcome)
        fast = by_paths(m, p0, s_t, np.array([image.first_step_rate(n, p, dim) for p in masses]) ** s_i, outcome)
        assert high == pytest.approx(slow, rel=1e-12)
        assert low == pytest.approx(slow if dim == 1 else max(fast, 2 / 3 * slow), rel=1e-12)
    if s_i == 0:
        assert freezing.frozen_diversity(m, n, p0, 2, s_t, 0, outcome).lower == pytest.approx(1, rel=1e-12)


def test_two_by_two_by_enumeration() -> None:
    """M = N = 2 on a line: the text stays at 1/2 for k steps, each with the factor 1 - (1 - c_1(1)) / 4."""
    g = 1 - (1 - np.sqrt(2 / np.pi)) / 4
    lost = sum(0.25 * (0.5 * g) ** k for k in range(200)) / 0.5
    assert freezing.frozen_diversity(2, 2, 0.5).lower == pytest.approx(lost, rel=1e-13)
    assert freezing.expected_refits(2, 2, 0.5) == pytest.approx(0.25, rel=1e-13)  # one stay on average, P(n = 2) = 1/4
    log = 0.25 * 0.5 * (np.log(2) + special.digamma(0.5))
    assert freezing.frozen_log_diversity(2, 2, 0.5) == pytest.approx(log, rel=1e-13)


def test_one_image_decides_at_once() -> None:
    for outcome in ("lost", "won"):
        for dim in (1, 2, 3):
            both = freezing.frozen_diversity(1, 50, 0.3, dim, outcome=outcome)
            np.testing.assert_allclose(both[1], 1, rtol=1e-12)
        assert freezing.expected_refits(1, 50, 0.3, outcome=outcome) == 0
        assert freezing.frozen_log_diversity(1, 50, 0.3, outcome=outcome) == 0
    assert freezing.frozen_diversity(5, 1, 0.3).lower == pytest.approx(1, rel=1e-12)  # one image: no refit ever
    assert freezing.expected_refits(5, 1, 0.3) == 0


def walk(m: int, n: int, p0: float, runs: int, seed: int) -> dict[str, list[tuple[float, float, float]]]:
    """Literal runs, image by image, in the plane: (share, ln of the share along the first axis, refits) at the end."""
    rng = np.random.default_rng(seed)
    ends: dict[str, list[tuple[float, float, float]]] = {"lost": [], "won": []}
    for _ in range(runs):
        root, refits, count = np.eye(2), 0, rng.binomial(m, p0)
        while 0 < count < m:
            k = int((rng.random(n) < count / m).sum())
            if k >= 2:
                cov = np.cov(root @ rng.standard_normal((2, k)))
                eigenvalues, vectors = np.linalg.eigh(cov)
                root, refits = vectors * np.sqrt(np.maximum(eigenvalues, 0)), refits + 1
            count = rng.binomial(m, count / m)
        cov = root @ root.T
        share = np.sqrt(np.maximum(np.linalg.eigvalsh(cov), 0)).sum() / 2
        ends["lost" if count == 0 else "won"].append((share, 0.5 * np.log(cov[0, 0]), refits))
    return ends


def test_against_literal_runs_in_the_plane() -> None:
    m, n, p0 = 5, 6, 0.4
    for outcome, values in walk(m, n, p0, 5000, 1).items():
        sample = np.array(values)
        mean, error = sample.mean(axis=0), sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
        exact = (
            freezing.frozen_diversity(m, n, p0, 2, outcome=outcome).lower,
            freezing.frozen_log_diversity(m, n, p0, outcome=outcome),
            freezing.expected_refits(m, n, p0, outcome=outcome),
        )
        assert (np.abs(mean - exact) < SIX * error).all()
        # Negative control: the frozen rate to the number of refits is another number.
        assert abs(mean[0] - freezing.frozen_diversity(m, 3 * n, p0, 2, outcome=outcome).lower) > SIX * error[0]


def test_against_algorithm_one() -> None:
    start = State.create([0.3, 0.7], [[-1.0], [1.0]], [[1e-12]])
    path = simulate(System(start, 10, 12), 150, 2000, rng=3, every=150)
    lost = path.p[:, -1, 0] < 1e-9
    share = np.exp(path.log_image_diversity[lost, -1, 0] - path.log_image_diversity[lost, 0, 0])
    error = share.std(ddof=1) / np.sqrt(share.size)
    assert abs(share.mean() - freezing.frozen_diversity(10, 12, 0.3).lower) < SIX * error
    assert abs(lost.mean() - 0.7) < SIX * np.sqrt(0.21 / 2000)


@pytest.mark.parametrize("theta", [0.0, 0.3, 1.0, 6.0])
def test_diffusion_solves_its_equation(theta: float) -> None:
    beta = freezing.frozen_diversity_exponent(theta)
    assert beta * (1 + beta) == pytest.approx(theta / 2, abs=1e-15)
    h = 1e-4
    for p in (0.2, 0.5, 0.8):
        u = [q * freezing.winner_diversity_diffusion(theta, q) for q in (p - h, p, p + h)]
        assert p**2 * (1 - p) * (u[0] - 2 * u[1] + u[2]) / h**2 == pytest.approx(theta / 2 * u[1], abs=1e-6)
    assert freezing.winner_diversity_diffusion(theta, 1.0) == pytest.approx(1, rel=1e-14)


def test_diffusion_against_the_chain() -> None:
    for m, n, s_i in ((300, 300, 1), (300, 600, 2)):
        exact = freezing.frozen_diversity(m, n, 0.3, image_updates=s_i, outcome="won").lower
        assert exact == pytest.approx(freezing.winner_diversity_diffusion(1.0, 0.3), rel=0.015)
    small, large = (freezing.frozen_diversity(m, m, 0.3).lower for m in (150, 300))
    assert np.log2(small / large) == pytest.approx(freezing.frozen_diversity_exponent(1.0), abs=0.015)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: freezing.poisson_rate(-1.0, 2), "expected_images"),
        (lambda: freezing.poisson_rate(1.0, 0), "dim"),
        (lambda: freezing.poisson_rate(1.0, 2, "median"), "rate"),
        (lambda: freezing.poisson_error_bound(0, 0.0, 2), "image_samples"),
        (lambda: freezing.poisson_error_bound(5, 6.0, 2), "expected_images"),
        (lambda: freezing.worst_text(2, 1), "image_samples"),
        (lambda: freezing.worst_text(0), "dim"),
        (lambda: freezing.partner(1, 0.5, 2), "image_samples"),
        (lambda: freezing.partner(10, 0.0, 2), "p must"),
        (lambda: freezing.frozen_diversity(0, 5, 0.5), "text_samples"),
        (lambda: freezing.frozen_diversity(5, 0, 0.5), "image_samples"),
        (lambda: freezing.frozen_diversity(5, 5, 0.0), "p0"),
        (lambda: freezing.frozen_diversity(5, 5, 1.0), "p0"),
        (lambda: freezing.frozen_diversity(5, 5, 0.5, 0), "dim"),
        (lambda: freezing.frozen_diversity(5, 5, 0.5, 1, 0), "text_updates"),
        (lambda: freezing.frozen_diversity(5, 5, 0.5, 1, 1, -1), "image_updates"),
        (lambda: freezing.frozen_diversity(5, 5, 0.5, outcome="draw"), "outcome"),
        (lambda: freezing.frozen_log_diversity(5, 5, 2.0), "p0"),
        (lambda: freezing.expected_refits(5, 5, -0.1), "p0"),
        (lambda: freezing.frozen_diversity_exponent(-1.0), "theta"),
        (lambda: freezing.winner_diversity_diffusion(1.0, 0.0), "p0"),
    ],
)
def test_bad_input(call: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_wrong_types() -> None:
    with pytest.raises(TypeError, match="dim"):
        freezing.worst_text(2.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="rate"):
        freezing.partner(5, 0.5, 2, 1)  # type: ignore[arg-type]


def test_all_paths_of_a_tiny_system() -> None:
    """M = 2, N = 2, S_T = 2, every path of counts up to twelve text updates, by enumeration."""
    g = 1 - (1 - np.sqrt(2 / np.pi)) / 4
    total = 0.0
    for path in product((0, 1), repeat=6):  # 1: undecided after the macro step
        inner = path.index(0) if 0 in path else 6
        if 0 in path and path == (1,) * inner + (0,) * (6 - inner):
            # two updates: P(stay at 1/2) = 1/4, P(lost) = 1/4 + 1/2 * 1/4
            total += 0.25**inner * g**inner * 0.375
    tail = (0.25 * g) ** 6 * 0.375 / (1 - 0.25 * g)
    assert freezing.frozen_diversity(2, 2, 0.5, text_updates=2).lower == pytest.approx((total + tail) / 0.5, rel=1e-12)
