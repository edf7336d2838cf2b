"""Training with an anchor: any policy, on clips whose first frames are followed by a later window.

    [clip_0 ... clip_{a-1}]  [clip_{a+o} clip_{a+o+1} ...]        o ~ U{0, ..., max_gap}

The history that a rollout will see: the anchors of its start, however long ago that was. Alone, without errors put
into the recent frames, it tells what the anchor does by itself (see `generators.anchored`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, anchors_of
from recycle_jax.histories.base import Aux, Drawn, require_frames
from recycle_jax.histories.pushforward import frames_from
from recycle_jax.histories.wrapper import PolicyWrapper
from recycle_jax.typing import Params, PyTree, RowInts, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchoredHistory(PolicyWrapper):
    """Gives another policy clips of anchors and a window behind them.

    Attributes:
        inner: what is done with such a clip: a policy that trains on its first context and the chunk after it, such
            as `TeacherForcing`, `NoiseAugmentation`, `ReplayCases` or a mixture of them.
        max_gap: most frames left out between anchors and window.
    """

    max_gap: int

    def __post_init__(self) -> None:
        if self.max_gap < 0:
            raise ValueError(f"max_gap is {self.max_gap}, must be a number of frames: 0 leaves none out")

    def clip_frames(self, generator: Generator) -> int:
        """`max_gap` more than a context and a chunk.

        Raises:
            TypeError: if the generator keeps no anchors.
            ValueError: if the inner policy moves along its clips, whose contexts would lose the anchors.
        """
        anchors_required(generator)
        need, one = self.inner.clip_frames(generator), generator.context_frames + generator.chunk_frames
        if need != one:
            raise ValueError(
                f"{type(self.inner).__name__} asks for clips of {need} frames, but only the first context and the "
                f"chunk after it, {one} frames, hold the anchors: use a policy that trains on these alone"
            )
        return need + self.max_gap

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The inner policy's examples, of clips with frames left out behind the anchors."""
        require_frames(batch, self.clip_frames(generator), f"anchors {self.max_gap} frames back", "lower max_gap")
        of_place, of_inner = rng.split_rows(keys, 2)
        out = jax.vmap(lambda key: jax.random.randint(key, (), 0, self.max_gap + 1))(of_place)
        anchored = self._leaving_out(generator, batch, out)
        return self.inner.examples(params, generator, bank, anchored, of_inner)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """What the inner policy records, by the keys that it drew with."""
        # Split as in `examples`: the inner policy draws from its keys again what it drew there.
        _, of_inner = rng.split_rows(keys, 2)
        return self.inner.record(bank, aux, of_inner, step, is_finite)

    def _leaving_out(self, generator: Generator, batch: Batch, out: RowInts) -> Batch:
        anchors = anchors_of(generator)
        recent = generator.context_frames + generator.chunk_frames - anchors
        window = frames_from(batch.clip, anchors + out, recent)
        return batch.replace(clip=jnp.concatenate([batch.clip[:, :anchors], window], axis=1))  # type: ignore[attr-defined]


def anchors_required(generator: Generator) -> None:
    """Raises TypeError where the generator keeps no anchors."""
    if not anchors_of(generator):
        raise TypeError(
            f"{type(generator).__name__} keeps no anchors, so that its rollouts never see what is trained here: "
            f"wrap it in generators.anchored.Anchored"
        )
