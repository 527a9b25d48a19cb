"""Verdicts: rates, power, and the ways a check can be misused."""

import numpy as np
import pytest
from scipy import stats

from coevo.evidence import FALSE_ALARM, POWER, Verdicts, check_equal, check_lower, check_upper, summary

CHECKS = (check_lower, check_upper, check_equal)


def violation_rate(check, shift, *, false_alarm, skewed=False, experiments=4000, runs=400):
    """Fraction of experiments in which a mean `shift` above or below the bound is called a violation."""
    rng = np.random.default_rng(5)
    values = rng.exponential(size=(experiments, runs)) if skewed else 1 + rng.standard_normal((experiments, runs))
    mean, se = values.mean(axis=1), values.std(axis=1, ddof=1) / np.sqrt(runs)
    skewness = stats.skew(values, axis=1) if skewed else np.zeros(experiments)
    verdicts = [
        check("x", m, s, 1.0 + shift, runs=runs, skewness=g, false_alarm=false_alarm)
        for m, s, g in zip(mean, se, skewness, strict=True)
    ]
    return np.mean([not v.passed for v in verdicts])


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("skewed", [False, True])
def test_false_alarm_rate_is_kept(check, skewed):
    rate = 0.02
    # 6 standard errors of a binomial proportion over 4000 experiments
    assert violation_rate(check, 0.0, false_alarm=rate, skewed=skewed) < rate + 6 * np.sqrt(rate / 4000)


@pytest.mark.parametrize("check", CHECKS)
def test_a_detectable_violation_is_detected(check):
    sign = 1.0 if check is check_lower else -1.0
    size = check("x", 1.0, 1 / np.sqrt(400), 1.0, runs=400, false_alarm=0.01).detectable
    assert violation_rate(check, sign * 1.05 * size, false_alarm=0.01) > POWER - 6 * np.sqrt(1e-3 / 4000)


def test_a_violation_far_below_detectable_is_missed():
    """The negative control of `detectable`: a tenth of it passes nearly always."""
    size = check_lower("x", 1.0, 0.05, 1.0, runs=400, false_alarm=0.01).detectable
    assert violation_rate(check_lower, 0.1 * size, false_alarm=0.01) < 0.05


def test_words_and_margins():
    above = check_lower("x", 2.0, 0.1, 1.0, runs=100)
    assert (above.word, above.passed) == ("holds", True)
    assert above.margin == pytest.approx(10)
    below = check_lower("x", 0.0, 0.1, 1.0, runs=100)
    assert (below.word, below.passed) == ("VIOLATED", False)
    assert check_upper("x", 0.0, 0.1, 1.0, runs=100).word == "holds"
    assert check_upper("x", 2.0, 0.1, 1.0, runs=100).word == "VIOLATED"
    assert check_lower("x", 1.05, 0.1, 1.0, runs=100).word == "attained"
    assert check_equal("x", 1.05, 0.1, 1.0, runs=100).word == "equal"
    assert check_equal("x", 2.0, 0.1, 1.0, runs=100).margin == pytest.approx(-10)


def test_exact_quantities_allow_rounding_and_nothing_more():
    assert check_equal("x", 0.1 + 0.2, 0.0, 0.3).passed
    assert not check_equal("x", 0.3 + 1e-9, 0.0, 0.3).passed
    assert check_equal("x", 0.0, 0.0, 0.0).passed


def test_two_sided_and_skewed_checks_are_wider():
    one, two = check_lower("x", 1, 1, 1, runs=100), check_equal("x", 1, 1, 1, runs=100)
    assert one.tolerance == pytest.approx(stats.t.isf(FALSE_ALARM, 99))
    assert two.tolerance == pytest.approx(stats.t.isf(FALSE_ALARM / 2, 99))
    assert check_equal("x", 1, 0, 1).tolerance == pytest.approx(stats.norm.isf(FALSE_ALARM / 2))
    assert check_lower("x", 1, 1, 1, runs=100, skewness=-3.0).tolerance > one.tolerance


def test_table_requires_reports_and_sums():
    good = Verdicts(check_lower("first <quantity>", 2.0, 0.1, 1.0, runs=100), check_equal("second", 1.0, 0.0, 1.0))
    assert good.require() is good
    assert good.passed
    assert len(list(good)) == 2
    assert good.false_alarm == pytest.approx(2 * FALSE_ALARM)
    assert "first <quantity>" in repr(good)
    assert "first &lt;quantity&gt;" in good._repr_html_()
    bad = Verdicts(*good, check_upper("third", 2.0, 0.1, 1.0, runs=100))
    with pytest.raises(AssertionError, match=r"1 of 3 claims violated\n.*\nthird .*VIOLATED"):
        bad.require()
    assert '<tr class="violated">' in bad._repr_html_()


def test_numbers_are_written_to_the_second_digit_of_their_error():
    for mean, se, written in (
        (0.28553, 0.0047, "0.2855 ± 0.0047"),
        (2e7, 31000.0, "2e+07 ± 3.1e+04"),
        (5e-9, 3e-11, "5e-09 ± 3e-11"),
    ):
        assert f" {written} " in repr(Verdicts(check_lower("x", mean, se, 0.0, runs=100)))


def test_summary_is_what_scipy_says_of_the_runs():
    values = np.random.default_rng(6).exponential(size=50)
    found = summary(values)
    assert found["simulated"] == pytest.approx(values.mean())
    assert found["standard_error"] == pytest.approx(stats.sem(values))
    assert found["skewness"] == pytest.approx(stats.skew(values))
    assert found["runs"] == 50
    assert summary([2.0, 2.0])["skewness"] == 0.0
    assert check_equal("x", bound=1.0, **found).passed
    with pytest.raises(ValueError, match="runs of values must be an integer >= 2, got 1"):
        summary([1.0])


def test_an_empty_table_is_no_evidence():
    with pytest.raises(ValueError, match="verdicts must be at least one Verdict, got none"):
        Verdicts()


def test_a_bound_far_from_an_exact_number_has_a_margin():
    assert "exact" not in repr(Verdicts(check_lower("x", 5.0, 0.0, 1.0)))
    assert "exact" in repr(Verdicts(check_equal("x", 1.0, 0.0, 1.0)))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("x", np.nan, 1.0, 1.0), {}, r"simulated must lie in \(-inf, inf\), got nan"),
        (("x", "1", 1.0, 1.0), {}, r"simulated must be a number .* got '1'"),
        (("x", 1.0, -1.0, 1.0), {}, r"standard_error must lie in \[0, inf\), got -1"),
        (("x", 1.0, 1.0, np.inf), {}, r"bound must lie in .* got inf"),
        (("x", 1.0, 1.0, 1.0), {"false_alarm": 0.5}, r"false_alarm must lie in \(0, 0.5\), got 0.5"),
        (("x", 1.0, 1.0, 1.0), {"runs": 1}, r"runs must be an integer >= 2, got 1"),
        (("x", 1.0, 1.0, 1.0), {}, r"runs must be an integer >= 2, got None"),
        ((3, 1.0, 1.0, 1.0), {"runs": 2}, r"quantity must be a str, got 3"),
    ],
)
@pytest.mark.parametrize("check", CHECKS)
def test_bad_input(check, arguments, options, message):
    with pytest.raises((TypeError, ValueError), match=message):
        check(*arguments, **options)


def test_table_refuses_other_things():
    with pytest.raises(TypeError, match="verdicts must be a Verdict, got 3"):
        Verdicts(3)


@pytest.mark.parametrize(("check", "sides"), [(check_lower, 1), (check_upper, 1), (check_equal, 2)])
@pytest.mark.parametrize(("runs", "skewness", "rate"), [(20, 0.0, 0.01), (30, 3.0, 1e-4), (500, -2.0, FALSE_ALARM)])
def test_tolerance_is_student_and_the_first_term_of_cornish_and_fisher(check, sides, runs, skewness, rate):
    z = stats.norm.isf(rate / sides)
    expected = stats.t.isf(rate / sides, runs - 1) + abs(skewness) / np.sqrt(runs) * (z**2 - 1) / 6
    options = {"runs": runs, "skewness": skewness, "false_alarm": rate}
    assert check("x", 1.0, 0.1, 1.0, **options).tolerance == pytest.approx(expected, rel=1e-9)
    sign = -1.0 if check is check_lower else 1.0
    assert check("x", 1.0 + sign * 0.0999 * expected, 0.1, 1.0, **options).passed
    assert not check("x", 1.0 + sign * 0.1001 * expected, 0.1, 1.0, **options).passed


@pytest.mark.parametrize("value", [1.0, -3e-200, 7e200])
def test_the_unit_of_an_exact_quantity_is_1e_12_of_it(value):
    """The tolerance is the normal quantile, 6.5 for two sides, in units of 1e-12."""
    z = stats.norm.isf(FALSE_ALARM / 2)
    assert check_equal("x", value * (1 + 0.99e-12 * z), 0.0, value).passed
    assert not check_equal("x", value * (1 + 1.01e-12 * z), 0.0, value).passed
    # a standard error below that is rounding, too
    assert check_equal("x", value * (1 + 2e-12), 1e-20 * abs(value), value, runs=100).passed


@pytest.mark.parametrize("scale", [2.0**-498, 1.0, 2.0**498])
def test_a_summary_has_the_unit_of_its_values(scale):
    values = np.random.default_rng(6).exponential(size=50)
    plain, found = summary(values), summary(scale * values)
    assert found["skewness"] == pytest.approx(plain["skewness"], rel=1e-12)
    assert found["standard_error"] == pytest.approx(scale * plain["standard_error"], rel=1e-12, abs=0)


@pytest.mark.parametrize(
    ("rows", "words"),
    [(1, "1e-10"), (3, "3e-10"), (10, "1e-09"), (11, "2e-09"), (15, "2e-09"), (20, "2e-09"), (91, "1e-08")],
)
def test_the_chance_of_a_false_alarm_is_rounded_up(rows, words):
    table = Verdicts(*(check_lower("mean", 1.0, 0.1, 0.0, runs=100) for _ in range(rows)))
    assert f"at most {words}." in table._repr_html_()
