"""Corrupted history: each of its frames is noised, or resampled, or left alone, and then tinted.

    noised      (1 - s) x + s eps,   s ~ U(0, noise)
    resampled   shrunk to a side of a factor U(smallest, 1) and stretched back, bilinear with antialiasing
    tinted      m + f (x - m),   m a pixel's mean over channels,   f of U(palest, 1) or, as often, U(1, richest)

These are the ways in which long videos go wrong: grain, blur, and colours that fade or burn. The network is told
nothing of it. Source: Helios, arXiv 2603.04379; probabilities and ranges are those of its released code
(`corrupt_history_latents`, `add_saturation_to_history_latents` with `correct.yaml`), which leaves one history in ten
clean and noises nine in ten of the others. There one kind is drawn for a history, with levels frame by frame; here
every frame draws its kind as well. Frames of one channel have no colour: the tint leaves them as they are.
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import flow_matching as fm
from recycle_jax.data.base import Batch
from recycle_jax.errors.inject import require_probability
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.policies.base import Drawn, ExamplePolicy
from recycle_jax.typing import Frame, Frames, Params, PRNGKey, PyTree, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptedHistory(ExamplePolicy):
    """Context frames corrupted one by one, clean target.

    Attributes:
        noised: probability that a frame is noised.
        resampled: that it is shrunk and stretched back; in the rest of cases it is neither.
        tinted: that its saturation is changed, whatever else happens to it.
        noise: strongest noise level, in [0, 1].
        smallest: smallest factor of the shrunk side, in (0, 1].
        palest: smallest factor of saturation, in [0, 1].
        richest: largest, at least 1.
    """

    noised: float = 0.81
    resampled: float = 0.09
    tinted: float = 0.9
    noise: float = 1.0 / 3.0
    smallest: float = 0.9
    palest: float = 0.3
    richest: float = 1.7

    def __post_init__(self) -> None:
        for name in ("noised", "resampled", "tinted", "noise", "smallest", "palest"):
            require_probability(name, getattr(self, name))
        if self.noised + self.resampled > 1.0:
            raise ValueError(
                f"noised={self.noised} and resampled={self.resampled} are probabilities of exclusive events and "
                f"exceed 1 together: lower one of them"
            )
        if self.smallest == 0.0:
            raise ValueError("smallest is 0.0, but a frame cannot be shrunk to nothing: use a factor above 0")
        if self.richest < 1.0:
            raise ValueError(f"richest is {self.richest}, the largest factor of saturation: use 1 or more")

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with its context frames corrupted."""
        del params, bank
        of_fit, of_frames = fm.split_rows(keys, 2)
        context, touched = self.corrupt(batch.clip[:, : generator.context_frames], of_frames)
        example = clean_example(generator, batch, of_fit, context=context)
        return Drawn(example=example, clean=~touched.any(axis=1), found=jnp.ones(len(keys), bool))

    def corrupt(self, context: Frames, keys: RowKeys) -> tuple[Frames, Array]:
        """Corrupted frames, and `[b, context]` which of them anything was done to."""
        of_frames = jax.vmap(lambda key: jax.random.split(key, context.shape[1]))(keys)
        return jax.vmap(jax.vmap(self._corrupt_frame))(context, of_frames)

    def _corrupt_frame(self, frame: Frame, key: PRNGKey) -> tuple[Frame, Scalar]:
        of_kind, of_noise, of_size, of_tint = jax.random.split(key, 4)
        kind = jax.random.uniform(of_kind, (), frame.dtype)
        is_noised = kind < self.noised
        is_resampled = ~is_noised & (kind < self.noised + self.resampled)
        out = jnp.where(is_noised, self._with_noise(frame, of_noise), frame)
        out = jnp.where(is_resampled, resample(frame, _between(of_size, self.smallest, 1.0)), out)
        of_whether, of_factor = jax.random.split(of_tint)
        is_tinted = jax.random.bernoulli(of_whether, self.tinted)
        out = jnp.where(is_tinted, tint(out, self._tint_factor(of_factor)), out)
        return out, is_noised | is_resampled | is_tinted

    def _with_noise(self, frame: Frame, key: PRNGKey) -> Frame:
        of_level, of_noise = jax.random.split(key)
        level = _between(of_level, 0.0, self.noise)
        return (1.0 - level) * frame + level * jax.random.normal(of_noise, frame.shape, frame.dtype)

    def _tint_factor(self, key: PRNGKey) -> Scalar:
        of_side, of_pale, of_rich = jax.random.split(key, 3)
        pale, rich = _between(of_pale, self.palest, 1.0), _between(of_rich, 1.0, self.richest)
        return jnp.where(jax.random.bernoulli(of_side), pale, rich)


def _between(key: PRNGKey, low: float, high: float) -> Scalar:
    return jax.random.uniform(key, (), jnp.float32, low, high)


def tint(frame: Frame, factor: Scalar) -> Frame:
    """A frame whose distance from grey, the mean over channels, is multiplied by `factor`."""
    grey = jnp.mean(frame, axis=2, keepdims=True)
    return grey + factor * (frame - grey)


def resample(frame: Frame, factor: Scalar) -> Frame:
    """A frame shrunk by a traced `factor` in (0, 1], to whole pixels, and stretched back to its size."""
    height, width, _ = frame.shape
    down, across = down_up(factor, height), down_up(factor, width)
    return jnp.einsum("ij,jkc,lk->ilc", down, frame, across, precision=jax.lax.Precision.HIGHEST)


def down_up(factor: Scalar, size: int) -> Array:
    """The `[size, size]` matrix that shrinks a line of pixels to `round(factor * size)` and stretches it back.

    Both ways are linear interpolation between pixel centres; on the way down the triangle is as wide as a small pixel.
    The small line lies in an array of the full size, whose unused end has weight 0.
    """
    side = jnp.maximum(jnp.round(factor * size), 1.0)
    centre, step = jnp.arange(size, dtype=jnp.float32) + 0.5, size / side
    used = centre < side
    down = _triangle(centre[:, None] - centre[None, :] / step)
    up = _triangle(centre[:, None] / step - centre[None, :]) * used.astype(jnp.float32)[None, :]
    down, up = (weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1e-6) for weights in (down, up))
    return jnp.matmul(up, down, precision=jax.lax.Precision.HIGHEST)


def _triangle(distance: Array) -> Array:
    return jnp.maximum(1.0 - jnp.abs(distance), 0.0)
