"""Training of a window restorer: real windows in, damaged as rollouts damage them; the windows out.

What drift does to frames is known in general, whatever the generator: it blurs, bleaches, lags and adds
smooth and white noise. Each row of a batch gets each of these at its own random strength,

    1  blur       x <- x + a (blur(x) - x)                      a ~ U(0, 1) on half of the rows
    2  bleaching  x <- x + a m(h, w) (wide_blur(x) - x)         a ~ U(0, 1) on half, m a smooth mask in [0, 1]
    3  lagging    x_t <- x_t + a_t (x_{t-1} - x_t)              a_t ~ U(0, 1) on half, t after the first
    4  noise      x <- x + l ((1 - b) white + b smooth)         l ~ U(0, most), b ~ U(0, 1)

and the network learns the way back from all of them at once, without being told which it was. Its answer is the mean
of the real windows that fit: a projection onto real video that moves a good window hardly at all and is the same at
every call, which noise drawn afresh before a denoiser is not.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import flow_matching as fm
from recycle_jax.data.base import Batch
from recycle_jax.generators.base import Example, Generator
from recycle_jax.policies.base import Drawn, ExamplePolicy, all_clean
from recycle_jax.policies.denoise import smooth_noise
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class RestoreWindows(ExamplePolicy):
    """Trains a `Predictor` whose context and chunk are one and the same window.

    Attributes:
        most: standard deviation of the strongest noise, in frame units.
        told: the level that the network is told, always the same.
        narrow: pixels on either side of the blur.
        wide: pixels on either side of the bleaching.
    """

    most: float = 0.15
    told: float = 0.2
    narrow: int = 1
    wide: int = 3

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The first `context_frames` frames of each clip, damaged, with themselves as target."""
        del params, bank
        window = batch.clip[:, : generator.context_frames]
        return all_clean(
            Example(
                context=self.damage(window, keys),
                x0=window,
                x_injected=window,
                noise_injected=jnp.zeros_like(window),
                sigma=jnp.ones(window.shape[:2], window.dtype),
                level=jnp.full(window.shape[0], self.told, window.dtype),
                weight=jnp.ones(window.shape[0], window.dtype),
                condition=batch.condition,
            )
        )

    def damage(self, window: Frames, keys: RowKeys) -> Frames:
        """Applies 1 to 4."""
        blur, bleach, lag, lags, mask, level, mix, white, smooth = fm.split_rows(keys, 9)
        x = window + _half(blur, 1.0) * (_blurred(window, self.narrow) - window)
        where = jax.nn.sigmoid(2.0 * smooth_noise(mask, window[:, :1], 2 * self.wide)[..., :1])
        x = x + _half(bleach, 1.0) * where * (_blurred(x, self.wide) - x)
        before = jnp.concatenate([x[:, :1], x[:, :-1]], axis=1)
        each = jax.vmap(lambda key: jax.random.uniform(key, (x.shape[1],), x.dtype))(lags)
        x = x + jnp.sign(_half(lag, 1.0)) * each[:, :, None, None, None] * (before - x)
        b = _column(fm.uniform_rows(mix))
        noise = (1.0 - b) * fm.normal_rows(white, x.shape[1:]) + b * smooth_noise(smooth, x, 4)
        return x + self.most * _column(fm.uniform_rows(level)) ** 3 * noise


def _column(row: Array) -> Array:
    return row[:, None, None, None, None]


def _half(keys: RowKeys, most: float) -> Array:
    """`most U(0, 1)^2` on half of the rows, 0 on the others."""
    drawn = fm.uniform_rows(keys, -1.0, 1.0)
    return most * jnp.square(_column(jnp.maximum(drawn, 0.0)))


def _blurred(x: Frames, reach: int) -> Frames:
    """Mean over a square of `2 reach + 1` pixels, edges repeated."""
    for axis in (2, 3):
        pad = [(0, 0)] * 5
        pad[axis] = (reach, reach)
        padded, size = jnp.pad(x, pad, mode="edge"), x.shape[axis]
        parts = [jax.lax.slice_in_dim(padded, i, i + size, axis=axis) for i in range(2 * reach + 1)]
        x = sum(parts[1:], parts[0]) / len(parts)
    return x
