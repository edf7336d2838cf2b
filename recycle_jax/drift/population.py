"""Distances between sets of clips in the features of a fixed random network: reported, never used for exits.

Random convolutional features need no downloaded weights and are the same for everybody who uses the same
`seed`. Two frames at a time are stacked on the channels, so that motion counts. With feature means and
covariances `μ, Σ` and the cubic kernel `k(x, y) = (x·y / d + 1)³`:

    fréchet = |μ1 - μ2|² + tr(Σ1 + Σ2 - 2 (Σ1 Σ2)^½)          (Dowson and Landau 1982)             (1)
    mmd²    = mean_{i≠j} k(x_i, x_j) + mean_{i≠j} k(y_i, y_j) - 2 mean_{ij} k(x_i, y_j)   (unbiased)   (2)
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float
from scipy import linalg

from recycle_jax.typing import Frames

Features = Float[np.ndarray, "_ d"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RandomFeatures:
    """A fixed random convolutional network.

    Attributes:
        seed: decides the weights; distances compare only at the same seed and widths.
        widths: channels of each layer; every layer halves the frame.
    """

    seed: int = 0
    widths: tuple[int, ...] = (16, 32, 32)

    def __call__(self, clips: Frames) -> Float[Array, "n d"]:
        """Returns the mean and the spread of the last layer's channels, for clips `[n, t >= 2, h, w, c]`."""
        pairs = jnp.concatenate([clips[:, :-1], clips[:, 1:]], axis=-1)
        x = pairs.reshape(-1, *pairs.shape[2:])
        key = jax.random.key(self.seed)
        for layer, width in enumerate(self.widths):
            shape = (3, 3, x.shape[-1], width)
            kernel = jax.random.normal(jax.random.fold_in(key, layer), shape) * (2.0 / np.prod(shape[:3])) ** 0.5
            x = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.leaky_relu(x, 0.2)
        x = x.reshape(*pairs.shape[:2], -1, self.widths[-1])
        return jnp.concatenate([x.mean(axis=(1, 2)), x.std(axis=(1, 2))], axis=-1)


def frechet(first: Features, second: Features) -> float:
    """Returns (1) between two sets of features, each of more than one row."""
    (mean1, cov1), (mean2, cov2) = _moments(first), _moments(second)
    # The eigenvalues of a product of two positive semi-definite matrices are real and not negative.
    roots = np.sqrt(np.maximum(linalg.eigvals(cov1 @ cov2).real, 0.0)).sum()
    return float(np.sum((mean1 - mean2) ** 2) + np.trace(cov1) + np.trace(cov2) - 2.0 * roots)


def mmd(first: Features, second: Features) -> float:
    """Returns the unbiased estimate (2), which may be slightly negative for equal distributions."""
    x, y = np.asarray(first, np.float64), np.asarray(second, np.float64)

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1.0) ** 3

    def off_diagonal_mean(gram: np.ndarray) -> float:
        return (gram.sum() - np.trace(gram)) / (len(gram) * (len(gram) - 1))

    return float(off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2.0 * kernel(x, y).mean())


def _moments(features: Features) -> tuple[np.ndarray, np.ndarray]:
    if len(features) < 2:
        raise ValueError(f"{len(features)} clips have no covariance: give at least 2, better hundreds")
    features = np.asarray(features, np.float64)
    return features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False))
