"""Resampling Forcing: the history is the clip, noised and denoised again by the generator itself.

With one noise level a row, whose logarithm of odds is standard normal and which is then shifted,

    t_s = shift(u, s),   log(u / (1 - u)) ~ N(0, 1),   s = 0.6                                       (1)
    x~_i = denoise((1 - t_s) x_i + t_s eps_i | x~_{i-n} ... x~_{i-1})                                (2)

every frame of the history carries an error of the generator's own making, on top of the errors of the frames before
it, and yet shows what the clip shows: the target stays the clean next chunk. No gradient runs through (2). `s` weighs
how much of the clip is left. The one-pass variant denoises all frames at once, each after clean history, so that
errors do not build on each other. Source: arXiv 2512.15702.

Here histories are of fixed length: frames older than the context are the clip's own, and the first resampled frames
follow these. The paper's level is that of a whole video; so it is that of a row here.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import flow_matching as fm
from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example, slide
from recycle_jax.histories.base import Calls, Drawn, ExamplePolicy, require_frames
from recycle_jax.typing import Frames, Params, PyTree, RowKeys, Rows


@runtime_checkable
class Resampler(Protocol):
    """What a generator needs besides: its sampler, started at a noise level in the middle."""

    def denoise(self, params: Params, x_sigma: Frames, sigma: Rows, context: Frames, condition: PyTree) -> Frames:
        """The clean chunk `[b, t, h, w, c]` from one at noise level `sigma` `[b]`; `calls_per_step` network calls."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResamplingForcing(ExamplePolicy):
    """Resampled context, clean target.

    Attributes:
        shift: `s` of equation (1), positive: larger resamples from more noise.
        one_pass: whether all frames are resampled at once, after clean history.
    """

    shift: float = 0.6
    one_pass: bool = False

    def __post_init__(self) -> None:
        if not self.shift > 0.0:
            raise ValueError(f"shift is {self.shift}, must be positive: 1 leaves the levels as they are drawn")

    def calls(self, generator: Generator) -> Calls:
        """The sampler once for every chunk of history, in either variant, and the loss."""
        _resampler(generator)
        return Calls(forward=float(_chunks(generator) * generator.calls_per_step))

    def clip_frames(self, generator: Generator) -> int:
        """The first history, the history that is resampled after it, and the target."""
        return generator.context_frames + (_chunks(generator) + 1) * generator.chunk_frames

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The end of a clip behind its resampled history.

        Raises:
            TypeError: if the generator cannot start its sampler in the middle.
            ValueError: if clips are too short.
        """
        del bank
        resampler = _resampler(generator)
        require_frames(batch, self.clip_frames(generator), "resampling a context", "shorten the context")
        of_fit, of_level, of_noise = rng.split_rows(keys, 3)
        sigma = resampling_level(of_level, self.shift)
        resample = _at_once if self.one_pass else _in_turn
        frozen = jax.lax.stop_gradient(params)
        context = resample(frozen, generator, resampler, batch, sigma, of_noise)
        chunk = self.clip_frames(generator) - generator.chunk_frames
        x0 = batch.clip[:, chunk : chunk + generator.chunk_frames]
        yes = jnp.ones_like(sigma, bool)
        example = clean_example(generator, batch, of_fit, context=context, x0=x0)
        return Drawn(example=example, clean=jnp.logical_not(yes), found=yes)


def resampling_level(keys: RowKeys, shift: float) -> Rows:
    """Equation (1), `[b]` in (0, 1)."""
    return fm.shift_sigma(jax.nn.sigmoid(rng.normal_rows(keys, ())), shift)


def _resampler(generator: Generator) -> Resampler:
    if not isinstance(generator, Resampler):
        raise TypeError(
            f"{type(generator).__name__} cannot resample history, since it has no `denoise` from a noise level in the "
            f"middle (a deterministic predictor has no noise levels): use RectifiedFlow, or Pushforward as the policy"
        )
    return generator


def _chunks(generator: Generator) -> int:
    """Chunks that cover a context."""
    return -(-generator.context_frames // generator.chunk_frames)


def _in_turn(
    params: Params, generator: Generator, resampler: Resampler, batch: Batch, sigma: Rows, keys: RowKeys
) -> Frames:
    """Equation (2): each chunk after those that are resampled already."""

    def one(history: Frames, i: Array) -> tuple[Frames, None]:
        noisy = _noised(_chunk(batch.clip, generator, i), sigma, _of_chunk(keys, i))
        return slide(history, resampler.denoise(params, noisy, sigma, history, batch.condition)), None

    history = batch.clip[:, : generator.context_frames]
    return jax.lax.scan(one, history, jnp.arange(_chunks(generator), dtype=jnp.int32))[0]


def _at_once(
    params: Params, generator: Generator, resampler: Resampler, batch: Batch, sigma: Rows, keys: RowKeys
) -> Frames:
    """Equation (2) with clean frames as conditions, all chunks in one batch."""
    n, t, count = generator.context_frames, generator.chunk_frames, _chunks(generator)
    numbers = jnp.arange(count, dtype=jnp.int32)
    noisy = jax.vmap(lambda i: _noised(_chunk(batch.clip, generator, i), sigma, _of_chunk(keys, i)))(numbers)
    histories = jax.vmap(lambda i: jax.lax.dynamic_slice_in_dim(batch.clip, i * t, n, axis=1))(numbers)
    rows = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
    condition = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * count), batch.condition)
    done = resampler.denoise(params, rows(noisy), jnp.tile(sigma, count), rows(histories), condition)
    frames = jnp.moveaxis(done.reshape(noisy.shape), 0, 1).reshape(len(sigma), -1, *noisy.shape[3:])
    return frames[:, -n:]


def _chunk(clip: Frames, generator: Generator, i: Array) -> Frames:
    """The `i`-th chunk after the first context."""
    start = generator.context_frames + i * generator.chunk_frames
    return jax.lax.dynamic_slice_in_dim(clip, start, generator.chunk_frames, axis=1)


def _noised(chunk: Frames, sigma: Rows, keys: RowKeys) -> Frames:
    noise = rng.normal_rows(keys, chunk.shape[1:])
    return fm.interpolate(chunk, noise, jnp.broadcast_to(sigma[:, None], chunk.shape[:2]))


def _of_chunk(keys: RowKeys, i: Array) -> RowKeys:
    return jax.vmap(jax.random.fold_in, (0, None))(keys, i)
