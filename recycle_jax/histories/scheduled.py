"""Scheduled sampling: some frames of the history are the generator's own, each made in one step from real history.

Every context frame is, with probability `share` and independently, replaced by the frame that the generator makes of
the *recorded* frames before it; the target stays the recorded chunk. Source: Bengio et al., arXiv 1506.03099, in its
two-pass form: a first pass without gradient makes all frames that may be needed, from real history and so all at
once, and a second one is the usual loss. Hence no error in the history is older than one step.

A context of n frames takes m = ceil(n / chunk) generator steps a row, and clips of m chunks more: a frame can only be
made where n recorded frames lie before it. (Where one pass of a network predicts all positions the first pass is a
single call; these networks predict one chunk a call.)
"""

import dataclasses

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.one_step.inject import require_probability
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Aux, Calls, Drawn, ExamplePolicy, require_frames
from recycle_jax.histories.ramp import begin_ramp, count_update, progress, require_ramp
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScheduledSampling(ExamplePolicy):
    """Own one-step frames among the context, recorded clip as target.

    Attributes:
        share: probability that a context frame is replaced.
        ramp: updates over which that probability rises linearly from 0; 0 for none. All frames are made, and
            charged, from the first update on.
    """

    share: float
    ramp: int = 0

    def __post_init__(self) -> None:
        require_probability("share", self.share)
        require_ramp(self.ramp)

    def calls(self, generator: Generator) -> Calls:
        """Every frame of the context is made, whether it is then used or not."""
        return Calls(forward=float(context_chunks(generator) * generator.calls_per_step))

    def clip_frames(self, generator: Generator) -> int:
        """History for the oldest frame that may be replaced, the context, and the target."""
        return generator.context_frames + (context_chunks(generator) + 1) * generator.chunk_frames

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """Updates made, `[shards]` int32, where there is a ramp."""
        del generator, batch, key
        return begin_ramp(self.ramp, shards)

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The last context and chunk of each clip, own frames put into the context."""
        require_frames(batch, self.clip_frames(generator), "scheduled sampling", "shorten the context")
        of_fit, of_choice, of_step = rng.split_rows(keys, 3)
        own = one_step_history(params, generator, batch, of_step)
        share = self.share * progress(self.ramp, bank)
        frames, skipped = generator.context_frames, context_chunks(generator) * generator.chunk_frames
        replaced = jax.vmap(lambda key: jax.random.bernoulli(key, share, (frames,)))(of_choice)
        last = dataclasses.replace(batch, clip=batch.clip[:, skipped:])
        context = jnp.where(replaced[:, :, None, None, None], own, last.clip[:, :frames])
        example = clean_example(generator, last, of_fit, context=context)
        return Drawn(example=example, clean=~replaced.any(axis=1), found=jnp.ones(len(keys), bool))

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """Counts the update."""
        del aux, keys, step
        return count_update(self.ramp, bank, is_finite)


def context_chunks(generator: Generator) -> int:
    """Generator steps whose chunks cover a context."""
    return -(-generator.context_frames // generator.chunk_frames)


def one_step_history(params: Params, generator: Generator, batch: Batch, keys: RowKeys) -> Frames:
    """`[b, context, h, w, c]`: the context before the last chunk of a clip, made by the generator without gradient.

    Each of its `context_chunks` chunks follows recorded frames only; all of them are one call of `b * context_chunks`
    rows.
    """
    frames, chunk, chunks = generator.context_frames, generator.chunk_frames, context_chunks(generator)
    frozen = jax.lax.stop_gradient(params)
    windows = jnp.stack([batch.clip[:, i * chunk : i * chunk + frames] for i in range(chunks)], axis=1)
    context = windows.reshape(-1, *windows.shape[2:])
    condition = jax.tree.map(lambda leaf: jnp.repeat(leaf, chunks, axis=0), batch.condition)
    each = jax.vmap(lambda key: jax.random.split(key, chunks))(keys).reshape(-1)
    _, made = generator.step(frozen, generator.begin(frozen, context, condition), each, condition)
    return made.reshape(len(keys), -1, *made.shape[2:])[:, -frames:]
