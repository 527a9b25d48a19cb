"""The engine against exact laws: Wright-Fisher, Wishart, the posterior, the moments under injection; long runs; blocks.

Every statistical check states its false-alarm rate, 1e-9. The negative controls run the very same check on a mutant.
"""

import itertools
import tracemalloc

import mpmath
import numpy as np
import pytest
from scipy import special, stats

import coevo.simulation.runs as engine
from coevo import factors
from coevo.evidence import check_equal
from coevo.simulation import (
    STATISTICS,
    CorpusInjection,
    ImageModel,
    State,
    System,
    UserContent,
    circle,
    image_update,
    inject_text,
    macro_step,
    replicate,
    simulate,
    text_update,
    updates,
)

FALSE_ALARM = 1e-9

TILTED = {
    1: np.array([[1.7]]),
    2: np.array([[1.0, 0.6], [0.6, 0.8]]),
    3: np.array([[1.0, 0.6, 0.2], [0.6, 0.8, -0.1], [0.2, -0.1, 2.0]]),
    4: np.diag([1.0, 0.5, 2.0, 0.1]) + 0.05,
}

P3 = np.array([0.5, 0.3, 0.2])


def assert_law(values, cdf):
    """Check by a Kolmogorov-Smirnov test that `values` have the law `cdf`."""
    p_value = stats.kstest(values, cdf).pvalue
    assert p_value > FALSE_ALARM, f"the law is another one, p = {p_value:.1e}"


def assert_mean(name, values, expected):
    """Check that the mean over runs (first axis) is `expected`."""
    verdict = check_equal(
        name,
        np.mean(values),
        np.std(values, ddof=1) / np.sqrt(len(values)),
        expected,
        runs=len(values),
        skewness=float(stats.skew(values)),
        false_alarm=FALSE_ALARM,
    )
    assert verdict.passed, verdict


def separated(p, runs=1):
    """Images so narrow that each tells its text."""
    return State.create(p, np.arange(len(p))[:, None], [[1e-12]], runs)


# Text model


@pytest.mark.parametrize(("steps", "text_updates"), [(1, 1), (2, 1), (5, 1), (2, 3)])
def test_two_separated_texts_are_a_wright_fisher_population(steps, text_updates):
    m, runs = 10, 20_000
    system = System(separated([0.3, 0.7]), m, 1, text_updates, 0)
    p = simulate(system, steps, runs, rng=1, every=steps).p[:, -1, 0]
    count = np.round(m * p).astype(int)
    np.testing.assert_allclose(p, count / m, rtol=1e-14)
    transition = stats.binom.pmf(np.arange(m + 1), m, np.arange(m + 1)[:, None] / m)
    law = stats.binom.pmf(np.arange(m + 1), m, 0.3) @ np.linalg.matrix_power(transition, steps * text_updates - 1)
    expected, seen = runs * law, np.bincount(count, minlength=m + 1)
    rare = expected < 10
    if rare.any():
        expected, seen = np.append(expected[~rare], expected[rare].sum()), np.append(seen[~rare], seen[rare].sum())
    kept = expected > 0
    assert stats.chisquare(seen[kept], expected[kept] * seen.sum() / expected.sum()).pvalue > FALSE_ALARM


def posterior_of_drawn_images(state, m, seed):
    """Texts, standard normals and images that `text_update` draws from this seed, for less than one pass of images."""
    rng = np.random.default_rng(seed)
    counts = updates._multinomial(m, state.p, rng)
    z = np.moveaxis(rng.standard_normal((state.dim, state.runs, m)), 0, -1)
    texts = [np.repeat(np.arange(state.n_texts), row) for row in counts]
    return [list(zip(texts[r], z[r], strict=True)) for r in range(state.runs)]


@pytest.mark.parametrize("dim", [1, 2, 3, 4])
def test_posterior_is_the_ratio_of_scipy_densities(dim):
    rng, m = np.random.default_rng(dim), 3
    mean = rng.standard_normal((4, dim))
    cov = np.array([TILTED[dim], 0.5 * TILTED[dim], np.eye(dim), TILTED[dim][::-1, ::-1]])
    p = np.array([0.5, 0.2, 0.3, 0.0])
    state = State.create(p, mean, cov, 40)
    found = text_update(state, m, 5).p
    factor = np.linalg.cholesky(cov)
    for r, run in enumerate(posterior_of_drawn_images(state, m, 5)):
        posteriors = []
        for k, z in run:
            x = mean[k] + factor[k] @ z
            joint = p * [stats.multivariate_normal(mean[j], cov[j]).pdf(x) for j in range(4)]
            posteriors.append(joint / joint.sum())
        np.testing.assert_allclose(found[r], np.mean(posteriors, axis=0), rtol=1e-11, atol=1e-300)


def test_a_text_without_mass_stays_without():
    state = State.create([0.0, 0.4, 0.0, 0.6, 0.0], np.zeros((5, 2)), np.eye(2), 300)
    p = text_update(state, 7, 1).p
    assert (p[:, [0, 2, 4]] == 0).all()
    np.testing.assert_allclose(p[:, 1], 0.4, rtol=1e-12)  # equal images say nothing; e^600 is exact to 1e-13
    moved = image_update(state, 50, 1)
    np.testing.assert_array_equal(moved.mean[:, [0, 2, 4]], 0.0)


def test_a_one_hot_text_model_stays_as_it_is():
    state = State.create([0.0, 1.0], np.zeros((2, 1)), np.eye(1), 3)
    assert text_update(state, 5, 1) is state


def test_posterior_of_singular_texts_is_one_hot():
    line = np.array([[1.0, 0.0], [0.0, 0.0]])
    cov = np.array([line, line, line[::-1, ::-1], np.eye(2), np.zeros((2, 2))])
    mean = np.array([[0.0, 0.0], [0.0, 1.0], [0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    p = np.array([0.2, 0.2, 0.2, 0.2, 0.2])
    m = 4
    found = text_update(State.create(p, mean, cov, 200), m, 3).p
    np.testing.assert_allclose(found * m, np.round(found * m), rtol=0, atol=1e-14)


def test_densities_on_a_common_line_decide():
    """Two laws on the line x2 = x1/2, whose posterior is that of their first coordinates."""
    direction = np.array([1.0, 0.5])
    line = np.outer(direction, direction)
    state = State.create([0.3, 0.7], [[0.0, 0.0], [1.0, 0.5]], [line, 4 * line], 50)
    flat = State.create([0.3, 0.7], [[0.0], [1.0]], [[[1.0]], [[4.0]]], 50)
    found = text_update(state, 1, 2).p
    for r, [(k, z)] in enumerate(posterior_of_drawn_images(state, 1, 2)):
        x = flat.mean[0, k, 0] + np.sqrt(flat.cov[0, k, 0, 0]) * z[0]
        joint = [0.3, 0.7] * stats.norm.pdf(x, [0.0, 1.0], [1.0, 2.0])
        np.testing.assert_allclose(found[r], joint / joint.sum(), rtol=1e-12)


def assert_coinciding_texts_keep_their_ratio(state, text_samples=20):
    """The posterior of two coinciding laws (texts 0 and 1) is their prior: the ratio inside the class never moves."""
    p = text_update(state, text_samples, 6).p
    before = state.p[:, 0] / state.p[:, 1]
    alive = p[:, 1] > 0
    assert alive.mean() > 0.9
    np.testing.assert_allclose(p[alive, 0] / p[alive, 1], before[alive], rtol=1e-12)
    np.testing.assert_array_equal(p[~alive, 0], 0.0)
    return p


@pytest.mark.parametrize("sigma", [1.0, 1e-12, 1e-18, 1e-150])
def test_two_coinciding_texts_stay_as_they_are_at_every_scale(sigma):
    """At 1e-18 the images x = mu + sigma z are no longer different numbers from mu = (1, 0)."""
    state = State.create([0.9, 0.1], [[1.0, 0.0], [1.0, 0.0]], sigma**2 * np.eye(2), 200)
    np.testing.assert_allclose(assert_coinciding_texts_keep_their_ratio(state), state.p, rtol=1e-12)


def test_a_wide_text_beside_two_coinciding_narrow_ones():
    """Images of the narrow class name the class; no image of the wide text lies where its density is not zero."""
    cov = np.array([1e-300, 1e-300, 1.0])[:, None, None] * np.eye(2)
    for mean in ([1.0, 0.0], [0.0, 0.0]):
        state = State.create([0.45, 0.05, 0.5], [[1.0, 0.0], [1.0, 0.0], mean], cov, 500)
        p = assert_coinciding_texts_keep_their_ratio(state)
        np.testing.assert_allclose(20 * p[:, 2], np.round(20 * p[:, 2]), rtol=0, atol=1e-12)
        assert_mean("mass of the wide text", p[:, 2], 0.5)


@pytest.mark.parametrize("dim", [2, 3, 4])
def test_coinciding_texts_whose_directions_have_parted(dim):
    """L_j^{-1} L_i = I to the last digit: a rounded zero below its diagonal would be multiplied by e^(50 k)."""
    rng = np.random.default_rng(dim)
    runs = 100
    unit = np.eye(dim) + np.tril(rng.standard_normal((runs, 1, dim, dim)), -1)
    other = np.eye(dim) + np.tril(rng.standard_normal((runs, 1, dim, dim)), -1)
    images = ImageModel(
        np.broadcast_to(np.array([0.3, 0.3, 5.0])[:, None], (runs, 3, dim)),
        np.concatenate([unit, unit, other], axis=1),
        np.broadcast_to(-50.0 * np.arange(dim), (runs, 3, dim)),
    )
    p = assert_coinciding_texts_keep_their_ratio(State(np.tile(P3, (runs, 1)), images, images))
    assert_mean("mass of the third text", p[:, 2], 0.2)


def test_a_common_offset_of_the_coordinates_does_not_matter():
    """Means that are multiples of 1/1024, so that adding 2^40, about 1e12, rounds none of them."""
    rng = np.random.default_rng(4)
    mean = np.round(1024 * rng.standard_normal((3, 2))) / 1024
    cov = np.array([np.eye(2), TILTED[2], np.diag([0.2, 1.5])])
    near, far = (text_update(State.create(P3, mean + shift, cov, 300), 10, 7).p for shift in (0.0, 2.0**40))
    np.testing.assert_allclose(far, near, rtol=1e-12)
    assert np.ptp(near, axis=0).min() > 0.1  # the posteriors do differ from run to run


@pytest.mark.parametrize(("gap", "same"), [(1e-11, True), (1e-7, False)])
@pytest.mark.parametrize("tilted", [False, True])
def test_supports_are_compared_to_nine_digits(gap, same, tilted):
    """Two lines that differ by `gap` in slope or in place, either side of `SAME_SUPPORT`."""
    slopes = np.array([0.5, 0.5 + gap * tilted])
    direction = np.stack([np.ones(2), slopes], axis=1)
    cov = np.array([1.0, 4.0])[:, None, None] * direction[:, :, None] * direction[:, None, :]
    mean = np.array([[0.0, 0.0], [0.0, gap * (not tilted)]])
    found = text_update(State.create([0.3, 0.7], mean, cov, 50), 1, 2).p[:, 0]
    state = State.create([0.3, 0.7], [[0.0], [0.0]], [[[1.0]], [[4.0]]], 50)
    for r, [(k, z)] in enumerate(posterior_of_drawn_images(state, 1, 2)):
        joint = [0.3, 0.7] * stats.norm.pdf((1 + k) * z[0], 0.0, [1.0, 2.0])
        assert found[r] == pytest.approx(joint[0] / joint.sum() if same else 1.0 - k, rel=1e-9)


def test_many_images_are_cut_into_passes():
    state = circle(3, runs=5)
    many = text_update(state, updates.IMAGES_PER_PASS + 1, 1).p
    # a standard error of at most 0.5 / sqrt(16385) = 0.004 each
    np.testing.assert_allclose(many, 1 / 3, atol=0.026)
    assert len({row.tobytes() for row in many}) == 5


# Image model


@pytest.mark.parametrize(("dim", "n"), [(1, 2), (1, 5), (2, 2), (2, 3), (2, 20), (3, 3), (3, 6), (4, 9)])
def test_refit_has_the_law_of_sample_mean_and_covariance(dim, n):
    assert_law_of_refit(dim, n)


def assert_law_of_refit(dim, n, scale=1.0):
    """Sample mean normal, v'Sv chi-squared, log det a sum of log chi-squares, mean and covariance independent."""
    runs, nu, cov = 20_000, n - 1, scale**2 * TILTED[dim]
    state = image_update(State.create([1.0], np.zeros((1, dim)), cov, runs), n, np.random.default_rng(10 * dim + n))
    mean, found = state.mean[:, 0], state.cov[:, 0]
    inverse = np.linalg.inv(cov)
    assert_law(n * np.einsum("ri,ij,rj->r", mean, inverse, mean), stats.chi2(dim).cdf)
    for v in np.vstack([np.eye(dim), np.ones(dim)]):
        assert_law(nu * (found @ v @ v) / (v @ cov @ v), stats.chi2(nu).cdf)
        assert_law(np.sqrt(n) * mean @ v / np.sqrt(v @ cov @ v), stats.norm.cdf)
    if nu >= dim:
        log_scale = 2 * state.images.log_scale[:, 0].sum(axis=1)
        expected = stats.wishart(nu, cov / nu).rvs(runs, random_state=3).reshape(runs, dim, dim)
        assert stats.ks_2samp(log_scale, np.linalg.slogdet(expected)[1]).pvalue > FALSE_ALARM
        trace = np.einsum("rij,ij->r", found, inverse) * nu
        assert_law(trace, stats.chi2(nu * dim).cdf)
        if dim == 2:  # 2 sqrt(det W) is chi-squared with 2 nu - 2 degrees of freedom
            assert_law(2 * nu * np.exp(0.5 * (log_scale - np.linalg.slogdet(cov)[1])), stats.chi2(2 * nu - 2).cdf)
    else:
        assert (np.isfinite(state.images.log_scale).sum(axis=-1) == nu).all(), "a lost direction came back"
        eigenvalues = np.linalg.eigvalsh(found)
        assert (eigenvalues[:, : dim - nu] <= 1e-13 * eigenvalues[:, -1:]).all(), "a lost direction came back"
    sign = np.sign(mean[:, 0])
    larger = np.where(found[:, 0, 0] > np.median(found[:, 0, 0]), 1.0, -1.0)
    assert_mean("independence", sign * larger, 0.0)


def test_refit_of_a_singular_law_stays_in_its_support():
    plane = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, -0.5]])
    state = image_update(State.create([1.0], [[0.0, 0, 0]], plane.T @ plane, 2000), 6, 3)
    np.testing.assert_allclose(np.cross(plane[0], plane[1]) @ state.mean[:, 0].T, 0.0, atol=1e-14)
    np.testing.assert_allclose(np.cross(plane[0], plane[1]) @ state.cov[:, 0], 0.0, atol=1e-13)
    assert_law(5 * state.cov[:, 0, 0, 0], stats.chi2(5).cdf)
    assert_law(2 * 5 * np.exp(state.images.log_scale[:, 0, :2].sum(axis=1)), stats.chi2(2 * 5 - 2).cdf)


def test_the_covariance_is_unbiased_over_time():
    assert_unbiased()


def assert_unbiased():
    """E tr Sigma_t = tr Sigma_0, although texts receive random numbers of images, fewer than two included."""
    initial = State.create([0.8, 0.2], np.zeros((2, 2)), TILTED[2])
    path = simulate(System(initial, 1, 15, text_updates=0), 3, 20_000, rng=3)
    for t, k in itertools.product((1, 3), (0, 1)):
        assert_mean(f"tr Sigma_{t} of text {k}", np.trace(path.cov[:, t, k], axis1=1, axis2=2), np.trace(TILTED[2]))


def test_several_image_updates_compound():
    assert_compounding(3)


def assert_compounding(image_updates):
    """E log det Sigma after S_I refits: each adds the mean of log prod chi-square_(nu-k) / nu (d = 1 here)."""
    nu = 5
    system = System(State.create([1.0], [[0.0]], [[1.0]]), 1, nu + 1, text_updates=0, image_updates=image_updates)
    state = macro_step(State.create([1.0], [[0.0]], [[1.0]], 20_000), system, 4)
    expected = image_updates * (special.digamma(nu / 2) + np.log(2 / nu))
    assert_mean("log variance", 2 * state.images.log_scale[:, 0, 0], expected)


def test_text_with_fewer_than_two_images_keeps_its_model():
    assert_kept_below_two()


def assert_kept_below_two():
    n, runs = 6, 20_000
    state = State.create([0.2, 0.8], np.zeros((2, 2)), np.eye(2), runs)
    new = image_update(state, n, 8)
    still = (new.mean[:, 0] == 0).all(axis=1)
    kept = (new.cov[:, 0] == np.eye(2)).all(axis=(1, 2))
    np.testing.assert_array_equal(still, kept)
    assert_mean("share of kept texts", still.astype(float), stats.binom.cdf(1, n, 0.2))


def mutant_refit(change):
    """Return `factors.refit` with `change` applied to its result."""
    refit = factors.refit

    def mutant(unit, log_scale, n, rng):
        return change(refit(unit, log_scale, n, rng), unit, log_scale, n, rng)

    return mutant


def test_a_biased_covariance_is_caught(monkeypatch):
    """Negative control: dividing by n instead of n - 1."""

    def biased(new, unit, log_scale, n, rng):
        shrink = np.where(n >= 2, 0.5 * np.log(np.maximum(n - 1, 1) / np.maximum(n, 1)), 0.0)
        return new._replace(log_scale=new.log_scale + shrink[..., None])

    monkeypatch.setattr(factors, "refit", mutant_refit(biased))
    with pytest.raises(AssertionError, match="the law is another one"):
        assert_law_of_refit(2, 20)
    with pytest.raises(AssertionError, match="tr Sigma"):
        assert_unbiased()


def test_jitter_on_covariances_is_caught(monkeypatch):
    """Negative control: 1e-6 I added to every covariance, as a public re-implementation does."""

    def jittered(new, unit, log_scale, n, rng):
        factor = new.unit * np.exp(new.log_scale)[..., None, :]
        cov = factor @ np.swapaxes(factor, -1, -2) + 1e-6 * np.eye(factor.shape[-1])
        unit, log_scale = factors.factorise(cov)
        return new._replace(unit=unit, log_scale=log_scale)

    assert_law_of_refit(2, 20, scale=1e-3)
    with monkeypatch.context() as patch:
        patch.setattr(factors, "refit", mutant_refit(jittered))
        with pytest.raises(AssertionError, match="the law is another one"):
            assert_law_of_refit(2, 20, scale=1e-3)
        with pytest.raises(AssertionError, match="a lost direction came back"):
            assert_law_of_refit(3, 3)


def test_image_passes_that_restart_are_caught(monkeypatch):
    """Negative control: all of the S_I passes start from the old state."""
    original = updates.image_update
    first = []

    def restarting(state, image_samples, rng, user=None):
        first.append(state)
        return original(first[0], image_samples, rng, user)

    monkeypatch.setattr(updates, "image_update", restarting)
    assert_compounding(1)
    first.clear()
    with pytest.raises(AssertionError, match="log variance"):
        assert_compounding(3)


def test_a_mean_moved_by_a_single_image_is_caught(monkeypatch):
    """Negative control: at n = 1 the mean jumps to the one image."""

    def moving(new, unit, log_scale, n, rng):
        jump = factors.multiply(unit, log_scale, rng.standard_normal(log_scale.shape))
        return new._replace(shift=np.where((n == 1)[..., None], jump, new.shift))

    monkeypatch.setattr(factors, "refit", mutant_refit(moving))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_kept_below_two()


# Injection


@pytest.mark.parametrize(
    ("n", "m", "cov", "limit"),
    [
        (20, 5, [1.0, 0.2], (0.1440, 1.3200)),
        (10, 30, [2.0, 1.0], (0.0801, 3.0205)),
        (50, 2, [1.0, 1.0], (0.6711, 2.6579)),
        (1, 1, [1.0, 0.2], None),
        (3, 1, [1.0, 0.2], None),
    ],
)
@pytest.mark.parametrize("offset", [0.0, 1.5])
def test_moments_under_user_content_follow_their_recursion(n, m, cov, limit, offset):
    """Theorem 6.3 as an equality: F_t = E||mu_t - mu*||^2 and T_t = E tr Sigma_t."""
    steps, runs, s = 6, 4000, n + m
    user_mean = np.array([offset, 0.0])
    system = System(
        State.create([1.0], [[0.0, 0.0]], np.eye(2)), 1, n, text_updates=0, user=UserContent(m, user_mean, np.diag(cov))
    )
    found = replicate(
        system,
        steps,
        runs,
        rng=17,
        times=[1, 2, steps],
        statistics={
            "F": lambda state: ((state.mean[:, 0] - user_mean) ** 2).sum(axis=1),
            "T": lambda state: np.trace(state.cov[:, 0], axis1=1, axis2=2),
        },
    )
    f, t, star = offset**2, 2.0, sum(cov)
    expected = {}
    for step in range(1, 2001):
        f, t = (n / s) ** 2 * f + n / s**2 * t + m / s**2 * star, n / s * t + m / s * star + n * m / (s * (s - 1)) * f
        expected[step] = {"F": f, "T": t}
    for i, step in enumerate([1, 2, steps]):
        for name in ("F", "T"):
            verdict = check_equal(
                f"{name}_{step}",
                found.mean[name][i],
                found.standard_error[name][i],
                expected[step][name],
                runs=runs,
                skewness=found.skewness[name][i],
            )
            assert verdict.passed, verdict
    closed = (s - 1) * star / (s * (s - 1) - n**2)
    assert expected[2000]["F"] == pytest.approx(closed, rel=1e-9)
    assert expected[2000]["T"] == pytest.approx(star + n * closed / (s - 1), rel=1e-9)
    if limit is not None:
        assert (round(expected[2000]["F"], 4), round(expected[2000]["T"], 4)) == limit


def test_ten_thousand_million_images_of_either_kind():
    """E Sigma = I + n m / (s (s - 1)) delta delta', s = n + m; the product n m = 1e20 is no 64-bit integer."""
    n = m = 10**10
    user = UserContent(m, np.array([10.0, 0.0]), np.eye(2))
    state = image_update(State.create([1.0], [[0.0, 0.0]], np.eye(2), 400), n, 1, user)
    s = n + m
    between = float(n) * m / (float(s) * (s - 1)) * 100
    assert between == pytest.approx(25.0, rel=1e-9)
    for i, j in ((0, 0), (0, 1), (1, 1)):
        assert_mean(f"Sigma_{i}{j}", state.cov[:, 0, i, j], (i == j) + between * (i == j == 0))
    assert_mean("mean", state.mean[:, 0, 0], 5.0)
    # One run: sd (n m / s^2) 2 |delta| sqrt(1/n + 1/m) = 7.1e-5 from the means, 1e-5 from the scatter
    np.testing.assert_allclose(state.cov[:, 0, 0, 0], 1 + between, atol=6.5 * 7.2e-5)


def test_user_content_of_the_initial_law_and_of_its_own_law_agree():
    initial = circle(3, 0.7)
    arguments = {"steps": 4, "runs": 3, "rng": 5}
    default = simulate(System(initial, 5, 6, user=UserContent(2)), **arguments)
    given = simulate(System(initial, 5, 6, user=UserContent(2, initial.mean[0], initial.cov[0])), **arguments)
    np.testing.assert_array_equal(default.mean, given.mean)
    none = simulate(System(initial, 5, 6, user=UserContent(0)), **arguments)
    plain = simulate(System(initial, 5, 6), **arguments)
    np.testing.assert_array_equal(none.cov, plain.cov)


def test_a_random_number_of_user_images_is_a_mixture_of_fixed_numbers():
    """One image update with m ~ Poisson(2), n = 3: E T' and E F' are the Poisson mixtures of the recursion."""
    n, runs, law = 3, 40_000, stats.poisson(2)
    initial = State.create([1.0], [[0.0, 0.0]], np.eye(2), runs)
    state = image_update(initial, n, 21, UserContent(law, cov=np.diag([3.0, 1.0])))
    m = np.arange(40)
    s = n + m
    assert_mean("F", (state.mean[:, 0] ** 2).sum(axis=1), law.pmf(m) @ (n / s**2 * 2 + m / s**2 * 4))
    assert_mean("T", np.trace(state.cov[:, 0], axis1=1, axis2=2), law.pmf(m) @ (n / s * 2 + m / s * 4))


def test_random_user_counts_are_fresh_for_every_run_text_and_update(monkeypatch):
    seen = []
    refit_pooled = factors.refit_pooled

    def spy(*arguments):
        seen.append(arguments[6])
        return refit_pooled(*arguments)

    monkeypatch.setattr(factors, "refit_pooled", spy)
    initial = circle(2, 1.0, runs=3000)
    for update in range(2):
        image_update(initial, 10, 22 + update, UserContent(stats.binom(8, 0.25)))
    counts = np.stack(seen, axis=-1).astype(float)  # (runs, texts, updates)
    assert counts.shape == (3000, 2, 2)
    columns = counts.reshape(3000, 4)
    for i, j in itertools.combinations_with_replacement(range(4), 2):
        assert_mean(f"moment {i}{j}", (columns[:, i] - 2.0) * (columns[:, j] - 2.0), 1.5 if i == j else 0.0)
    for column in columns.T:
        assert_mean("mean", column, 2.0)


# Pools of real images

# Skewed, heavy in one direction, and of different sizes: nothing that a Gaussian could be mistaken for.
POOLS = [
    np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [6.0, -2.0]]),
    np.array([[2.0, 2.0], [2.5, 2.0], [-3.0, 1.0], [2.0, 2.25], [2.0, 2.5], [2.25, 2.0], [1.75, 2.0]]),
]


def images_with(mean, scatter_columns, n):
    """Return n images, an array (n, d), whose mean and scatter are given; the scatter has rank < n."""
    contrasts = np.linalg.svd(np.eye(n) - 1 / n)[0][:, : n - 1]  # orthonormal, each of sum zero
    width = scatter_columns.shape[1]
    padded = np.zeros((scatter_columns.shape[0], n - 1))
    order = np.argsort(~(scatter_columns != 0).any(axis=0), kind="stable")[: min(width, n - 1)]
    padded[:, : order.size] = scatter_columns[:, order]
    return mean + contrasts @ padded.T


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("several", [False, True])
def test_pooling_with_a_pool_is_done_image_by_image(monkeypatch, dim, several):
    """Mean and covariance of every text are numpy's, over images that have the scatter drawn for its own ones."""
    rng = np.random.default_rng(dim)
    pools = [rng.standard_exponential((size, dim)) for size in (3, 9)]
    user = UserContent(stats.binom(7, 0.3), images=pools if several else pools[0])
    initial = State.create([0.9, 0.1], rng.standard_normal((2, dim)), [TILTED[dim], 0.1 * TILTED[dim]], 200)
    seen = {}

    def spy(name, target):
        original = getattr(target, name)

        def recording(*arguments):
            seen[name] = arguments, original(*arguments)
            return seen[name][1]

        monkeypatch.setattr(target, name, recording)

    spy("draw_images", UserContent)
    spy("_scatter_columns", factors)
    spy("multiply", factors)
    spy("_multinomial", updates)
    spy("counts", UserContent)
    new = image_update(initial, 8, 6, user)
    n, m = seen["_multinomial"][1], seen["counts"][1]
    # The update divides what `multiply` returned by sqrt(n) in place: by now it is the distance of the own mean.
    own_mean, own, drawn = seen["multiply"][1], seen["_scatter_columns"][1], seen["draw_images"][1]
    assert {(0, 0), (1, 0), (0, 1), (1, 1)} <= {*zip(np.minimum(n, 1).flat, np.minimum(m, 1).flat, strict=True)}
    for r, k in np.ndindex(n.shape):
        own_images = images_with(initial.mean[r, k] + own_mean[r, k], own[r, k], max(n[r, k], 1))[: n[r, k]]
        users = drawn[r, k, : m[r, k]]
        rows = {row.tobytes() for row in pools[k * several]}
        assert all(image.tobytes() in rows for image in users)
        images = np.concatenate([own_images, users])
        if len(images) < 2:
            np.testing.assert_array_equal(new.mean[r, k], initial.mean[r, k])
            np.testing.assert_array_equal(new.cov[r, k], initial.cov[r, k])
        else:
            np.testing.assert_allclose(new.mean[r, k], images.mean(axis=0), rtol=1e-11, atol=1e-12)
            cov = np.cov(images, rowvar=False, ddof=1).reshape(dim, dim)
            np.testing.assert_allclose(new.cov[r, k], cov, rtol=1e-10, atol=1e-12)


def test_two_images_in_a_pool_are_four_equally_likely_pairs():
    """m = 2 from {a, b}, alone (no own image) and with one own image at a point c: every outcome, and how often."""
    runs, a, b, c = 20_000, np.array([1.0, 0.0]), np.array([0.0, 3.0]), np.array([-1.0, 5.0])
    initial = State.create([0.0, 1.0], [c, c], np.zeros((2, 2)), runs)
    new = image_update(initial, 1, 31, UserContent(2, images=np.array([a, b])))
    for text, own in ((0, []), (1, [c])):
        seen = 0
        for pairs in ([(a, a)], [(a, b), (b, a)], [(b, b)]):
            images = np.array([*own, *pairs[0]])
            same = np.isclose(new.mean[:, text], images.mean(axis=0), rtol=1e-12, atol=1e-12).all(axis=1)
            cov = np.cov(images, rowvar=False, ddof=1)
            np.testing.assert_allclose(new.cov[same, text], np.broadcast_to(cov, (same.sum(), 2, 2)), atol=1e-12)
            assert stats.binomtest(int(same.sum()), runs, len(pairs) / 4).pvalue > FALSE_ALARM
            seen += same.sum()
        assert seen == runs
    # Equal images have no scatter at all, and two points no second direction.
    log_scale = new.images.log_scale[:, 0]
    assert (np.isfinite(log_scale).sum(axis=1) == (new.mean[:, 0, 0] == 0.5)).all()


def literal_updates(pool, n, m, steps, runs, rng):
    """Mean (R, d) and covariance (R, d, d) after some updates of one text, every image drawn by itself."""
    means, covs = [], []
    for _ in range(runs):
        mean, cov = np.zeros(2), TILTED[2]
        for _ in range(steps):
            own = rng.multivariate_normal(mean, cov, size=n)
            images = np.concatenate([own, pool[rng.integers(len(pool), size=m)]])
            mean, cov = images.mean(axis=0), np.cov(images, rowvar=False, ddof=1)
        means.append(mean)
        covs.append(cov)
    return np.array(means), np.array(covs)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (6, 3), (1, 4)])
def test_updates_with_a_pool_have_the_law_of_the_literal_ones(n, m):
    pool, steps, runs = POOLS[0], 2, 3000
    system = System(
        State.create([1.0], np.zeros((1, 2)), TILTED[2]), 1, n, text_updates=0, user=UserContent(m, images=pool)
    )
    path = simulate(system, steps, runs, rng=32, every=steps)
    mean, cov = literal_updates(pool, n, m, steps, runs, np.random.default_rng(33))
    for found, expected in (
        *zip(path.mean[:, 1, 0].T, mean.T, strict=True),
        *((path.cov[:, 1, 0, i, j], cov[:, i, j]) for i, j in ((0, 0), (0, 1), (1, 1))),
    ):
        assert stats.ks_2samp(found, expected).pvalue > FALSE_ALARM


@pytest.mark.parametrize(("n", "m"), [(20, 5), (3, 2), (4, 1)])
def test_moments_under_a_pool_follow_the_recursion_of_its_own_law(n, m):
    """Theorem 6.3 needs second moments only: the pool's mean, and its covariance with divisor n_i, not n_i - 1."""
    steps, runs, s, text = 4, 20_000, n + m, 1
    pool = POOLS[text]
    start = np.array([0.5, -0.5])
    system = System(
        State.create([0.0, 1.0], np.zeros((2, 2)) + start, np.eye(2)),
        1,
        n,
        text_updates=0,
        user=UserContent(m, images=POOLS),
    )
    found = replicate(
        system,
        steps,
        runs,
        rng=34,
        times=[1, steps],
        statistics={
            "F": lambda state: ((state.mean[:, text] - pool.mean(axis=0)) ** 2).sum(axis=1),
            "T": lambda state: np.trace(state.cov[:, text], axis1=1, axis2=2),
        },
    )

    def recursion(total):
        f, t = ((start - pool.mean(axis=0)) ** 2).sum(), 2.0
        for step in range(1, steps + 1):
            f, t = (
                (n / s) ** 2 * f + n / s**2 * t + m / s**2 * total,
                n / s * t + m / s * total + n * m / (s * (s - 1)) * f,
            )
            if step in (1, steps):
                yield {"F": f, "T": t}

    def verdicts(total):
        for i, expected in enumerate(recursion(total)):
            for name, value in expected.items():
                mean, error, skewness = (d[name][i] for d in (found.mean, found.standard_error, found.skewness))
                yield check_equal(name, mean, error, value, runs=runs, skewness=skewness, false_alarm=FALSE_ALARM)

    assert all(verdict.passed for verdict in verdicts(pool.var(axis=0).sum()))
    assert not all(verdict.passed for verdict in verdicts(pool.var(axis=0, ddof=1).sum()))


def test_images_of_a_pool_are_equally_likely_and_independent():
    runs, number = 4000, 3
    drawn = UserContent(number, images=POOLS).draw_images((runs, 2), number, np.random.default_rng(35))
    assert drawn.shape == (runs, 2, number, 2)
    for k, pool in enumerate(POOLS):
        which = (drawn[:, k, :, None] == pool).all(axis=-1)
        assert (which.sum(axis=-1) == 1).all()
        code = np.ravel_multi_index(which.argmax(axis=-1).T, (len(pool),) * number)
        assert stats.chisquare(np.bincount(code, minlength=len(pool) ** number)).pvalue > FALSE_ALARM
    # The two texts draw from pools of their own, independently.
    first = [(drawn[:, k, 0] == POOLS[k][0]).all(axis=-1) for k in range(2)]
    assert_mean("both first images", first[0] & first[1], 1 / 28)


def test_runs_with_a_pool_do_not_depend_on_workers_nor_on_the_runs_that_follow():
    system = System(circle(2), 5, 6, user=UserContent(stats.binom(4, 0.5), images=[*POOLS]), image_updates=2)
    one, two = (replicate(system, 3, 300, rng=36, statistics=tuple(STATISTICS), workers=w) for w in (1, 2))
    path, longer = (simulate(system, 3, runs, rng=36) for runs in (256, 300))
    np.testing.assert_array_equal(path.cov, longer.cov[:256])
    for name in STATISTICS:
        np.testing.assert_array_equal(one.mean[name], two.mean[name])
        np.testing.assert_allclose(one.mean[name], getattr(longer, name).mean(axis=0), rtol=1e-12)


def test_a_growing_corpus_may_have_one_pool_for_all_texts():
    corpus = CorpusInjection(1.0, 0.5, [0.0, 0.0], np.eye(2))
    system = System(circle(2), 5, 10, corpus=corpus, user=UserContent(40, images=POOLS[1][:1]))
    path = simulate(system, 30, 4, rng=37)
    assert path.p.shape[2] > 2
    alive = path.p[:, -1] > 0.2
    assert alive.any()
    assert np.abs(path.mean[:, -1][alive] - POOLS[1][0]).max() < 1.0  # 40 copies of it in every update of at most 50


def test_no_user_image_from_a_pool_changes_nothing():
    initial, arguments = circle(3, 0.7), {"steps": 3, "runs": 3, "rng": 5}
    none = simulate(System(initial, 5, 6, user=UserContent(0, images=POOLS[0])), **arguments)
    np.testing.assert_array_equal(none.cov, simulate(System(initial, 5, 6), **arguments).cov)


@pytest.mark.parametrize(("alpha", "epsilon", "floor"), [(0.05, 0.1, 0.4592), (0.2, 0.3, 0.7493), (0.5, 0.5, 0.6492)])
def test_diversity_under_corpus_injection_attains_its_floor(alpha, epsilon, floor):
    """Separated texts: E D_t = D* + (D_0 - D*) lambda^t at every t, D* the sharp floor of Theorem 6.1."""
    m, steps, runs = 100, 40, 512
    keep = (1 - 1 / m) * (1 - alpha + alpha * (1 - epsilon) ** 2)
    limit = alpha * (1 - 1 / m) * 2 * epsilon * (1 - epsilon) / (1 - keep)
    assert round(limit, 4) == floor
    corpus = CorpusInjection(alpha, epsilon, [0.0, 0.0], 1e-24 * np.eye(2), mean_cov=np.eye(2))
    system = System(circle(2, 1e-12), m, 1, 1, 0, corpus=corpus)
    found = replicate(system, steps, runs, rng=23, times=[1, 10, steps])
    for i, t in enumerate(found.t):
        verdict = check_equal(
            f"D_{t}",
            found.mean["text_diversity"][i],
            found.standard_error["text_diversity"][i],
            limit + (0.5 - limit) * keep ** int(t),
            runs=runs,
            skewness=found.skewness["text_diversity"][i],
        )
        assert verdict.passed, verdict


def test_an_injection_sets_masses_images_and_reference():
    state = circle(3, p=[0.5, 0.5, 0.0], runs=4)
    cov = np.array([[2.0, 1.0], [1.0, 3.0]])
    new = inject_text(state, CorpusInjection(1.0, 0.25, [7.0, 8.0], cov), 1)
    assert new.n_texts == 3  # the place of the text without mass
    np.testing.assert_allclose(new.p, [[0.375, 0.375, 0.25]] * 4)
    np.testing.assert_allclose(new.cov[:, 2], [cov] * 4)
    np.testing.assert_array_equal(new.mean[:, 2], [[7.0, 8.0]] * 4)
    np.testing.assert_array_equal(new.initial.mean[:, 2], [[7.0, 8.0]] * 4)
    np.testing.assert_array_equal(state.mean[:, 2], circle(3, runs=4).mean[:, 2])  # the old state is untouched
    grown = inject_text(new, CorpusInjection(1.0, 0.25, [7.0, 8.0], cov), 1)
    assert grown.n_texts == 4
    np.testing.assert_allclose(grown.p.sum(axis=1), 1.0)
    never = inject_text(state, CorpusInjection(0.0, 0.25, [7.0, 8.0], cov), 1)
    np.testing.assert_array_equal(never.p, state.p)


def test_means_of_new_texts_have_the_stated_law():
    """N(mean, mean_cov) with variances 2 and 1 and a correlation of 0.85: no factor but L gives L L'."""
    mean, cov, runs = np.array([3.0, -1.0]), np.array([[2.0, 1.2], [1.2, 1.0]]), 20_000
    corpus = CorpusInjection(1.0, 0.25, mean, np.eye(2), mean_cov=cov)
    state = inject_text(State.create([1.0, 0.0], np.zeros((2, 2)), np.eye(2), runs), corpus, 3)
    found = state.mean[:, 1] - mean
    np.testing.assert_array_equal(state.initial.mean[:, 1], state.mean[:, 1])
    for v in np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]]):
        assert_law(found @ v / np.sqrt(v @ cov @ v), stats.norm.cdf)
    assert_law(np.einsum("ri,ij,rj->r", found, np.linalg.inv(cov), found), stats.chi2(2).cdf)


def test_a_new_text_takes_one_of_the_listed_laws():
    """Each of three laws equally often, mean with its own covariance, independently of the run and of the past."""
    runs = 6000
    mean = np.array([[3.0, -1.0], [0.0, 2.0], [5.0, 5.0]])
    cov = np.array([np.eye(2), TILTED[2], np.diag([4.0, 0.0])])
    corpus = CorpusInjection(1.0, 0.25, mean, cov)
    start = State.create([1.0, 0.0, 0.0], np.zeros((3, 2)), np.eye(2), runs)
    rng = np.random.default_rng(3)
    state = inject_text(inject_text(start, corpus, rng), corpus, rng)
    np.testing.assert_allclose(state.p, np.tile([0.5625, 0.1875, 0.25], (runs, 1)))
    laws = (state.mean[:, 1:, None] == mean).all(axis=-1)
    assert (laws.sum(axis=-1) == 1).all()
    law = laws.argmax(axis=-1)
    np.testing.assert_allclose(state.cov[:, 1:], cov[law], atol=1e-14)
    np.testing.assert_array_equal(state.initial.mean[:, 1:], mean[law])
    assert stats.chisquare(np.bincount(3 * law[:, 0] + law[:, 1], minlength=9)).pvalue > FALSE_ALARM


def test_a_list_of_one_law_is_that_law():
    cov = TILTED[2]
    one = inject_text(circle(2, runs=50), CorpusInjection(0.5, 0.25, [[7.0, 8.0]], cov[None]), 4)
    law = inject_text(circle(2, runs=50), CorpusInjection(0.5, 0.25, [7.0, 8.0], cov), 4)
    np.testing.assert_array_equal(one.p, law.p)
    np.testing.assert_array_equal(one.mean, law.mean)
    np.testing.assert_array_equal(one.cov, law.cov)


def test_runs_with_listed_laws_do_not_depend_on_workers():
    corpus = CorpusInjection(0.5, 0.3, POOLS[0][:2], [np.eye(2), TILTED[2]])
    system = System(circle(2), 5, 6, corpus=corpus)
    one, two = (replicate(system, 4, 300, rng=38, workers=w) for w in (1, 2))
    np.testing.assert_array_equal(one.mean["text_diversity"], two.mean["text_diversity"])
    np.testing.assert_allclose(
        one.mean["text_diversity"], simulate(system, 4, 300, rng=38).text_diversity.mean(axis=0), rtol=1e-12
    )


def test_texts_below_the_stated_mass_are_dropped():
    state = circle(3, p=[0.5, 0.5 - 1e-20, 1e-20], runs=2)
    corpus = CorpusInjection(0.0, 0.1, [0.0, 0.0], np.eye(2))
    assert (inject_text(state, corpus, 1).p[:, 2] > 0).all()
    assert (inject_text(state, corpus, 1, drop_below=1e-15).p[:, 2] == 0).all()
    np.testing.assert_allclose(inject_text(state, corpus, 1, drop_below=1e-15).p.sum(axis=1), 1.0, rtol=1e-15)
    assert (inject_text(state, corpus, 1, drop_below=1e-21).p[:, 2] > 0).all()


def test_the_largest_text_is_never_dropped():
    p = np.array([[0.2, 0.5, 0.3], [0.45, 0.15, 0.4], [0.34, 0.33, 0.33]])
    state = State(p, circle(3, runs=3).images, circle(3, runs=3).images)
    corpus = CorpusInjection(0.0, 0.1, [0.0, 0.0], np.eye(2))
    np.testing.assert_array_equal(inject_text(state, corpus, 1, drop_below=0.9).p, np.eye(3)[[1, 0, 0]])
    entered = inject_text(state, CorpusInjection(1.0, 0.1, [0.0, 0.0], np.eye(2)), 1, drop_below=0.9).p
    np.testing.assert_allclose(entered.max(axis=1), 0.9, rtol=1e-14)
    np.testing.assert_allclose(entered.sum(axis=1), 1.0, rtol=1e-14)


@pytest.mark.parametrize("steps", [4, 9])
def test_runs_drop_texts_below_their_share_of_the_risk(monkeypatch, steps):
    """At most K + steps texts, each dropped once, and S_T M + S_I N draws a step: one chance in 10^12 in all."""
    seen = []

    def spying(state, system, rng, drop_below=0.0, **rest):
        seen.append(drop_below)
        return macro_step(state, system, rng, drop_below, **rest)

    monkeypatch.setattr(engine, "macro_step", spying)
    corpus = CorpusInjection(0.5, 0.1, [0.0, 0.0], np.eye(2))
    system = System(circle(3), 5, 7, text_updates=2, image_updates=3, corpus=corpus)
    replicate(system, steps, 2, rng=1)
    simulate(system, steps, 2, rng=1)
    draws = 2 * 5 + 3 * 7
    np.testing.assert_allclose(seen, np.full(2 * steps, 1e-12 / (steps * draws * (3 + steps))), rtol=1e-12)


def laws_of_a_growing_corpus(drop_below):
    """Text diversity, second and third mass, and mean image after 30 steps; new texts take 0.9 of the mass."""
    corpus = CorpusInjection(0.9, 0.9, [0.0, 0.0], np.eye(2), mean_cov=0.1 * np.eye(2))
    system = System(circle(2, 1.0, radius=0.3), 8, 12, corpus=corpus)
    state, rng = circle(2, 1.0, radius=0.3, runs=250), np.random.default_rng(5 + (drop_below > 0))
    for _ in range(30):
        state = macro_step(state, system, rng, drop_below)
    top = np.sort(state.p, axis=1)
    values = [1 - (state.p**2).sum(axis=1), top[:, -2], top[:, -3]]
    return state.n_texts, np.stack([*values, (state.p[..., None] * state.mean).sum(axis=1)[:, 0]])


def test_dropping_changes_the_size_of_a_corpus_and_not_its_law():
    def smallest_p_value(a, b):
        return min(stats.ks_2samp(x, y).pvalue for x, y in zip(a, b, strict=True)) * len(a)

    places, whole = laws_of_a_growing_corpus(0.0)
    system = System(circle(2), 8, 12, corpus=CorpusInjection(0.9, 0.9, [0.0, 0.0], np.eye(2)))
    fewer, dropped = laws_of_a_growing_corpus(engine._drop_below(system, 30))
    assert smallest_p_value(whole, dropped) > FALSE_ALARM
    assert fewer < places
    # Negative control: dropping what still counts.
    assert smallest_p_value(whole, laws_of_a_growing_corpus(0.2)[1]) < FALSE_ALARM


def test_places_of_a_growing_corpus_do_not_grow_with_the_steps():
    """With images that hardly tell texts apart, a text dies by dilution: a tenth is left each step."""
    corpus = CorpusInjection(1.0, 0.9, [0.0, 0.0], np.eye(2))
    places = []
    for steps in (60, 240):
        path = simulate(System(circle(2, radius=0.01), 5, 200, corpus=corpus), steps, 3, rng=1, every=steps)
        places.append(path.p.shape[2])
        np.testing.assert_allclose(path.p.sum(axis=-1), 1.0, rtol=1e-14)
    # The threshold is 1e-12 / (60 * 205 * 62) = 1.3e-18, or 8e-20: 18 or 19 texts are above it, and places grow by a
    # quarter at a time.
    assert max(places) <= 40
    assert min(places) >= 10


def test_blocks_that_grow_apart_have_no_statistic_per_text():
    """A block of 256 runs grows in the first step, the lone last run does not."""
    system = System(circle(2), 5, 6, corpus=CorpusInjection(0.05, 0.1, [0.0, 0.0], np.eye(2)))
    for workers in (1, 2):
        with pytest.raises(
            ValueError, match=r"statistics\['fidelity'\] must keep its shape \(3,\) .* grows, got \(2,\)"
        ):
            replicate(system, 1, 257, rng=1, times=[1], statistics=["fidelity"], workers=workers)
    assert replicate(system, 1, 257, rng=1, times=[1]).mean["text_diversity"].shape == (1,)


def test_paths_of_a_growing_corpus_are_padded():
    corpus = CorpusInjection(0.5, 0.2, [0.0, 0.0], np.eye(2), mean_cov=np.eye(2))
    path = simulate(System(circle(2), 20, 10, corpus=corpus), 8, 300, rng=3)
    assert path.p.shape == (300, 9, path.mean.shape[2])
    assert path.p.shape[2] > 2
    np.testing.assert_allclose(path.p.sum(axis=-1), 1.0)
    assert (path.p[:, 0, 2:] == 0).all()


# Long runs


def test_a_hundred_thousand_steps_stay_finite_and_exact():
    """10^5 macro steps of the coupled system, and then the posterior to 12 digits against exact arithmetic."""
    initial = State.create([0.4, 0.35, 0.25], [[0.0, 0.0], [1.0, 0.0], [0.5, 1.0]], TILTED[2], 2)
    system = System(initial, 20, 24)
    rng = np.random.default_rng(11)
    state = initial
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for _ in range(100_000):
            state = macro_step(state, system, rng)
    assert np.isfinite(state.mean).all()
    assert np.isfinite(state.images.unit).all()
    assert not np.isnan(state.images.log_scale).any()
    assert not np.isnan(state.images.log_diversity).any()
    winner = state.p.argmax(axis=1)
    np.testing.assert_array_equal(state.p[np.arange(2), winner], 1.0)
    scale = state.images.log_scale[np.arange(2), winner]
    # E s_k = psi-sum t: -0.022 and -0.023 a step at nu = 23 for the winner
    assert (scale < -1500).all()
    assert (state.images.log_scale.max(axis=(1, 2)) > -300).all()  # the losers froze
    assert_exact_posterior(State(np.full((2, 3), 1 / 3), state.images, state.initial), 4)


@pytest.mark.parametrize(
    "log_scale",
    [
        [[0.0, 0.0], [-2000.0, -5000.0], [-1.0, -1.0]],
        [[-2.0, -2.5], [-30.0, -900.0], [-1.0, -40.0]],
        [[-1.0, -3.0], [-1.2, -2.9], [-0.9, -3.1]],
    ],
)
def test_posterior_of_collapsed_texts_is_exact(log_scale):
    unit = np.array([[[1.0, 0.0], [0.3, 1.0]], [[1.0, 0.0], [-0.7, 1.0]], [[1.0, 0.0], [0.1, 1.0]]])
    mean = np.array([[0.0, 0.0], [0.3, 0.1], [0.25, -0.1]])
    images = ImageModel(np.repeat(mean[None], 20, 0), np.repeat(unit[None], 20, 0), np.repeat([log_scale], 20, 0))
    with np.errstate(all="raise", under="ignore"):
        assert_exact_posterior(State(np.full((20, 3), 1 / 3), images, images), 3)


def assert_exact_posterior(state, m):
    """Compare `text_update` with log-densities in 60-digit arithmetic, from the same draws."""
    found = text_update(state, m, 9).p
    with mpmath.workdps(60):
        for r, run in enumerate(posterior_of_drawn_images(state, m, 9)):
            total = np.zeros(state.n_texts)
            for k, z in run:
                joint = [mp_log_density(state, r, j, k, z) + mpmath.log(state.p[r, j]) for j in range(state.n_texts)]
                top = max(joint)
                weights = [mpmath.exp(v - top) for v in joint]
                total += [float(w / sum(weights)) for w in weights]
            np.testing.assert_allclose(found[r], total / m, rtol=1e-11, atol=1e-14)


def mp_log_density(state, r, j, k, z):
    """Log-density at text j, up to a constant, of the image mu_k + L_k z; singular texts must share no support."""
    mp = mpmath.mpf
    unit, s, mean = state.images.unit[r], state.images.log_scale[r], state.mean[r]
    if not np.isfinite([s[j], s[k]]).all():
        return mp(0 if j == k else "-inf")
    noise = [mpmath.exp(mp(s[k, i])) * mp(z[i]) for i in range(state.dim)]
    residual, square = [], mp(0)
    for i in range(state.dim):
        y = mp(mean[k, i]) - mp(mean[j, i]) + sum(mp(unit[k, i, e]) * noise[e] for e in range(i + 1))
        y -= sum(mp(unit[j, i, e]) * residual[e] for e in range(i))
        residual.append(y)
        square += (y * mpmath.exp(-mp(s[j, i]))) ** 2
    return -square / 2 - sum(mp(v) for v in s[j])


def test_memory_of_replicate_does_not_grow_with_the_steps():
    system = System(circle(3), 10, 12)

    def peak(steps):
        tracemalloc.start()
        replicate(system, steps, 256, rng=1, times=[steps])
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    # By step 200 a text has become singular somewhere, so both runs have taken every path there is.
    assert peak(1000) < 1.05 * peak(200)


# Runs


def test_means_of_replicate_are_those_of_the_paths():
    system = System(circle(3, p=[0.5, 0.3, 0.2]), 10, 12)
    names = tuple(STATISTICS)
    path = simulate(system, 6, 300, rng=4, every=2)
    found = replicate(system, 6, 300, rng=4, times=[0, 2, 4, 6], statistics=names, quantiles=[0.1, 0.5])
    np.testing.assert_array_equal(path.t, found.t)
    for name in names:
        values = getattr(path, name)
        np.testing.assert_allclose(found.mean[name], values.mean(axis=0), rtol=1e-13, atol=1e-300)
        se = values.std(axis=0, ddof=1) / np.sqrt(300)
        np.testing.assert_allclose(found.standard_error[name], se, rtol=1e-11, atol=1e-14)
        quantile = np.quantile(values, [0.1, 0.5], axis=0, method="inverted_cdf")  # the value of a run
        np.testing.assert_allclose(found.quantile[name], quantile, rtol=1e-13)
        skewness = stats.skew(values[:, -1], axis=0)
        np.testing.assert_allclose(found.skewness[name][-1], skewness, rtol=1e-9)
    assert found.runs == 300
    np.testing.assert_array_equal(found.levels, [0.1, 0.5])


@pytest.mark.parametrize("runs", [1, 255, 256, 257, 513])
def test_block_boundaries(runs):
    system = System(circle(2), 5, 6)
    path = simulate(system, 2, runs, rng=8)
    assert path.p.shape == (runs, 3, 2)
    longer = simulate(system, 2, 600, rng=8)
    whole = runs // 256 * 256  # full blocks do not depend on what follows
    np.testing.assert_array_equal(path.p[:whole], longer.p[:whole])
    assert len({row.tobytes() for row in path.mean[:, -1]}) == runs


def test_each_run_may_start_from_its_own_state():
    one, two = circle(2, p=[0.5, 0.5]), circle(2, p=[0.9, 0.1])
    both = State(
        np.repeat(np.concatenate([one.p, two.p]), 150, axis=0),
        *(
            ImageModel(*(np.repeat(np.concatenate([a, a]), 150, axis=0) for a in (m.mean, m.unit, m.log_scale)))
            for m in (one.images, one.initial)
        ),
    )
    path = simulate(System(both, 5, 6), 1, 300, rng=1)
    np.testing.assert_array_equal(path.p[:, 0, 0], np.repeat([0.5, 0.9], 150))


def test_a_single_run_has_no_standard_error():
    found = replicate(System(circle(2), 5, 6), 1, 1, rng=1)
    assert np.isnan(found.standard_error["text_diversity"]).all()
    np.testing.assert_array_equal(found.skewness["text_diversity"], 0.0)


def test_point_masses_have_no_diversity():
    state = State.create([0.5, 0.5], [[0.0, 0.0], [1.0, 0.0]], np.zeros((2, 2)), 3)
    np.testing.assert_array_equal(state.images.diversity, 0.0)
    np.testing.assert_array_equal(state.images.log_diversity, -np.inf)
    found = replicate(System(state, 5, 6), 2, 3, rng=1, statistics=["image_diversity", "log_image_diversity"])
    np.testing.assert_array_equal(found.mean["log_image_diversity"], -np.inf)


def test_quantiles_of_point_masses_are_minus_infinity():
    """Every fourth run starts from point masses: the lowest quarter of the log-diversities is -inf, the rest is not."""
    point, round_ = (State.create([0.5, 0.5], np.eye(2), c * np.eye(2)) for c in (0.0, 1.0))
    chosen = np.arange(300) % 4 == 0

    def mixed(pick):
        return np.where(chosen.reshape(-1, *[1] * (pick(point).ndim - 1)), pick(point), pick(round_))

    images = ImageModel(*(mixed(lambda s, n=n: getattr(s.images, n)) for n in ("mean", "unit", "log_scale")))
    system = System(State(mixed(lambda s: s.p), images, images), 3, 8)
    found = replicate(system, 2, 300, rng=1, statistics=["log_image_diversity"], quantiles=[0.0, 0.2, 0.26, 0.5, 1.0])
    quantile = found.quantile["log_image_diversity"]
    np.testing.assert_array_equal(quantile[:2], -np.inf)
    assert np.isfinite(quantile[2:]).all()
    np.testing.assert_array_equal(found.mean["log_image_diversity"], -np.inf)


def test_skewness_has_no_unit():
    """The same system at the scales 2^-498, 1 and 2^498, about 1e-150 and 1e150, over two blocks."""

    def moments(scale):
        initial = State.create([0.6, 0.4], scale * np.eye(2), scale**2 * TILTED[2])
        system = System(initial, 1, 8, text_updates=0)
        return replicate(system, 3, 300, rng=5, times=[1, 3], statistics=["image_diversity", "fidelity"])

    plain = moments(1.0)
    for scale in (2.0**-498, 2.0**498):
        found = moments(scale)
        for name in ("image_diversity", "fidelity"):
            # log-scales of 345 are rounded at 6e-14, and so is what they are the logarithms of
            np.testing.assert_allclose(found.skewness[name], plain.skewness[name], rtol=1e-10)
            np.testing.assert_allclose(found.standard_error[name], scale * plain.standard_error[name], rtol=1e-11)
    assert (np.abs(plain.skewness["fidelity"]) > 0.1).all()


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_diversity_of_a_state_is_the_measure(dim):
    from coevo.measures import image_diversity

    state = State.create([0.5, 0.5], np.zeros((2, dim)), [TILTED[dim], 0.3 * np.eye(dim)], 2)
    np.testing.assert_allclose(state.images.diversity, image_diversity(state.cov), rtol=1e-12)


def test_progress_bars_are_silent_outside_a_terminal(capsys):
    system = System(circle(2), 5, 6)
    simulate(system, 2, rng=1)
    assert capsys.readouterr().err == ""
    replicate(system, 2, 2, rng=1, progress=True)
    assert "step" in capsys.readouterr().err
    simulate(system, 2, rng=1, progress=False)
    assert capsys.readouterr().err == ""


def test_a_generator_and_a_seed_sequence_are_seeds_too():
    system = System(circle(2), 5, 6)
    generator = np.random.default_rng(3)
    first, second = (simulate(system, 2, rng=generator).p for _ in range(2))
    assert not np.array_equal(first, second)  # each call takes the next child of its sequence
    np.testing.assert_array_equal(first, simulate(system, 2, rng=np.random.default_rng(3)).p)
    np.testing.assert_array_equal(simulate(system, 2, rng=np.random.SeedSequence(5)).p, simulate(system, 2, rng=5).p)


def test_a_run_does_not_feel_whether_others_receive_a_text():
    """The numbers drawn in a macro step are the same whether any run is hit or none."""
    laws = CorpusInjection(0.0, 0.2, np.zeros((3, 2)), np.stack([np.eye(2)] * 3))
    rng, alone = np.random.default_rng(8), np.random.default_rng(8)
    inject_text(circle(4).repeat(5), laws, rng)
    alone.random(5)
    laws.draw_laws(5, alone)
    assert rng.random() == alone.random()
