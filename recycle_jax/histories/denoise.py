"""Training of a window denoiser: noised real windows in, the windows out.

    window~ = window + level ((1 - m) white + m smooth) / sqrt((1 - m)^2 + m^2),   m ~ U(0, 1)

with log-uniform levels, since a reference works at low ones. White noise alone teaches the removal of what no
generator produces; smooth noise (white noise on a coarse grid, interpolated, at the same strength) stands for
displaced and half-erased shapes.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Example, Generator
from recycle_jax.histories.base import Drawn, ExamplePolicy, all_clean
from recycle_jax.typing import Frames, Params, PyTree, RowKeys, Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class DenoiseWindows(ExamplePolicy):
    """Trains a `Predictor` whose context and chunk are one and the same window.

    Attributes:
        least: standard deviation of the weakest noise, in frame units.
        most: of the strongest.
        weight: loss weight of a level, `[b] -> [b]` (static).
        block: distance, in pixels, of the points between which smooth noise is interpolated.
    """

    least: float = 0.02
    most: float = 0.5
    weight: Callable[[Rows], Rows] = jnp.ones_like
    block: int = 4

    def __post_init__(self) -> None:
        if not 0.0 < self.least < self.most:
            raise ValueError(
                f"levels run from least={self.least} to most={self.most}: need 0 < least < most, so use a least above "
                f"0 and a larger most"
            )

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The first `context_frames` frames of each clip, noised, with themselves as target."""
        del params, bank
        of_level, of_mix, of_white, of_smooth = rng.split_rows(keys, 4)
        window = batch.clip[:, : generator.context_frames]
        level = self.least * jnp.exp(rng.uniform_rows(of_level) * math.log(self.most / self.least))
        mix = rng.uniform_rows(of_mix)[:, None, None, None, None]
        noise = (1.0 - mix) * rng.normal_rows(of_white, window.shape[1:])
        noise += mix * smooth_noise(of_smooth, window, self.block)
        noise /= jnp.sqrt(jnp.square(1.0 - mix) + jnp.square(mix))
        return all_clean(
            Example(
                context=window + level[:, None, None, None, None] * noise,
                x0=window,
                x_injected=window,
                noise_injected=jnp.zeros_like(window),
                sigma=jnp.ones(window.shape[:2], window.dtype),
                level=level,
                weight=self.weight(level),
                condition=batch.condition,
            )
        )


def smooth_noise(keys: RowKeys, like: Frames, block: int) -> Frames:
    """Unit-variance noise that varies over about `block` pixels, independent from frame to frame."""
    b, t, h, w, c = like.shape
    coarse = rng.normal_rows(keys, (t, -(-h // block), -(-w // block), c))
    smooth = jax.image.resize(coarse, like.shape, "linear")
    return smooth / jnp.std(smooth, axis=(1, 2, 3, 4), keepdims=True)
