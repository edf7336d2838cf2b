"""Self Forcing judged by a kernel: the maximum mean discrepancy between own and real windows.

With windows `x_i` made from the contexts that the real windows `y_i` begin with,

    mmd2 = mean_{i != j} k(x_i, x_j) + k(y_i, y_j) - k(x_i, y_j) - k(y_i, x_j)                       (1)
    k(x, y) = mean_{f, m} exp(-|f(x) - f(y)|^2 / (2 m s_f))                                          (2)

over two kinds of features `f` and several widths `m`; `s_f` is the median squared distance between the batch's own
real windows, without gradient. (1) is the unbiased estimate for pairs (Gretton et al., JMLR 13, 2012, lemma 6): the
pairs `(x_i, y_i)`, which share a context, are left out, so that it is 0 on average where both are alike, and may be
slightly negative. It is taken among the rows of one device and averaged over devices, so that it depends on how many
rows a device has: 8 or more are sensible.

Features need no learned weights and are fixed by a seed:

    place    all frames of the window, averaged over tiles: what is where, and when
    texture  mean and spread over the frame of random convolutions of two frames at a time: what things look like and
             how they move, wherever they are
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from experiments.comparison.baselines.critic import SelfForcing
from recycle_jax.histories.base import Calls
from recycle_jax.typing import Frames, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowFeatures:
    """Features of windows that are fixed from the start.

    Attributes:
        seed: decides the random convolutions.
        tile: side, in pixels, of the tiles of `place`.
        widths: channels of each convolution of `texture`, each of which halves the frame.
    """

    seed: int = 0x4D4D
    tile: int = 2
    widths: tuple[int, ...] = (16, 32)

    def __post_init__(self) -> None:
        if self.tile < 1 or not self.widths:
            raise ValueError(f"tile is {self.tile} and widths {self.widths}: need a tile of a pixel and one layer")

    def __call__(self, windows: Frames) -> tuple[Array, Array]:
        """`(place [b, d], texture [b, e])` of `[b, t >= 2, h, w, c]`."""
        return self._place(windows), self._texture(windows)

    def _place(self, windows: Frames) -> Array:
        b, t, h, w, c = windows.shape
        size = (b, t, -(-h // self.tile), -(-w // self.tile), c)
        return jax.image.resize(windows, size, "linear", antialias=True).reshape(b, -1)

    def _texture(self, windows: Frames) -> Array:
        pairs = jnp.concatenate([windows[:, :-1], windows[:, 1:]], axis=-1)
        x = pairs.reshape(-1, *pairs.shape[2:])
        for layer, width in enumerate(self.widths):
            shape = (3, 3, x.shape[-1], width)
            key = jax.random.fold_in(jax.random.key(self.seed), layer)
            kernel = jax.random.normal(key, shape, x.dtype) * (2.0 / (9 * shape[2])) ** 0.5
            x = jax.lax.conv_general_dilated(x, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
            x = jax.nn.leaky_relu(x, 0.2)
        # The constant keeps the gradient of the root finite where a channel is flat.
        spread = jnp.sqrt(x.var(axis=(1, 2)) + 1e-4)
        return jnp.concatenate([x.mean(axis=(1, 2)), spread], axis=-1).reshape(windows.shape[0], -1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class KernelSelfForcing(SelfForcing):
    """Self Forcing by equation (1).

    Attributes:
        features: `f`.
        widths: `m`, factors on the median squared distance.
    """

    features: WindowFeatures = WindowFeatures()
    widths: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths or min(self.widths) <= 0.0:
            raise ValueError(f"widths is {self.widths}: give at least one, all positive")

    def criticise(self, memory: PyTree, made: Frames, real: Frames) -> Scalar:
        """Equation (1).

        Raises:
            ValueError: if a device has fewer than two rows.
        """
        del memory
        return mmd2(self.features(made), self.features(real), self.widths)

    def critic_calls(self) -> Calls:
        """Features of both windows, those of the made one with gradient; kernels among rows are not counted."""
        return Calls(forward=1.0, backward=1.0)


def mmd2(made: tuple[Array, ...], real: tuple[Array, ...], widths: tuple[float, ...]) -> Scalar:
    """Equations (1) and (2), between features `[b, d]` of paired windows, one array for each kind.

    Raises:
        ValueError: if there are fewer than two rows.
    """
    rows = real[0].shape[0]
    if rows < 2:
        raise ValueError(f"{rows} row on a device has no other one to compare with: use at least 2, better 8 or more")
    apart = 1.0 - jnp.eye(rows, dtype=real[0].dtype)
    total = jnp.float32(0.0)
    for x, y in zip(made, real, strict=True):
        between = _squared(y, y)
        scale = jax.lax.stop_gradient(_median_apart(between)) + 1e-12
        for width in widths:
            two = 2.0 * width * scale
            kernel = [jnp.exp(-d / two) for d in (_squared(x, x), between, _squared(x, y), _squared(y, x))]
            total += jnp.sum(apart * (kernel[0] + kernel[1] - kernel[2] - kernel[3]))
    return total / (rows * (rows - 1) * len(widths) * len(real))


def _squared(x: Array, y: Array) -> Array:
    """`[b, b]` squared distances, by differences: the usual product loses what is close."""
    return jnp.sum(jnp.square(x[:, None] - y[None]), axis=-1)


def _median_apart(squared: Array) -> Scalar:
    """The median of what is not on the diagonal."""
    rows = squared.shape[0]
    return jnp.median(squared.reshape(-1)[:-1].reshape(rows - 1, rows + 1)[:, 1:])
