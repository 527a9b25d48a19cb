"""Other ways to make the updates, to be timed beside the engine: each draws from the same law.

None of them knows the engine. They take plain arrays: text models `p` (R, K), means (R, K, d) and covariances
(R, K, d, d), for R runs; `images_*` draw, `posterior_*` weigh, and an update is the one after the other.
"""

import numpy as np
from scipy import stats

#: Normals drawn, or exponentials taken, in one call of the bare floor: what stays in the processor's cache.
PIECE = 16384


def floor(shape, dim, rng):
    """Draw d normals for each image and take one exponential for each image and text, shape (K, R, M): nothing else."""
    rng.standard_normal((dim, *shape[1:]))
    return np.exp(np.full(shape, -1.0))


def bare_floor(shape, dim, rng):
    """Do the same with two small buffers that are used again: no memory is asked for, and none leaves the cache."""
    given, taken = np.full(PIECE, -1.0), np.empty(PIECE)
    n_texts, runs, samples = shape
    for left in range(dim * runs * samples, 0, -PIECE):
        rng.standard_normal(out=taken[:left])
    for left in range(n_texts * runs * samples, 0, -PIECE):
        np.exp(given[:left], out=taken[:left])
    return taken


def algebra(cov, coefficients, features):
    """Invert the covariances (R, K, d, d) and weigh the features of all images in one product of matrices.

    This is what the densities of K Gaussians take besides exponentials, each from the library's own routine.
    """
    np.linalg.inv(cov)
    return coefficients @ features


# ---- what a good user writes: whole arrays, all runs at once ---------------------------------------------------------


def images_vectorised(p, mean, cov, text_samples, rng):
    """Draw M images for each run, array (R, M, d)."""
    runs, _, dim = mean.shape
    cut = rng.random((runs, text_samples, 1))
    text = np.minimum((cut > p.cumsum(axis=1)[:, None]).sum(axis=-1), p.shape[1] - 1)
    run = np.arange(runs)[:, None]
    z = rng.standard_normal((runs, text_samples, dim))
    return mean[run, text] + np.einsum("rmij,rmj->rmi", np.linalg.cholesky(cov)[run, text], z)


def posterior_vectorised(images, p, mean, cov):
    """Return the posterior of each image, array (R, M, K)."""
    difference = images[:, :, None] - mean[:, None]
    square = (np.einsum("rkij,rmkj->rmki", np.linalg.inv(cov), difference) * difference).sum(axis=-1)
    weight = p / np.sqrt(np.linalg.det(cov))
    joint = weight[:, None] * np.exp(-0.5 * square)
    return joint / joint.sum(axis=-1, keepdims=True)


def text_update_vectorised(p, mean, cov, text_samples, rng):
    """Return the mean posterior of M images, array (R, K)."""
    images = images_vectorised(p, mean, cov, text_samples, rng)
    return posterior_vectorised(images, p, mean, cov).mean(axis=1)


# ---- the style of a script: one call of a library for each image and each density ------------------------------------


def images_library(p, mean, cov, text_samples, rng):
    """Draw M images for each run, array (R, M, d)."""
    images = np.empty((len(p), text_samples, mean.shape[-1]))
    for r in range(len(p)):
        for m in range(text_samples):
            text = rng.choice(p.shape[1], p=p[r])
            images[r, m] = rng.multivariate_normal(mean[r, text], cov[r, text])
    return images


def posterior_library(images, p, mean, cov):
    """Return the posterior of each image, array (R, M, K)."""
    runs, n_texts = p.shape
    posterior = np.empty((runs, images.shape[1], n_texts))
    for r in range(runs):
        for m, image in enumerate(images[r]):
            density = [stats.multivariate_normal.pdf(image, mean[r, k], cov[r, k]) for k in range(n_texts)]
            joint = p[r] * density
            posterior[r, m] = joint / joint.sum()
    return posterior


def text_update_library(p, mean, cov, text_samples, rng):
    """Return the mean posterior of M images, array (R, K)."""
    images = images_library(p, mean, cov, text_samples, rng)
    return posterior_library(images, p, mean, cov).mean(axis=1)


# ---- the image update by drawing every image ------------------------------------------------------------------------


def refit_drawn(mean, cov, images_each, rng):
    """Draw n images of every text, and return their means and unbiased covariances, (R, K, d) and (R, K, d, d)."""
    z = rng.standard_normal((*mean.shape[:2], images_each, mean.shape[-1]))
    images = z @ np.swapaxes(np.linalg.cholesky(cov), -1, -2)  # from the old mean
    shift = images.mean(axis=-2)
    images -= shift[..., None, :]
    return mean + shift, np.swapaxes(images, -1, -2) @ images / (images_each - 1)
