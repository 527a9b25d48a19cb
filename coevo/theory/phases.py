"""Which of two collapsing models dies first: half-lives, the crossover, and the limit that one number decides.

Beyond the paper; built on Gao & Li 2025, Corollary 3.2 (text) and Theorem 3.3 (images). The images separate the texts
throughout, the text model starts uniform and every image model at sigma^2 I. Let M and N grow while

    theta = S_I M / (S_T N)

stays. Then the text model becomes the Wright-Fisher diffusion in the time tau = S_T t / M, the image model of text i a
matrix diffusion on its own clock u_i, du_i = theta dtau / p_i, and theta is all that is left of M, N, S_T and S_I.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from coevo import _validation as check
from coevo._validation import Array

__all__ = [
    "Share",
    "crossover",
    "half_life_clock",
    "limit_image_diversity",
    "limit_share",
]


class Share(NamedTuple):
    """A share of simulated paths and its standard error."""

    value: float
    standard_error: float


def limit_image_diversity(clock: ArrayLike, dim: int = 2) -> Any:
    """Return the mean image diversity of a text on the clock u = updates / (N p), as a share of its start.

    Beyond the paper: the limit of Theorem 3.3 for many images, from Sigma_0 = sigma^2 I and with a frozen text model.
    For d = 1 it is e^{-u/4}; for d = 2

        (1/2) [ (pi/2) e^{-u/4} + int_0^inf e^{-(3 + 2 r^2) u / 4} dr / ((1 + r^2) cosh(pi r)) ],

    since c_1(nu) = 1 - 1/(4 nu) + ... and omega(r) = 1 - (3 + 2 r^2)/(4 nu) + ... (`expected_image_diversity_plane`).

    Parameters
    ----------
    clock : float or array, shape (...)
        u >= 0.
    dim : int
        d, 1 or 2.

    Returns
    -------
    float or ndarray, shape (...)

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    d = _dimension(dim)
    u = check.real_array("clock", clock)
    if u.size and u.min() < 0:
        raise ValueError(f"clock must hold numbers >= 0, got {u.min():g}")
    u = np.minimum(u, 1e4)  # e^{-2500} is zero already, and the exponents below do not overflow
    long_run = np.exp(-u / 4)
    if d == 1:
        return check.plain(long_run)
    step = 0.05  # as in `coevo.theory.image`: the trapezoid rule errs by less than e^{-pi/step}
    r = np.arange(0, 12, step)
    height = step / ((1 + r**2) * np.cosh(np.pi * r))
    height[0] /= 2
    return check.plain((np.pi / 2 * long_run + np.exp(-(3 + 2 * r**2) / 4 * u[..., None]) @ height) / 2)


def half_life_clock(dim: int = 2) -> float:
    """Return u_d, the clock u = updates / (N p) at which half of the mean image diversity is gone.

    Beyond the paper: the root of `limit_image_diversity` = 1/2; u_1 = 4 ln 2 = 2.7726, u_2 = 2.1226.

    Parameters
    ----------
    dim : int
        d, 1 or 2.

    Raises
    ------
    TypeError, ValueError
        If `dim` is neither 1 nor 2.
    """
    d = _dimension(dim)
    return float(optimize.brentq(lambda u: limit_image_diversity(u, d) - 0.5, 0.0, 10.0, xtol=1e-13))


def crossover(
    image_samples: ArrayLike, image_updates: int, n_texts: int, *, dim: int = 2, text_updates: int = 1
) -> Any:
    """Return M* = (u_d / ln 2) S_T N / (K S_I), at which the half-lives of text and images agree.

    Beyond the paper: M ln 2 / S_T macro steps for the text model (Corollary 3.2, an equality for separated images), and
    u_d N / (K S_I) for the images of a text of mass 1/K; both are half-lives of means, to leading order in 1/M and K/N.
    It neglects that the text model moves while the images fade, and that runs scatter.

    Parameters
    ----------
    image_samples : int or array of int, shape (...)
        N >= 1.
    image_updates, text_updates : int
        S_I, S_T >= 1.
    n_texts : int
        K >= 2.
    dim : int
        d, 1 or 2.

    Returns
    -------
    float or ndarray, shape (...)
        For d = 2 and S_T = 1, 3.0623 N / (K S_I).

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    n = check.integer_array("image_samples", image_samples, minimum=1)
    images = check.integer("image_updates", image_updates, minimum=1)
    k = check.integer("n_texts", n_texts, minimum=2)
    texts = check.integer("text_updates", text_updates, minimum=1)
    return check.plain(half_life_clock(dim) / np.log(2) * texts * n / (k * images))


def limit_share(
    theta: float,
    n_texts: int = 5,
    *,
    rng: Any,
    dim: int = 2,
    level: float = 0.5,
    runs: int = 4000,
    resolution: int = 200,
) -> Share:
    """Return the probability that the text model dies first in the limit of many images, by simulating the limit.

    Beyond the paper. A model is dead when its diversity has fallen to `level` times its start, where the image
    diversity is averaged over the texts with their masses p. No image is drawn and
    no posterior computed: the text model makes Wright-Fisher steps of 1/m, m = `resolution`, and the triangular root L
    of the covariance of text i, on the clock du = theta / (m p_i), Gaussian ones, which are Bartlett's factors of
    few images seen from far:

        ln L_kk  by  -k du / 2 + sqrt(du / 2) g_k   (k = 1, 2),      L_21  to  L_21 e^{d ln L_11} + L_22 sqrt(du) g_3.

    Parameters
    ----------
    theta : float
        S_I M / (S_T N) > 0.
    n_texts : int
        K >= 2, of equal mass at the start.
    rng : seed or numpy.random.Generator
    dim : int
        d, 1 or 2.
    level : float
        In (0, 1); that the simulator's shares tend to the limit's is proved for at most 1/2.
    runs, resolution : int
        Paths and steps per unit of tau = S_T t / M, at least 2. With 50 steps in place of 200 the share moves by less
        than 0.04 (K = 5, theta = 0.7, d = 2).

    Returns
    -------
    Share
        (value, standard_error); a tie counts one half.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    theta = check.number("theta", theta, minimum=0.0, open_minimum=True)
    k = check.integer("n_texts", n_texts, minimum=2)
    d = _dimension(dim)
    level = check.number("level", level, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    runs = check.integer("runs", runs, minimum=2)
    m = check.integer("resolution", resolution, minimum=2)
    rng = check.generator(rng)
    p = np.full((runs, k), 1 / k)
    scale, slant = np.ones((d, runs, k)), np.zeros((runs, k))
    first = np.zeros(0)
    while len(p):
        p = rng.multinomial(m, p) / m
        # At most 400, which ends the images of a lost text; 1e-300 because theta / 400 may underflow.
        du = theta / np.maximum(m * p, max(theta / 400, 1e-300))
        scale, slant = _diffuse(scale, slant, du, rng.standard_normal((2 * d - 1, *p.shape)))
        text_dead = 1 - (p**2).sum(axis=1) <= level * (1 - 1 / k)
        image_dead = (p * _root_trace(scale, slant)).sum(axis=1) <= level * d
        over = text_dead | image_dead
        first = np.append(first, np.where(text_dead & image_dead, 0.5, text_dead)[over])
        p, scale, slant = p[~over], scale[:, ~over], slant[~over]
    return Share(float(first.mean()), float(first.std(ddof=1) / np.sqrt(runs)))


def _diffuse(scale: Array, slant: Array, du: Any, noise: Array) -> tuple[Array, Array]:
    """Move the roots L by du on their clocks: `scale` (d, R, K) holds L_kk, `slant` (R, K) holds L_21."""
    drift = -0.5 * np.arange(1, len(scale) + 1)[:, None, None]
    growth = np.exp(drift * du + np.sqrt(du / 2) * noise[: len(scale)])
    if len(scale) == 2:
        slant = slant * growth[0] + scale[1] * np.sqrt(du) * noise[2]
    return scale * growth, slant


def _root_trace(scale: Array, slant: Array) -> Array:
    """Return tr (L L')^{1/2}, the sum of the singular values of a triangular L of size 1 or 2."""
    if len(scale) == 1:
        return np.asarray(scale[0])
    return np.asarray(np.sqrt((scale**2).sum(axis=0) + slant**2 + 2 * scale.prod(axis=0)))


def _dimension(dim: Any) -> int:
    return check.integer("dim", dim, minimum=1, maximum=2)
