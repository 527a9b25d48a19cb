"""How little from outside is enough? The least outside data that guarantees a wanted diversity: Laws 5.1 to 5.5.

Beyond Gao & Li 2025, Theorems 6.1 to 6.3. Two remedies, two calculators.

*New texts.* In each macro step, independently of the past and of the other steps, a random mass eps in [0, 1] goes to
new texts in shares w_1, ..., w_r. This turns the mean text diversity x into A x + B,

    A = E (1 - eps)^2,  B = 1 - A - G,  G = E eps^2 sum_j w_j^2,

and the S_T text updates keep between Q = (1 - 1/M)^{S_T} and all of it. Below, g = (1 - Q) / Q.

*User images.* n images of the model and m of the users in each refit, as in `coevo.theory.user_diversity`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from coevo import _validation as check
from coevo.measures import image_diversity
from coevo.theory import user_diversity
from coevo.theory.image import Bounds, expected_image_diversity_ellipse
from coevo.theory.user_moments import limit_factors
from coevo.wishart import contraction_constant

__all__ = [
    "Schedule",
    "fewest_new_texts",
    "highest_floor",
    "injection_bounds",
    "injection_limits",
    "least_injected_mass",
    "least_user_images",
    "least_user_images_for_drift",
    "level_share_bounds",
    "limit_level",
]


class Schedule(NamedTuple):
    """Corpus injections: with probability `injection_prob` in each step, `texts` new texts share `injection_fraction`.

    They share it equally; on average injection_prob * texts new texts enter in a step.
    """

    injection_prob: float
    injection_fraction: float
    texts: int


def injection_limits(
    text_samples: int,
    fractions: ArrayLike,
    probabilities: ArrayLike,
    texts: ArrayLike = 1.0,
    text_updates: int = 1,
) -> Bounds:
    """Return the limits D* = Q B / (1 - Q A) and C = B / (1 - A) between which E[D_t] ends, for any law of injections.

    Beyond the paper; Law 5.1. The sharp form of Gao & Li 2025, Theorem 6.1, for random and divided injections. D* is
    the limit if the images separate the texts, C if all image laws coincide.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    fractions, probabilities : arrays, shape (L,)
        Possible values of eps in [0, 1] and their probabilities; what is missing to 1 is the probability of eps = 0.
    texts : float or array, shape (L,)
        New texts that share each eps: 1 / sum_j w_j^2 >= 1, the number of texts if the shares are equal.
    text_updates : int
        S_T >= 1.

    Returns
    -------
    Bounds
        Two floats; C is nan if nothing is ever injected.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    lost, gained = _injection(fractions, probabilities, texts)
    kept = 1 - _price(text_samples, text_updates)[0]
    ceiling = gained / lost if lost > 0 else float("nan")
    return Bounds(kept * gained / (1 - kept + kept * lost), ceiling)


def injection_bounds(
    initial_diversity: float,
    text_samples: int,
    fractions: ArrayLike,
    probabilities: ArrayLike,
    t: ArrayLike,
    texts: ArrayLike = 1.0,
    text_updates: int = 1,
) -> Bounds:
    """Return D* + (D_0 - D*) (Q A)^t and C + (D_0 - C) A^t, between which E[D_t] lies at every t.

    Beyond the paper; Law 5.1. The lower bound is exact for separated images, the upper one if all images coincide.

    Parameters
    ----------
    initial_diversity : float
        D_0 in [0, 1].
    text_samples, fractions, probabilities, texts, text_updates
        As in `injection_limits`.
    t : int or array of int, shape (...)
        Macro steps, at least 0.

    Returns
    -------
    Bounds
        Floats or arrays of the shape of `t`.

    Raises
    ------
    TypeError, ValueError
        As `injection_limits`.
    """
    start = check.probability("initial_diversity", initial_diversity)
    times = check.integer_array("t", t, minimum=0)
    lost, _ = _injection(fractions, probabilities, texts)
    floor, ceiling = injection_limits(text_samples, fractions, probabilities, texts, text_updates)
    log_kept = special.xlog1py(times, -_price(text_samples, text_updates)[0])
    log_left = special.xlog1py(times, -lost)
    both, own = np.exp(log_kept + log_left), np.exp(log_left)
    upper = start * own + (ceiling * (1 - own) if lost > 0 else 0.0)
    return Bounds(check.plain(floor + (start - floor) * both), check.plain(upper))


def highest_floor(text_samples: int, texts: float = 1.0, text_updates: int = 1) -> float:
    """Return the highest diversity that injections of up to `texts` new texts a step can guarantee.

    Beyond the paper; Law 5.2: 2 / (b + sqrt(b^2 - 4 (1 + g))), b = 2 + g (1 + 1/r). With one text it is
    1 - sqrt(1 - Q), 1 - 1/sqrt(M) for S_T = 1; for r -> inf it is Q, which no schedule reaches.

    Parameters
    ----------
    text_samples : int
        M >= 1.
    texts : float
        r >= 1, may be inf.
    text_updates : int
        S_T >= 1.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    _, g = _price(text_samples, text_updates)
    b = 2 + g * (1 + 1 / _effective_texts(texts))
    return float(2 / (b + np.sqrt(b**2 - 4 * (1 + g)))) if np.isfinite(g) else 0.0


def least_injected_mass(wanted: float, text_samples: int, texts: float = 1.0, text_updates: int = 1) -> float:
    """Return the least mean mass E eps per macro step that guarantees the diversity w, over all laws of eps.

    Beyond the paper; Law 5.2: w g / (1 - w + sqrt((1 - w)^2 - w g (1 + 1/r - w))). It is reached by the same small
    injection in every step, alpha = 1, and by nothing else.

    Parameters
    ----------
    wanted : float
        w in [0, 1).
    text_samples, texts, text_updates
        As in `highest_floor`.

    Returns
    -------
    float
        In [0, 1]; inf if w is more than `highest_floor`.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    w = check.number("wanted", wanted, minimum=0.0, maximum=1.0, open_maximum=True)
    share = 1 / _effective_texts(texts)
    _, g = _price(text_samples, text_updates)
    if w == 0:
        return 0.0
    room = (1 - w) ** 2 - w * g * (1 + share - w)
    # rounding may put a w that is just reached a hair too high
    return float(w * g / (1 - w + np.sqrt(max(room, 0.0)))) if room >= -1e-14 else float("inf")


def fewest_new_texts(wanted: float, text_samples: int, text_updates: int = 1) -> Schedule:
    """Return the schedule that guarantees the diversity w with the fewest new texts per macro step, up to rounding.

    Beyond the paper; Law 5.2. While alpha = ((1 - w)^{-2} - 1) g <= 1: single texts with this probability and
    eps = (1 - w) / (2 - w); no schedule of fewer texts on average will do. Otherwise at least
    nu = w (1 - Q) / ((1 - w) (Q - w)) texts per step are needed on average; the schedule divides an injection in every
    step equally among ceil(nu).

    Parameters
    ----------
    wanted : float
        w in (0, Q), Q = (1 - 1/M)^{S_T}: more than that no schedule guarantees.
    text_samples : int
        M >= 2.
    text_updates : int
        S_T >= 1.

    Returns
    -------
    Schedule

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    w = check.number("wanted", wanted, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    lost, g = _price(check.integer("text_samples", text_samples, minimum=2), text_updates)
    if w >= 1 - lost:
        raise ValueError(
            f"wanted must be less than (1 - 1/M)^S = {1 - lost:.6g}, the most any injection keeps, got {w}"
        )
    alpha = w * (2 - w) / (1 - w) ** 2 * g
    if alpha <= 1:
        return Schedule(alpha, (1 - w) / (2 - w), 1)
    texts = int(np.ceil(w * lost / ((1 - w) * (1 - lost - w)) * (1 - 1e-12)))
    return Schedule(1.0, (1 - w) / (1 + 1 / texts - w), texts)


def level_share_bounds(user_images: int, dim: int) -> Bounds:
    """Return numbers between which the level of the image diversity lies, as a share of the users', for every n >= 1.

    Beyond the paper; Law 5.3: sqrt((m - d - 2) / (m + d + 1)), zero for m <= d + 2, and sqrt(2 m / (2 m - 1)). In one
    dimension the lower one is sqrt((m - 3/2) / (m + 1/2 - 2/pi)), from m = 2 on.

    Parameters
    ----------
    user_images : int >= 1
        m.
    dim : int >= 1
        d.

    Returns
    -------
    Bounds
        Two floats.

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type or range.
    """
    m = check.integer("user_images", user_images, minimum=1)
    d = check.integer("dim", dim, minimum=1)
    lower = (m - 1.5) / (m + 0.5 - 2 / np.pi) if d == 1 else (m - d - 2) / (m + d + 1)
    return Bounds(float(np.sqrt(max(lower, 0.0))), float(np.sqrt(m / (m - 0.5))))


def limit_level(user_images: int, user_cov: ArrayLike) -> float:
    """Return the limit, for n -> infinity, of the level of E tr Sigma_t^{1/2}, exactly, in one or two dimensions.

    Beyond the paper; Law 5.4. It is sqrt(1 + 1 / (2 m)) times the mean diversity of the sample covariance of 2 m + 2
    user images: the limit law of Sigma_t is inverse Wishart with 2 m + d degrees of freedom and scale 2 m Sigma*.

    Parameters
    ----------
    user_images : int >= 1
        m.
    user_cov : array, shape (d, d), d <= 2
        Sigma*, positive semidefinite.

    Returns
    -------
    float

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    m = check.integer("user_images", user_images, minimum=1)
    user = check.single_covariance("user_cov", user_cov)
    if len(user) > 2:
        raise ValueError(f"user_cov must have shape (1, 1) or (2, 2), got {user.shape}")
    dof = 2 * m + 1
    if len(user) == 1:
        refit = float(contraction_constant(dof, 1) * np.sqrt(user[0, 0]))
    else:
        refit = float(expected_image_diversity_ellipse(user, dof, 1))
    return float(np.sqrt(1 + 1 / (2 * m)) * refit)


def least_user_images(images: int, share: float, user_cov: ArrayLike) -> int:
    """Return the least m whose best floor is at least `share` of the users' diversity tr Sigma*^{1/2}.

    Beyond the paper; Law 5.5. So many are enough; fewer may do, as the floor is not attained. All m from 1 on are
    tried, so that the least one is found whether or not the floor increases; Law 5.3 says where the search must end.

    Parameters
    ----------
    images : int >= 1
        n, own images in each update.
    share : float
        In (0, 1).
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite and not zero.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n = check.integer("images", images, minimum=1)
    part = check.number("share", share, minimum=0.0, maximum=1.0, open_minimum=True, open_maximum=True)
    user = check.single_covariance("user_cov", user_cov)
    wanted = part * float(image_diversity(user))
    if wanted == 0:
        raise ValueError("user_cov must not be zero: then there is no diversity to guarantee")
    m = 1
    while user_diversity.best_floor(n, m, user) < wanted:
        m += 1
    return m


def least_user_images_for_drift(images: int, drift: float, user_cov: ArrayLike) -> int:
    """Return the least m whose limit of the root mean square distance from the users, sqrt(F_inf), is at most `drift`.

    Beyond the paper; Law 5.5. With tau = tr Sigma* / drift^2 it is the ceiling of the positive root of
    m^2 + (2 n - 1 - tau) m - n - (n - 1) tau, at most tau rounded up and, for tau > 1, more than (tau + 1) / 2.

    Parameters
    ----------
    images : int >= 1
        n.
    drift : float > 0
        In the units of the images.
    user_cov : array, shape (d, d)
        Sigma*, positive semidefinite.

    Returns
    -------
    int

    Raises
    ------
    TypeError, ValueError
        If an argument has the wrong type, shape or range.
    """
    n = check.integer("images", images, minimum=1)
    bound = check.number("drift", drift, minimum=0.0, open_minimum=True)
    tau = float(np.trace(check.single_covariance("user_cov", user_cov))) / bound**2
    half, product = (tau + 1 - 2 * n) / 2, n + (n - 1) * tau
    radius = np.hypot(half, np.sqrt(product))
    root = half + radius if half > 0 else product / (radius - half)
    m = max(int(root) - 1, 1)  # one below the rounded root: the exact condition decides
    while limit_factors(n, m).error * tau > 1 + 1e-12:
        m += 1
    return m


def _injection(fractions: ArrayLike, probabilities: ArrayLike, texts: ArrayLike) -> tuple[float, float]:
    """Return 1 - A and B, as means of positive terms: eps (2 - eps), and eps (2 - eps) - eps^2 / r."""
    eps = check.real_array("fractions", fractions, (None,))
    weight = check.real_array("probabilities", probabilities, eps.shape)
    if (eps < 0).any() or (eps > 1).any():
        raise ValueError(f"fractions must lie in [0, 1], got {eps}")
    if (weight < 0).any() or weight.sum() > 1 + 1e-12:
        raise ValueError(f"probabilities must be >= 0 with a sum of at most 1, got {weight}")
    number = np.asarray(check.real_array("texts", texts))
    if number.shape not in ((), eps.shape) or (number < 1).any():
        raise ValueError(f"texts must be numbers >= 1, one or as many as fractions, got {texts!r}")
    lost = eps * (2 - eps)
    return float(weight @ lost), float(weight @ (lost - eps**2 / number))


def _price(text_samples: int, text_updates: int) -> tuple[float, float]:
    """Return 1 - Q and g = (1 - Q) / Q, without cancellation; g is inf for M = 1."""
    m = check.integer("text_samples", text_samples, minimum=1)
    updates = check.integer("text_updates", text_updates, minimum=1)
    log_kept = special.xlog1py(updates, -1 / m)
    return float(-np.expm1(log_kept)), float(np.expm1(-log_kept))


def _effective_texts(texts: float) -> float:
    """Return r, which may be infinite."""
    if texts == float("inf"):
        return float("inf")
    return check.number("texts", texts, minimum=1.0)
