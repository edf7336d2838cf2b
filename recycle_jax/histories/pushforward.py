"""Fresh pushforward: the history is the generator's own rollout of 1 to k steps, made anew for every batch.

The rollout starts on the clip's first frames and carries no gradient; the target is the clip's recorded
continuation. Source: Brandstetter et al., arXiv 2202.03376, section 3.1 (there one step).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Calls, Drawn, ExamplePolicy, require_frames
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pushforward(ExamplePolicy):
    """Own rollout as context, recorded clip as target.

    Attributes:
        steps: most steps of the rollout; each row draws its own number from `0` (clean) to `steps`.
    """

    steps: int

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, must be at least 1: use TeacherForcing for 0")

    def calls(self, generator: Generator) -> Calls:
        """Every row is rolled out to the oldest age, whatever age it then uses."""
        return Calls(forward=float(self.steps * generator.calls_per_step))

    def clip_frames(self, generator: Generator) -> int:
        """Up to the target of the oldest age."""
        return generator.context_frames + (self.steps + 1) * generator.chunk_frames

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """Rolls out without gradient and picks each row's history at its own age."""
        del bank
        context_frames, chunk = generator.context_frames, generator.chunk_frames
        require_frames(batch, self.clip_frames(generator), f"{self.steps} pushforward steps", "lower steps")
        of_fit, of_age, of_roll = rng.split_rows(keys, 3)
        rolled = rolled_clip(params, generator, batch, of_roll, self.steps)
        age = jax.vmap(lambda k: jax.random.randint(k, (), 0, self.steps + 1))(of_age)
        example = clean_example(
            generator,
            batch,
            of_fit,
            context=frames_from(rolled, age * chunk, context_frames),
            x0=frames_from(batch.clip, age * chunk + context_frames, chunk),
        )
        return Drawn(example=example, clean=age == 0, found=jnp.ones_like(age, bool))


def frames_from(clip: Frames, start: Array, count: int) -> Frames:
    """`count` frames of every clip, from its own `start` `[b]` on."""
    return jax.vmap(lambda c, s: jax.lax.dynamic_slice_in_dim(c, s, count))(clip, start)


def rolled_clip(params: Params, generator: Generator, batch: Batch, keys: RowKeys, steps: int) -> Frames:
    """The clip's first context followed by `steps` generated chunks, gradients stopped."""
    frozen = jax.lax.stop_gradient(params)
    context = batch.clip[:, : generator.context_frames]
    carry = generator.begin(frozen, context, batch.condition)

    def body(carry: PyTree, i: Array) -> tuple[PyTree, Frames]:
        row_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, i)
        return generator.step(frozen, carry, row_keys, batch.condition)

    _, chunks = jax.lax.scan(body, carry, jnp.arange(steps))
    frames = jnp.moveaxis(chunks, 0, 1).reshape(context.shape[0], -1, *context.shape[2:])
    return jnp.concatenate([context, frames], axis=1)
