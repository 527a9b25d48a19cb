"""Constants of the sample covariance: how much a root shrinks when a Gaussian is refitted to its own samples.

If nu + 1 images are drawn from N(mu, I), their unbiased covariance is W / nu with W ~ Wishart_d(nu, I).
Rotating the images rotates W, so the mean of its root is a multiple of the identity:

    E[(W / nu)^{1/2}] = c_d(nu) I.

The scalar c_d(nu) < 1 is the constant behind Gao & Li 2025, Theorems 3.3, 5.1 and 6.2.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import mpmath  # type: ignore[import-untyped]  # ships no types
import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from coevo._validation import Array, integer, integer_array, plain

__all__ = ["contraction_constant"]


def contraction_constant(dof: ArrayLike, dim: int) -> Any:
    """Return c_d(nu), defined by E[(W / nu)^{1/2}] = c_d(nu) I for W ~ Wishart_d(nu, I).

    Beyond the paper: Gao & Li 2025 (Theorem 3.3) use this scalar but give no formula for it.

    * d = 1: c_1(nu) = sqrt(2/nu) Gamma((nu+1)/2) / Gamma(nu/2), the constant c_4 of a sample standard deviation.
    * d = 2: c_2(nu) = sqrt(1/(2 nu)) Gamma(nu+1/2) / Gamma(nu) 2F1(-1/2, nu-1; nu; -1).
    * d >= 3: the mean of sum_k sqrt(lambda_k) over the real Laguerre ensemble by de Bruijn's Pfaffian; a
      finite algebraic expression, evaluated with more and more digits until two evaluations agree.
    * nu < d (W is singular): c_d(nu) = sqrt(nu/d) c_nu(d), since W and its dual nu x nu Wishart matrix with
      d degrees of freedom have the same non-zero eigenvalues.

    The relative error is a few units of double rounding (below 1e-14) in every branch.

    Parameters
    ----------
    dof : int or array of int, shape (...)
        Degrees of freedom nu >= 1; nu = n - 1 when the covariance is fitted to n images.
    dim : int
        Dimension d >= 1 of the image space.

    Returns
    -------
    float or ndarray, shape (...)
        A float for a scalar `dof`. The results for d >= 3 are cached, one number at a time.

    Raises
    ------
    TypeError, ValueError
        If `dof` or `dim` is not an integer of at least 1.
    """
    nu = integer_array("dof", dof, minimum=1)
    d = integer("dim", dim, minimum=1)
    if d == 1:
        value = _gamma_ratio(nu / 2)
    elif d == 2:
        # sqrt(1/(2 nu)) Gamma(nu+1/2)/Gamma(nu) 2F1: the ratio divided by sqrt(nu) tends to 1.
        value = _gamma_ratio(nu.astype(float)) * special.hyp2f1(-0.5, nu - 1, nu, -1.0) / np.sqrt(2)
    else:
        value = np.array([_pfaffian_constant(int(n), d) for n in nu.flat]).reshape(nu.shape)
    return plain(value)


def _gamma_ratio(x: Array) -> Array:
    """Return Gamma(x + 1/2) / (Gamma(x) sqrt(x)) to double precision."""
    small = np.minimum(x, 32.0)
    direct = special.gamma(small + 0.5) / special.gamma(small) / np.sqrt(small)
    # A difference of log-gammas would lose digits in proportion to x; the Stirling series of the difference
    # loses none, and from x = 32 on its first omitted term, 31 / (18432 x^9), is below 5e-17.
    y = 1 / np.maximum(x, 32.0)
    series = np.exp(y * (-1 / 8 + y**2 * (1 / 192 + y**2 * (-1 / 640 + y**2 * 17 / 14336))))
    return np.asarray(np.where(x < 32.0, direct, series))


@cache
def _pfaffian_constant(dof: int, dim: int) -> float:
    if dof < dim:
        return float(np.sqrt(dof / dim)) * _pfaffian_constant(dim, dof)
    # The monomial basis is ill-conditioned: raise the working precision until the answer no longer moves.
    bits, before = 64 + 8 * dim, mpmath.mpf("inf")
    while True:
        with mpmath.workprec(bits):
            value = _root_trace(dof, dim) / (dim * mpmath.sqrt(dof))
            if abs(value - before) < mpmath.mpf(2) ** -60:
                return float(value)
        bits, before = 2 * bits, value


def _root_trace(dof: int, dim: int) -> Any:
    """Return E tr W^{1/2} at the working precision of mpmath, for dof >= dim.

    The eigenvalues of W have density proportional to prod_k w(x_k) prod_{j<k} |x_j - x_k| with
    w(x) = x^{(nu-d-1)/2} e^{-x/2}. By de Bruijn (1955), E prod_k (1 + z sqrt(x_k)) = Pf A(z) / Pf A(0) with

        A_jk(z) = int int sgn(y - x) x^j y^k (1 + z sqrt x)(1 + z sqrt y) w(x) w(y) dx dy,   0 <= j, k < d,

    and, if d is odd, one more row and column with entries int x^j (1 + z sqrt x) w(x) dx. The derivative of
    ln Pf A at z = 0 is E sum_k sqrt(x_k) = tr(A^{-1} A') / 2.
    """
    half = mpmath.mpf(1) / 2
    a0 = mpmath.mpf(dof - dim - 1) / 2
    # Integration by parts gives I(a + 1, b) = 2 (a + 1) I(a, b) - 4 Gamma(a + b + 2) for
    # I(a, b) = int int sgn(y - x) x^a y^b e^{-(x+y)/2} = -I(b, a): every entry follows from the two below.
    pairs, mixed = [[mpmath.mpf(0)]], [[_first_mixed_integral(a0)]]
    for table, shift in ((pairs, mpmath.mpf(0)), (mixed, half)):  # rows a0 + shift + j, columns a0 + k
        gamma = _gammas(2 * a0 + shift + 2, 2 * dim)
        for j in range(dim - 1):
            table.append([2 * (a0 + shift + j + 1) * table[j][0] - 4 * gamma[j]])
        for j, row in enumerate(table):
            for k in range(dim - 1):
                row.append(2 * (a0 + k + 1) * row[k] + 4 * gamma[j + k])
    # Divide row and column j by int x^j w(x) dx, which changes no ratio of Pfaffians and keeps the entries near 1.
    mass = [g * mpmath.mpf(2) ** (a0 + j + 1) for j, g in enumerate(_gammas(a0 + 1, dim))]
    border = [g * mpmath.mpf(2) ** (a0 + j + 3 * half) for j, g in enumerate(_gammas(a0 + 3 * half, dim))]
    size = dim + dim % 2
    matrix, slope = mpmath.zeros(size), mpmath.zeros(size)
    for j in range(dim):
        for k in range(dim):
            matrix[j, k] = pairs[j][k] / mass[j] / mass[k]
            slope[j, k] = (mixed[j][k] - mixed[k][j]) / mass[j] / mass[k]
        if dim % 2:
            matrix[j, dim], slope[j, dim] = mpmath.mpf(1), border[j] / mass[j]
            matrix[dim, j], slope[dim, j] = -matrix[j, dim], -slope[j, dim]
    solution = mpmath.inverse(matrix) * slope
    return sum(solution[k, k] for k in range(size)) / 2


def _gammas(x: Any, count: int) -> list[Any]:
    """Return Gamma(x), Gamma(x + 1), ..., `count` of them."""
    values = [mpmath.gamma(x)]
    for j in range(count - 1):
        values.append((x + j) * values[-1])
    return values


def _first_mixed_integral(a: Any) -> Any:
    """Return I(a + 1/2, a) for a = -1/2, 0, 1/2, 1, ...: the first two by hand, then step by step up from there."""
    chain = _mixed_integrals(a % 1 == 0, mpmath.mp.prec)
    half = mpmath.mpf(1) / 2
    while (b := chain[-1][0]) < a:
        _, value, factorial = chain[-1]  # b, I(b + 1/2, b), Gamma(2b + 5/2)
        value = 2 * (b + 1) * (2 * (b + 3 * half) * value - 4 * factorial) + 4 * (2 * b + 5 * half) * factorial
        chain.append((b + 1, value, (2 * b + 5 * half) * (2 * b + 7 * half) * factorial))
    return chain[int(a - chain[0][0])][1]


@cache
def _mixed_integrals(whole: bool, bits: int) -> list[tuple[Any, Any, Any]]:
    """Return the start of a list that `_first_mixed_integral` extends: one per parity and working precision."""
    half = mpmath.mpf(1) / 2
    if whole:
        return [(mpmath.mpf(0), mpmath.gamma(3 * half) * (4 - 4 * mpmath.sqrt(2)), mpmath.gamma(5 * half))]
    return [(-half, mpmath.gamma(half) * (2 * mpmath.sqrt(2) - 4), mpmath.gamma(3 * half))]
