"""The stationary corpus under injection: against literal simulation, quadrature, enumeration and `corpus`."""

from itertools import product
from math import factorial

import numpy as np
import pytest
from scipy import integrate, stats

from coevo.theory import corpus
from coevo.theory import immigration as im

SIX = 6.1
SETTINGS = [(30, 0.2, 0.1), (30, 1.0, 0.02), (12, 0.05, 0.5), (1, 0.5, 0.3), (3, 0.7, 0.9)]


@pytest.mark.parametrize(("m", "alpha", "eps"), SETTINGS)
def test_spectrum_holds_all_mass_and_the_sharp_floor(m: int, alpha: float, eps: float) -> None:
    mass = np.arange(1, m + 1) / m
    for updates in (1, 3):
        spectrum = im.stationary_spectrum(m, alpha, eps, updates)
        assert spectrum.shape == (m,)
        assert (spectrum >= 0).all()
        assert spectrum @ mass == pytest.approx(1, rel=1e-11)
        floor = corpus.sharp_floor(m, alpha, eps, updates)
        assert 1 - spectrum @ mass**2 == pytest.approx(floor, rel=1e-10, abs=1e-12)


def test_spectrum_is_the_sum_over_the_ages_of_the_texts() -> None:
    """The geometric series literally, with transition matrices built from scipy."""
    m, alpha, eps = 15, 0.3, 0.2
    counts = np.arange(m + 1)
    row = stats.binom.pmf(counts, m, eps)
    total = np.zeros(m + 1)
    old = np.array([stats.binom.pmf(counts, m, i / m) for i in counts])
    new = np.array([stats.binom.pmf(counts, m, (1 - eps) * i / m) for i in counts])
    for _ in range(2000):
        total += alpha * row
        row = row @ ((1 - alpha) * old + alpha * new)
        row[0] = 0.0
        if row.sum() < 1e-17:
            break
    np.testing.assert_allclose(im.stationary_spectrum(m, alpha, eps), total[1:], rtol=1e-11)


def test_spectrum_and_partitions_against_simulation() -> None:
    m, alpha, eps, runs, places = 10, 0.4, 0.25, 10_000, 30
    rng = np.random.default_rng(1)
    count = np.zeros((runs, places), dtype=int)
    count[:, 0] = m
    for _ in range(80):
        p = count / m
        hit = np.flatnonzero(rng.random(runs) < alpha)
        p[hit] *= 1 - eps
        p[hit, (count[hit] == 0).argmax(axis=1)] = eps
        count = rng.multinomial(m, p / p.sum(axis=1, keepdims=True))
    exact = im.stationary_spectrum(m, alpha, eps)
    for j in range(1, m + 1):
        seen = (count == j).sum(axis=1)
        assert abs(seen.mean() - exact[j - 1]) < SIX * max(seen.std(), 0.01) / np.sqrt(runs)
    drawn = (rng.random((runs, 3, 1)) > (count / m).cumsum(axis=1)[:, None, :-1]).sum(axis=2)
    different = np.array([len(set(row)) for row in drawn.tolist()])
    law = im.sample_partitions(m, alpha, eps, 3)
    for sizes, chance in law.items():
        assert abs((different == len(sizes)).mean() - chance) < SIX * np.sqrt(chance * (1 - chance) / runs)
    # Negative control: Ewens's formula is visibly another law here.
    other = im.ewens_partitions(3, 2 * m * alpha * eps)
    assert abs((different == 1).mean() - other[3,]) > SIX * 0.5 / np.sqrt(runs)


@pytest.mark.parametrize(("m", "alpha", "eps"), SETTINGS)
def test_equal_draws_are_moments_of_the_spectrum(m: int, alpha: float, eps: float) -> None:
    spectrum, mass = im.stationary_spectrum(m, alpha, eps), np.arange(1, m + 1) / m
    for k in range(1, 7):
        law = im.sample_partitions(m, alpha, eps, k)
        assert sum(law.values()) == pytest.approx(1, rel=1e-10)
        assert all(sum(sizes) == k for sizes in law)
        assert law[k,] == pytest.approx(spectrum @ mass**k, rel=1e-10)


def test_two_texts_among_three_draws_by_hand() -> None:
    """The chance of three different texts solves a linear equation of its own (corpus.py has E D and E W)."""
    m, alpha, eps = 20, 0.3, 0.2
    q3 = (1 - 1 / m) * (1 - 2 / m)
    d = corpus.sharp_floor(m, alpha, eps)
    # Three different texts now: three images; then no injection, or none of them new, or exactly one new and two apart.
    w = q3 * alpha * 3 * eps * (1 - eps) ** 2 * d / (1 - q3 * (1 - alpha + alpha * (1 - eps) ** 3))
    law = im.sample_partitions(m, alpha, eps, 3)
    assert law[1, 1, 1] == pytest.approx(w, rel=1e-12)
    assert law[2, 1] == pytest.approx(1.5 * (d - w), rel=1e-12)  # P(two given draws differ) = D


def test_ewens_partitions_by_the_urn() -> None:
    """Hoppe's urn, draw by draw, over all its histories."""
    theta = 1.7
    for k in range(1, 6):
        law: dict[tuple[int, ...], float] = {}
        for history in product(range(k), repeat=k):
            sizes: list[int] = []
            chance = 1.0
            for step, choice in enumerate(history):
                if choice > len(sizes):
                    chance = 0.0
                elif choice == len(sizes):
                    chance *= theta / (theta + step)
                    sizes.append(1)
                else:
                    chance *= sizes[choice] / (theta + step)
                    sizes[choice] += 1
            key = tuple(sorted(sizes, reverse=True))
            law[key] = law.get(key, 0.0) + chance
        found = im.ewens_partitions(k, theta)
        assert sum(found.values()) == pytest.approx(1, rel=1e-13)
        for sizes_found, value in found.items():
            assert value == pytest.approx(law[sizes_found], rel=1e-12)


def test_samples_tend_to_ewens_for_small_injections_whatever_m_eps() -> None:
    theta = 1.0
    classic = im.ewens_partitions(4, theta)
    distances = []
    for m, eps in ((100_000, 0.02), (100_000, 0.01), (100_000, 0.005)):
        law = im.sample_partitions(m, theta / (2 * m * eps), eps, 4)
        distances.append(sum(abs(law[sizes] - classic[sizes]) for sizes in classic) / 2)
    np.testing.assert_allclose(np.array(distances) / [0.02, 0.01, 0.005], 0.61, rtol=0.04)  # first order in eps
    # Not so for large injections.
    law = im.sample_partitions(100_000, theta / (2 * 100_000 * 0.5), 0.5, 4)
    assert abs(law[4,] - classic[4,]) > 0.25


def test_mutants() -> None:
    m, u = 50, 0.02
    # Two different images: F = (1-u)^2 (1/M + (1 - 1/M) F).
    same = (1 - u) ** 2 / m / (1 - (1 - u) ** 2 * (1 - 1 / m))
    assert im.mutant_partitions(m, u, 2)[2,] == pytest.approx(same, rel=1e-12)
    certain = im.mutant_partitions(m, 1.0, 4)
    assert certain.pop((1, 1, 1, 1)) == 1
    assert set(certain.values()) == {0.0}
    for k in (1, 3, 5):
        assert sum(im.mutant_partitions(m, u, k).values()) == pytest.approx(1, rel=1e-12)
    large = im.mutant_partitions(10**6, 5e-7, 4)
    for sizes, value in im.ewens_partitions(4, 1.0).items():
        assert large[sizes] == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("theta", [0.4, 1.0, 2.5])
def test_burst_spectrum(theta: float) -> None:
    eps = 0.2

    def integral(upper: float) -> float:
        value: float = integrate.quad(lambda u: (1 - u) ** -theta, 0, upper, epsabs=1e-13)[0]
        return value

    for x in (0.003, 0.1, 0.2, 0.7, 0.95):
        value = theta * (1 - x) ** (theta - 1) / x / eps * integral(min(x, eps))
        assert im.burst_spectrum(x, theta, eps) == pytest.approx(value, rel=1e-10)
    # All mass is counted once.
    below = integrate.quad(lambda x: x * float(im.burst_spectrum(x, theta, eps)), 1e-12, eps)[0]
    # With v = (1 - x)^theta the density is smooth up to mass 1.
    upper = (1 - eps) ** theta

    def smooth(v: float) -> float:
        x = 1 - v ** (1 / theta)
        return float(x * im.burst_spectrum(x, theta, eps) * v ** (1 / theta - 1) / theta)

    above = integrate.quad(smooth, 1e-12, upper)[0]
    assert below + above == pytest.approx(1, rel=1e-7)
    # Far below eps it is flat, far above a multiple of Ewens's.
    assert im.burst_spectrum(1e-6, theta, eps) == pytest.approx(theta / eps, rel=1e-5)
    ratio = im.burst_spectrum([0.3, 0.9], theta, eps) / im.ewens_spectrum([0.3, 0.9], theta)
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-12)
    assert im.burst_spectrum(0.5, theta, 1e-6) == pytest.approx(float(im.ewens_spectrum(0.5, theta)), rel=1e-5)


def test_burst_spectrum_is_near_the_exact_one() -> None:
    m, eps, theta = 1000, 0.05, 1.0
    exact = im.stationary_spectrum(m, theta / (2 * m * eps), eps) * m
    mass = np.arange(1, m + 1) / m
    inside = slice(19, 900)
    np.testing.assert_allclose(exact[inside], im.burst_spectrum(mass[inside], theta, eps), rtol=0.06)
    # Ewens's is not, below eps.
    assert im.ewens_spectrum(0.01, theta) > 4 * exact[9]


def test_partitions_and_sizes() -> None:
    partitions = im.ewens_partitions(6, 2.0)
    assert len(partitions) == 11
    assert partitions[6,] == pytest.approx(2 * factorial(5) / np.prod(np.arange(2.0, 8.0)))


def test_bad_input() -> None:
    for function, rest in ((im.stationary_spectrum, ()), (im.sample_partitions, (3,))):
        for args, error, message in (
            ((0, 0.5, 0.5), ValueError, "text_samples must be an integer >= 1, got 0"),
            ((5, 0.0, 0.5), ValueError, r"injection_prob must lie in \(0, 1\], got 0"),
            ((5, 0.5, 1.0), ValueError, r"injection_fraction must lie in \(0, 1\), got 1"),
            ((5, "1", 0.5), TypeError, "injection_prob must be a number"),
        ):
            with pytest.raises(error, match=message):
                function(*args, *rest)
    with pytest.raises(ValueError, match="text_updates must be an integer >= 1"):
        im.stationary_spectrum(5, 0.5, 0.5, 0)
    for draws in (0, 7):
        with pytest.raises(ValueError, match="draws must be"):
            im.sample_partitions(5, 0.5, 0.5, draws)
        with pytest.raises(ValueError, match="draws must be"):
            im.mutant_partitions(5, 0.5, draws)
        with pytest.raises(ValueError, match="draws must be"):
            im.ewens_partitions(draws, 1.0)
    with pytest.raises(ValueError, match=r"mutation_prob must lie in \(0, 1\], got 0"):
        im.mutant_partitions(5, 0.0, 2)
    for call in (
        lambda: im.ewens_partitions(3, 0.0),
        lambda: im.ewens_spectrum(0.5, -1.0),
        lambda: im.burst_spectrum(0.5, 0.0, 0.1),
    ):
        with pytest.raises(ValueError, match=r"theta must lie in \(0, inf\)"):
            call()
    for x in (0.0, [0.5, 1.0]):
        with pytest.raises(ValueError, match=r"x must hold masses in \(0, 1\)"):
            im.ewens_spectrum(x, 1.0)
    with pytest.raises(ValueError, match="injection_fraction"):
        im.burst_spectrum(0.5, 1.0, 0.0)
    assert im.ewens_spectrum(np.empty(0), 1.0).size == 0
