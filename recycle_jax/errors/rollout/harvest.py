"""Harvest: persistent chains of own rollouts, compared with a reference, become cases of the bank.

A chain is one rollout that goes on from where the last harvest left it, so that a case of age 32 costs one
generator step and not 32. Ages are per frame: a frame of the start clip has age 0, a frame made by the n-th
step since the start has age n. A chain starts anew on real video when it reaches its own age limit (limits are
staggered, so that the bank holds all ages at once) or when it is lost: the accept gate of the reference says so, or it
is farther from its reference than a displacement within which the reference holds.

Frames that the generator keeps at the head of its context (`generators.anchored`) are real and stay: references see
the frames behind them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax import Array

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.errors.rollout.references import Reference, ReferenceOutput, displaced
from recycle_jax.generators.base import Generator, anchors_of, slide
from recycle_jax.typing import Frames, Params, PyTree, RowFlags, RowInts, RowKeys, Rows, Scalar


@struct.dataclass(kw_only=True)
class Case:
    """A bank entry complete in itself; `b` rows.

    Attributes:
        context: `[b, context, h, w, c]` erroneous history (storage dtype).
        clean_context: `[b, context, h, w, c]` the reference's version of it.
        target: `[b, chunk, h, w, c]` what should follow the erroneous context.
        ages: `[b, context]` int32, steps behind each frame's error.
        domain: `[b]` int32.
        step: `[b]` int32, training step at harvest.
        score: `[b]` float32, the reference's distance between context and clean context.
        condition: per-row pytree that the context was made under (storage dtype), or None.
    """

    context: Frames
    clean_context: Frames
    target: Frames
    ages: Array
    domain: RowInts
    step: RowInts
    score: Rows
    condition: PyTree = None


@struct.dataclass(kw_only=True)
class Chains:
    """Persistent rollouts; all leaves sharded over `b`.

    Attributes:
        context: `[b, context, h, w, c]` what the next step is conditioned on.
        ages: `[b, context]` int32 age of each of its frames.
        position: `[b]` int32, steps since the chain's start.
        limit: `[b]` int32, steps after which it starts anew.
        clip: `[b, length, h, w, c]` the real clip it started on, no frames where the reference reads none.
        domain: `[b]` int32.
        lost: `[b]` int32, how often the accept gate ended the chain.
        condition: per-row pytree of the clip it started on, handed to the generator, or None.
    """

    context: Frames
    ages: Array
    position: RowInts
    limit: RowInts
    clip: Frames
    domain: RowInts
    lost: RowInts
    condition: PyTree = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Harvest:
    """The rollout-and-compare program; the reference comes with every call, since it may hold parameters.

    Attributes:
        generator: who rolls out.
        max_age: largest age of a banked frame, in steps.
        min_age: cases whose newest frame is younger are not banked.
        max_displacement_px: displacement in pixels. A chain is lost, too, where it is farther from the reference's
            version of it than so much displacement makes it (`errors.rollout.references.displaced`): what the reference
            does not explain asks for a jump that no context foretells, and a jump teaches no speed. None leaves that to
            the gate.
    """

    generator: Generator
    max_age: int = 32
    min_age: int = 1
    max_displacement_px: float | None = None

    def __post_init__(self) -> None:
        if self.max_displacement_px is not None and not self.max_displacement_px > 0.0:
            raise ValueError(
                f"max_displacement_px is {self.max_displacement_px}, must be positive, or None for no bound"
            )
        if not 1 <= self.min_age <= self.max_age:
            raise ValueError(
                f"ages run from min_age={self.min_age} to max_age={self.max_age}: need 1 <= min_age <= max_age; "
                f"min_age=1 banks all ages"
            )

    def clip_frames(self, reference: Reference) -> int:
        """Frames that a start clip must have: up to the oldest target and one more, where the reference looks."""
        ahead = (self.max_age + 1) * self.generator.chunk_frames + 1 if reference.reads_clip else 0
        return self.generator.context_frames + ahead

    def start(self, batch: Batch) -> Chains:
        """Chains at age 0 on real clips, with limits spread evenly over the ages."""
        clip, b = batch.clip, batch.clip.shape[0]
        ages = self.max_age - self.min_age + 1
        limit = self.min_age + (jnp.arange(b, dtype=jnp.int32) * ages) // b
        return Chains(
            context=clip[:, : self.generator.context_frames],
            ages=jnp.zeros((b, self.generator.context_frames), jnp.int32),
            position=jnp.zeros(b, jnp.int32),
            limit=limit,
            clip=clip if clip.shape[1] > self.generator.context_frames else clip[:, :0],
            domain=batch.domain,
            lost=jnp.zeros(b, jnp.int32),
            condition=batch.condition,
        )

    def entry(self, frame: tuple[int, int, int], condition: PyTree = None) -> Case:
        """What one case of this harvest looks like in a bank, for `ErrorBank.init`.

        Frames are kept as float16: in [-1, 1] it is eight times finer than bfloat16 at the same size.

        Args:
            frame: `(height, width, channels)`.
            condition: a batch's condition, whose rows are kept as they are; None where there is none.
        """
        stored: Any = lambda frames: jax.ShapeDtypeStruct((frames, *frame), jnp.float16)  # noqa: E731
        number: Any = lambda *dims, dtype=jnp.int32: jax.ShapeDtypeStruct(dims, dtype)  # noqa: E731
        return Case(
            context=stored(self.generator.context_frames),
            clean_context=stored(self.generator.context_frames),
            target=stored(self.generator.chunk_frames),
            ages=number(self.generator.context_frames),
            domain=number(),
            step=number(),
            score=number(dtype=jnp.float32),
            condition=jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), condition),
        )

    def advance(
        self,
        params: Params,
        reference: Reference,
        chains: Chains,
        fresh: Chains,
        keys: RowKeys,
        step: Scalar,
    ) -> tuple[Chains, Case, RowFlags]:
        """One step of every chain.

        Args:
            params: of the generator.
            reference: what its frames are compared with.
            chains: where the chains are.
            fresh: chains at age 0, to start anew on.
            keys: `[b]`.
            step: training step, a tag.

        Returns:
            `(chains, cases, write)`: cases of all rows and which of them are to be banked.
        """
        self._require_clips(reference, chains)
        of_step, of_reference, of_limit = rng.split_rows(keys, 3)
        carry = self.generator.begin(params, chains.context, chains.condition)
        _, chunk = self.generator.step(params, carry, of_step, chains.condition)
        kept = anchors_of(self.generator)
        recent = chains.context[:, kept:]
        referred = reference(recent, chunk, self._recorded(reference, chains), of_reference)
        referred = self._near(referred)
        case = self.case(chains, chunk, referred, step)
        newest = case.ages.max(axis=1)
        write = referred.accept & (newest >= self.min_age) & (newest <= self.max_age)
        context = slide(recent, chunk) if referred.go_on is None else referred.go_on
        context = jnp.concatenate([chains.context[:, :kept], context], axis=1)
        return self._move(chains, fresh, context, referred.accept, of_limit), case, write

    def _near(self, referred: ReferenceOutput) -> ReferenceOutput:
        """The reference's answer, its chains lost beyond `max_displacement_px`."""
        if self.max_displacement_px is None:
            return referred
        near = referred.score <= displaced(referred.clean_context, self.max_displacement_px)
        return dataclasses.replace(referred, accept=referred.accept & near)

    def _require_clips(self, reference: Reference, chains: Chains) -> None:
        """A slice past the end of a clip would silently start earlier."""
        need, there = self.clip_frames(reference), chains.clip.shape[1]
        if reference.reads_clip and there < need:
            raise ValueError(
                f"chains were started on clips of {there} frames, but {type(reference).__name__} compares up to age "
                f"{self.max_age}: start them on clips of {need} frames (Harvest.clip_frames), or lower max_age"
            )

    def case(self, chains: Chains, chunk: Frames, referred: ReferenceOutput, step: Scalar) -> Case:
        """What is banked of a step: the chains' contexts, their versions by the reference, and its targets."""
        del chunk
        kept = anchors_of(self.generator)
        return Case(
            context=chains.context,
            clean_context=jnp.concatenate([chains.context[:, :kept], referred.clean_context], axis=1),
            target=referred.target,
            ages=chains.ages,
            domain=chains.domain,
            step=jnp.full_like(chains.position, step),
            score=referred.score,
            condition=chains.condition,
        )

    def window_ages(self, chains: Chains) -> Array:
        """`[b, context + chunk]`: the ages of the chains' frames and of the chunk that they make now."""
        shape = (chains.position.shape[0], self.generator.chunk_frames)
        return jnp.concatenate([chains.ages, jnp.broadcast_to(chains.position[:, None] + 1, shape)], axis=1)

    def _recorded(self, reference: Reference, chains: Chains) -> Frames:
        if not reference.reads_clip:
            return chains.clip
        kept = anchors_of(self.generator)
        frames = self.generator.context_frames - kept + self.generator.chunk_frames + 1
        cut = lambda clip, at: jax.lax.dynamic_slice_in_dim(clip, at, frames)  # noqa: E731
        return jax.vmap(cut)(chains.clip, kept + chains.position * self.generator.chunk_frames)

    def _move(self, chains: Chains, fresh: Chains, context: Frames, accept: RowFlags, keys: RowKeys) -> Chains:
        position, kept = chains.position + 1, anchors_of(self.generator)
        recent = self.window_ages(chains)[:, kept + self.generator.chunk_frames :]
        moved = dataclasses.replace(
            chains,
            context=context,
            ages=jnp.concatenate([chains.ages[:, :kept], recent], axis=1),
            position=position,
            lost=chains.lost + jnp.logical_not(accept).astype(jnp.int32),
        )
        over = jnp.logical_not(accept) | (position > chains.limit)
        restart = dataclasses.replace(fresh, limit=self._limits(keys), lost=moved.lost)
        return jax.tree.map(lambda a, b: _rows(over, a, b), restart, moved)

    def _limits(self, keys: RowKeys) -> RowInts:
        draw = lambda key: jax.random.randint(key, (), self.min_age, self.max_age + 1)  # noqa: E731
        return jax.vmap(draw)(keys)


def _rows(flag: RowFlags, yes: PyTree, no: PyTree) -> PyTree:
    return jnp.where(flag.reshape(-1, *[1] * (yes.ndim - 1)), yes, no)
