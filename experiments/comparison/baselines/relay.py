"""Recycling for nothing: what a training pass predicts is the history of a later pass.

A pass on `(x_t -> x_{t+1})` makes a prediction anyway. It is banked with the recorded frames that come next, so that a
later batch meets it as history,

    context  x^_{t+1} = f(x_t)        target  x_{t+2},

and its own prediction is banked in turn, up to age `max_age`: a rollout whose steps are training passes. Against fresh
pushforward (arXiv 2202.03376) no call is spent on making histories, and their ages need not end at one; they are as
old as the bank is deep. The target is the recorded frame, so this is for motion that the context determines.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.bank.capacity import in_a_shard
from recycle_jax.errors.bank.storage import BankState
from recycle_jax.generators.base import Generator, clean_example, slide
from recycle_jax.histories.base import Aux, Drawn, ExamplePolicy, choose_rows, require_frames
from recycle_jax.typing import Frames, Params, PRNGKey, PyTree, RowFlags, RowInts, RowKeys, Scalar


@struct.dataclass(kw_only=True)
class RelayEntry:
    """A history and the recorded frames after it.

    Attributes:
        context: `[b, context, h, w, c]`, its newest chunks predicted.
        future: `[b, oldest * chunk, h, w, c]` what was recorded after it; past the last target it repeats.
        age: `[b]` int32, passes behind the newest chunk.
        condition: per-row pytree of the clip that it began on, or None.
    """

    context: Frames
    future: Frames
    age: RowInts
    condition: PyTree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relay(ExamplePolicy):
    """Predictions handed on from pass to pass.

    Attributes:
        max_age: largest age of a history, in passes.
        capacity: histories that are kept in all shards together; too few, and the model chases its own last step, too
            many, and the mistakes are those of a model long gone.
        share: of rows that ask for one.
    """

    max_age: int = 2
    capacity: int = 200
    share: float = 0.5

    def __post_init__(self) -> None:
        if self.max_age < 1:
            raise ValueError(f"max_age is {self.max_age}, must be at least 1: use TeacherForcing for 0")
        if not 0.0 < self.share < 1.0:
            raise ValueError(f"share is {self.share}, must lie between 0 and 1: without clean rows nothing starts")

    @property
    def bank(self) -> ErrorBank:
        """As it is with one shard."""
        return ErrorBank(capacity=self.capacity)

    def clip_frames(self, generator: Generator) -> int:
        """Up to the target of the oldest age."""
        return generator.context_frames + (self.max_age + 1) * generator.chunk_frames

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> BankState:
        """An empty bank, whose capacity the shards share.

        Raises:
            ValueError: if they cannot share it evenly.
        """
        del key
        shared = in_a_shard(self.capacity, shards)
        frame = batch.clip.shape[2:]
        kept: Any = lambda frames: jax.ShapeDtypeStruct((frames, *frame), jnp.float32)  # noqa: E731
        number: Any = jax.ShapeDtypeStruct((), jnp.int32)
        after = self.max_age * generator.chunk_frames
        condition = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), batch.condition)
        entry = RelayEntry(context=kept(generator.context_frames), future=kept(after), age=number, condition=condition)
        return ErrorBank(shards=shards, capacity=shared).init(entry)

    def examples(self, params: Params, generator: Generator, bank: BankState, batch: Batch, keys: RowKeys) -> Drawn:
        """Recorded and predicted histories, and the recorded chunk after them, under the condition of their clip."""
        del params
        require_frames(batch, self.clip_frames(generator), f"ages up to {self.max_age}", "lower max_age")
        of_fit, of_draw, of_share = rng.split_rows(keys, 3)
        leg, target, taken, found = self._draw(generator, bank, batch, of_draw, of_share)
        own = {"context": leg.context, "x0": target, "condition": leg.condition}
        example = clean_example(generator, batch, of_fit, **own)
        return Drawn(example=example, clean=~taken, found=found, memo=leg)

    def record(self, bank: BankState, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> BankState:
        """Banks what the pass predicted, unless it has come of age.

        Raises:
            ValueError: if the generator does not say what it predicted.
        """
        del keys, step
        if aux.prediction is None:
            raise ValueError(
                "prediction is None, but a relay hands predictions on: let the generator's fit return it in "
                "Fit.prediction, or use Pushforward, which rolls out"
            )
        passed: RelayEntry = aux.memo
        leg = dataclasses.replace(passed, context=slide(passed.context, aux.prediction), age=passed.age + 1)
        return _of_shard(bank).insert(bank, leg, jnp.zeros_like(leg.age), is_finite & (leg.age <= self.max_age))

    def _draw(
        self, generator: Generator, bank: BankState, batch: Batch, of_draw: RowKeys, of_share: RowKeys
    ) -> tuple[RelayEntry, Frames, RowFlags, RowFlags]:
        """Histories with what follows their target, the target, which rows took one, and False where none was found."""
        n, chunk = generator.context_frames, generator.chunk_frames
        ahead = batch.clip[:, n : self.clip_frames(generator)]  # clips may be longer, for another part of a mixture
        drawn = _of_shard(bank).draw(bank, of_draw, AnySlot())
        wanted = jax.vmap(lambda key: jax.random.bernoulli(key, self.share))(of_share)
        taken = wanted & drawn.found
        age = jnp.zeros(len(of_draw), jnp.int32)
        fresh = RelayEntry(context=batch.clip[:, :n], future=ahead, age=age, condition=batch.condition)
        # A banked future is one chunk shorter than a clip's: the last target of a clip is met at the oldest age only.
        banked = dataclasses.replace(drawn.entries, future=_lengthened(drawn.entries.future, chunk))
        leg = jax.tree.map(lambda a, b: choose_rows(taken, a, b), banked, fresh)
        return (
            dataclasses.replace(leg, future=leg.future[:, chunk:]),
            leg.future[:, :chunk],
            taken,
            drawn.found | ~wanted,
        )


def _of_shard(state: BankState) -> ErrorBank:
    """The bank of one shard, with its part of the capacity."""
    return ErrorBank(capacity=state.capacity)


def _lengthened(frames: Array, chunk: int) -> Array:
    return jnp.concatenate([frames, frames[:, -chunk:]], axis=1)
