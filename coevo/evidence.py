"""Verdicts: a simulated mean held against a bound, with a stated chance of a false alarm.

A check passes if the simulated mean lies on the right side of the bound, up to a tolerance of z standard errors. The
factor z is the Student quantile of the false-alarm rate, moved outwards for skewed runs by the first Cornish-Fisher
term (Johnson 1978). The rate is therefore asymptotic in the number of runs; `FALSE_ALARM` leaves a factor of ten
thousand between one check and the promise made for the whole book, one false alarm in a million.

Every verdict also says what it could have seen: `detectable` is the violation that would be found with
probability `POWER`. A check that could not fail says nothing.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri, stdtrit

from coevo import _validation as check

__all__ = [
    "ATTAINED",
    "FALSE_ALARM",
    "POWER",
    "Verdict",
    "Verdicts",
    "check_equal",
    "check_lower",
    "check_upper",
    "summary",
]

#: Chance that one check fails although the claim holds. Ten thousand checks stay below one in a million.
FALSE_ALARM = 1e-10

#: Chance that a violation of size `detectable` is found.
POWER = 0.999

#: A bound is called attained if the simulated mean lies within so many standard errors of it.
ATTAINED = 3.0


@dataclass(frozen=True)
class Verdict:
    """One claim held against a simulation.

    Attributes
    ----------
    quantity : str, what was measured
    simulated : float, mean over the runs
    standard_error : float, of that mean
    relation : ">=", "<=" or "==", what the claim says of the simulated mean and the bound
    bound : float, what the theory says
    margin : float, distance from the bound in standard errors, positive on the allowed side; for "==" minus the
        distance
    tolerance : float, standard errors that the margin may fall below zero
    false_alarm : float, chance that the check fails although the claim holds
    detectable : float, size of a violation, in the units of the quantity, found with probability `POWER`
    passed : bool
    """

    quantity: str
    simulated: float
    standard_error: float
    relation: str
    bound: float
    margin: float
    tolerance: float
    false_alarm: float
    detectable: float
    passed: bool

    @property
    def word(self) -> str:
        """The verdict in a word: holds, attained, equal or VIOLATED."""
        if not self.passed:
            return "VIOLATED"
        if self.relation == "==":
            return "equal"
        return "attained" if abs(self.margin) <= ATTAINED else "holds"


def summary(values: Any) -> dict[str, Any]:
    """Summarise one number per run for a check: ``check_lower("quantity", bound=b, **summary(values))``.

    Parameters
    ----------
    values : array (R,), R >= 2, one number for each independent run

    Returns
    -------
    dict with the mean (`simulated`), its `standard_error`, `runs` and the `skewness` of a run

    Raises
    ------
    TypeError, ValueError
        If `values` does not hold at least two finite numbers.
    """
    values = check.real_array("values", values, (None,))
    runs = check.integer("runs of values", values.size, minimum=2)
    deviation = values - values.mean()
    unit = np.abs(deviation).max() or 1.0  # powers of very small or large numbers would be lost
    deviation = deviation / unit
    spread = np.sqrt((deviation**2).mean())
    skewness = float((deviation**3).mean() / spread**3) if spread > 0 else 0.0
    return {
        "simulated": float(values.mean()),
        "standard_error": float(unit * spread / np.sqrt(runs - 1)),
        "runs": runs,
        "skewness": skewness,
    }


def check_lower(
    quantity: str,
    simulated: Any,
    standard_error: Any,
    bound: Any,
    *,
    runs: int | None = None,
    skewness: Any = 0.0,
    false_alarm: float = FALSE_ALARM,
) -> Verdict:
    """Check the claim that a mean is at least `bound`. Arguments and errors are those of `check_equal`."""
    return _verdict(quantity, simulated, standard_error, bound, ">=", runs, skewness, false_alarm)


def check_upper(
    quantity: str,
    simulated: Any,
    standard_error: Any,
    bound: Any,
    *,
    runs: int | None = None,
    skewness: Any = 0.0,
    false_alarm: float = FALSE_ALARM,
) -> Verdict:
    """Check the claim that a mean is at most `bound`. Arguments and errors are those of `check_equal`."""
    return _verdict(quantity, simulated, standard_error, bound, "<=", runs, skewness, false_alarm)


def check_equal(
    quantity: str,
    simulated: Any,
    standard_error: Any,
    bound: Any,
    *,
    runs: int | None = None,
    skewness: Any = 0.0,
    false_alarm: float = FALSE_ALARM,
) -> Verdict:
    """Check the claim that a mean equals `bound`.

    Parameters
    ----------
    quantity : str, what was measured
    simulated : float, mean over independent runs
    standard_error : float >= 0, of that mean; 0 asks for exactness up to rounding
    bound : float, what the theory says
    runs : int >= 2, number of runs; may be left out if `standard_error` is 0
    skewness : float, optional, skewness of a single run (0 unless given)
    false_alarm : float in (0, 0.5), optional, `FALSE_ALARM` unless given

    Returns
    -------
    Verdict

    Raises
    ------
    TypeError, ValueError
        Naming the argument, what it may be, and what it was.
    """
    return _verdict(quantity, simulated, standard_error, bound, "==", runs, skewness, false_alarm)


def _verdict(
    quantity: str,
    simulated: Any,
    standard_error: Any,
    bound: Any,
    relation: str,
    runs: int | None,
    skewness: Any,
    false_alarm: float,
) -> Verdict:
    check.instance("quantity", quantity, str)
    simulated = check.number("simulated", simulated)
    standard_error = check.number("standard_error", standard_error, minimum=0.0)
    bound = check.number("bound", bound)
    skewness = check.number("skewness", skewness)
    false_alarm = check.number(
        "false_alarm", false_alarm, minimum=0.0, maximum=0.5, open_minimum=True, open_maximum=True
    )
    sides = 2 if relation == "==" else 1
    z = tolerance = -float(ndtri(false_alarm / sides))
    if standard_error > 0.0:
        count = check.integer("runs", runs, minimum=2)
        # The standard error is estimated: Student's quantile. Skewed runs make one tail of the mean longer: widening
        # both sides keeps the rate whichever it is.
        tolerance = -float(stdtrit(count - 1, false_alarm / sides)) + abs(skewness) / np.sqrt(count) * (z**2 - 1) / 6
    # Rounding is no violation: a deterministic quantity has no standard error.
    unit = max(standard_error, 1e-12 * max(abs(simulated), abs(bound)), np.finfo(float).tiny)
    sign = -1.0 if relation == "<=" else 1.0
    distance = sign * (simulated - bound) / unit
    margin = -abs(distance) if relation == "==" else distance
    detectable = (tolerance + float(ndtri(POWER))) * unit
    return Verdict(
        quantity,
        simulated,
        standard_error,
        relation,
        bound,
        float(margin),
        float(tolerance),
        false_alarm,
        float(detectable),
        bool(margin >= -tolerance),
    )


class Verdicts:
    """A table of verdicts, for a chapter or a test.

    Parameters
    ----------
    verdicts : verdicts, in the order of the rows

    Raises
    ------
    TypeError
        If something else than a Verdict is among them.
    ValueError
        If there are none: a table without claims would pass.
    """

    def __init__(self, *verdicts: Verdict) -> None:
        self.rows: tuple[Verdict, ...] = tuple(check.instance("verdicts", v, Verdict) for v in verdicts)
        if not self.rows:
            raise ValueError("verdicts must be at least one Verdict, got none")

    def __iter__(self) -> Iterator[Verdict]:
        return iter(self.rows)

    @property
    def passed(self) -> bool:
        """Whether every claim held."""
        return all(row.passed for row in self.rows)

    @property
    def false_alarm(self) -> float:
        """Upper bound on the chance that any of the checks fails although all claims hold."""
        return math.fsum(row.false_alarm for row in self.rows)

    def require(self) -> Verdicts:
        """Return the table if every claim held; raise AssertionError with the failed rows otherwise."""
        failed = [row for row in self.rows if not row.passed]
        if failed:
            raise AssertionError(f"{len(failed)} of {len(self.rows)} claims violated\n{_text(failed)}")
        return self

    def __repr__(self) -> str:
        return _text(self.rows)

    def _repr_html_(self) -> str:
        hidden = '<span class="coevo-hidden">relation</span>'  # the signs need no heading that is seen
        head = "".join(f'<th scope="col">{html.escape(name) or hidden}</th>' for name in _HEADER)
        body = "".join(
            f'<tr class="{"holds" if row.passed else "violated"}">'
            + "".join(f"<td>{html.escape(cell)}</td>" for cell in _cells(row))
            + "</tr>"
            for row in self.rows
        )
        failed = sum(not row.passed for row in self.rows)
        note = (
            f"{len(self.rows)} check{'s' * (len(self.rows) > 1)}, {failed or 'none'} violated. "
            f"Chance of a false alarm in this table: at most {_at_most(self.false_alarm)}. "
            f"“Detectable” is the violation found with probability {POWER:g}."
        )
        return (
            f'<table class="coevo-verdicts"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
            f'<p class="coevo-note">{note}</p>'
        )


_HEADER = ("quantity", "simulated ± se", "", "theory", "margin (se)", "detectable", "verdict")


def _cells(row: Verdict) -> tuple[str, ...]:
    # An equality can be missed on either side: its margin is shown with the sign of the deviation.
    shown = np.copysign(row.margin, row.simulated - row.bound) if row.relation == "==" else row.margin
    exact = row.standard_error == 0.0 and row.relation == "==" and row.passed
    margin = "exact" if exact else f"{shown:+.1f}"
    return (
        row.quantity,
        _with_error(row.simulated, row.standard_error),
        {">=": "≥", "<=": "≤", "==": "="}[row.relation],
        f"{row.bound:.5g}",
        margin,
        f"{row.detectable:.1g}",
        row.word,
    )


def _at_most(value: float) -> str:
    """Write a positive number with one digit, rounded up; the last bits of a sum do not count."""
    exponent = math.floor(math.log10(value * (1 + 1e-9)))
    digit = math.ceil(value / 10.0**exponent * (1 - 1e-9))
    return f"{digit * 10.0**exponent:.0e}"


def _with_error(value: float, standard_error: float) -> str:
    """Write a value to the second digit of its standard error."""
    if standard_error == 0.0:
        return f"{value:.5g}"
    decimals = 1 - int(np.floor(np.log10(standard_error)))
    if 0 <= decimals <= 7:
        return f"{value:.{decimals}f} ± {standard_error:.{decimals}f}"
    return f"{value:.4g} ± {standard_error:.2g}"


def _text(rows: Iterable[Verdict]) -> str:
    """Lay the rows out in columns of equal width."""
    table = [_HEADER, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_HEADER))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table
    )
