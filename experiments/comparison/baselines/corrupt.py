"""Corrupted history: its frames are noised, or resampled, or left alone, and then tinted or not.

    noised      (1 - s) x + s eps,   s ~ U(0, noise)
    resampled   shrunk to a side of a factor U(smallest, 1) and stretched back, bilinear with antialiasing
    tinted      m + f (x - m),   m a pixel's mean over channels,
                f of U(min_saturation, 1) or, as often, U(1, max_saturation)

These are the ways in which long videos go wrong: grain, blur, and colours that fade or burn. The network is told
nothing of it. Source: Helios, arXiv 2603.04379; probabilities and ranges are those of its released code
(`corrupt_history_latents`, `add_saturation_to_history_latents` with `correct.yaml`): what is done to a history is drawn
once for all of its frames, one in ten is neither noised nor resampled and, independently, one in ten not tinted; levels
and factors are drawn frame by frame. With `by_frame` every frame draws what is done to it, so that hardly a history
stays clean. Frames of one channel have no colour: the tint leaves them as they are.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.one_step.inject import require_probability
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Drawn, ExamplePolicy
from recycle_jax.typing import Frame, Frames, Params, PRNGKey, PyTree, RowKeys, Scalar


class _FrameKeys(NamedTuple):
    """A key for each thing that a frame draws."""

    kind: PRNGKey
    noise: PRNGKey
    size: PRNGKey
    whether: PRNGKey
    factor: PRNGKey

    @classmethod
    def of(cls, key: PRNGKey) -> "_FrameKeys":
        kind, noise, size, tint = jax.random.split(key, 4)
        return cls(kind, noise, size, *jax.random.split(tint))


class _Done(NamedTuple):
    """What is done to a frame."""

    noised: Scalar
    resampled: Scalar
    tinted: Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorruptedHistory(ExamplePolicy):
    """Corrupted context, clean target.

    Attributes:
        noised: probability that a history is noised.
        resampled: that it is shrunk and stretched back; in the rest of cases it is neither.
        tinted: that its saturation is changed, whatever else happens to it.
        by_frame: whether these are drawn for each frame, not once for a history.
        noise: strongest noise level, in [0, 1].
        smallest: smallest factor of the shrunk side, in (0, 1].
        min_saturation: smallest factor of saturation, in [0, 1].
        max_saturation: largest, at least 1.
    """

    noised: float = 0.81
    resampled: float = 0.09
    tinted: float = 0.9
    by_frame: bool = False
    noise: float = 1.0 / 3.0
    smallest: float = 0.9
    min_saturation: float = 0.3
    max_saturation: float = 1.7

    def __post_init__(self) -> None:
        for name in ("noised", "resampled", "tinted", "noise", "smallest", "min_saturation"):
            require_probability(name, getattr(self, name))
        if self.noised + self.resampled > 1.0:
            raise ValueError(
                f"noised={self.noised} and resampled={self.resampled} are probabilities of exclusive events and "
                f"exceed 1 together: lower one of them"
            )
        if self.smallest == 0.0:
            raise ValueError("smallest is 0.0, but a frame cannot be shrunk to nothing: use a factor above 0")
        if self.max_saturation < 1.0:
            raise ValueError(
                f"max_saturation is {self.max_saturation}, the largest factor of saturation: use 1 or more"
            )

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with its context frames corrupted."""
        del params, bank
        of_fit, of_frames = rng.split_rows(keys, 2)
        context, touched = self.corrupt(batch.clip[:, : generator.context_frames], of_frames)
        example = clean_example(generator, batch, of_fit, context=context)
        return Drawn(example=example, clean=~touched.any(axis=1), found=jnp.ones(len(keys), bool))

    def corrupt(self, context: Frames, keys: RowKeys) -> tuple[Frames, Array]:
        """Corrupted frames, and `[b, context]` which of them anything was done to."""
        of_frames = jax.vmap(lambda key: jax.vmap(_FrameKeys.of)(jax.random.split(key, context.shape[1])))(keys)
        done = jax.vmap(jax.vmap(self._what_is_done))(of_frames)
        if not self.by_frame:
            done = jax.tree.map(lambda drawn: jnp.broadcast_to(drawn[:, :1], drawn.shape), done)
        touched = done.noised | done.resampled | done.tinted
        return jax.vmap(jax.vmap(self._corrupt_frame))(context, done, of_frames), touched

    def _what_is_done(self, of: "_FrameKeys") -> "_Done":
        kind = jax.random.uniform(of.kind)
        noised = kind < self.noised
        resampled = ~noised & (kind < self.noised + self.resampled)
        return _Done(noised=noised, resampled=resampled, tinted=jax.random.bernoulli(of.whether, self.tinted))

    def _corrupt_frame(self, frame: Frame, done: "_Done", of: "_FrameKeys") -> Frame:
        out = jnp.where(done.noised, self._with_noise(frame, of.noise), frame)
        out = jnp.where(done.resampled, resample(frame, _between(of.size, self.smallest, 1.0)), out)
        return jnp.where(done.tinted, tint(out, self._tint_factor(of.factor)), out)

    def _with_noise(self, frame: Frame, key: PRNGKey) -> Frame:
        of_level, of_noise = jax.random.split(key)
        level = _between(of_level, 0.0, self.noise)
        return (1.0 - level) * frame + level * jax.random.normal(of_noise, frame.shape, frame.dtype)

    def _tint_factor(self, key: PRNGKey) -> Scalar:
        of_side, of_pale, of_rich = jax.random.split(key, 3)
        pale, rich = _between(of_pale, self.min_saturation, 1.0), _between(of_rich, 1.0, self.max_saturation)
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
