"""Training with an anchor: any policy, on clips whose first frames are followed by a later window.

    [clip_0 ... clip_{a-1}]  [clip_{a+o} clip_{a+o+1} ...]        o ~ U{0, ..., reach}

The history that a rollout will see: the anchors of its start, however long ago that was. Alone, without errors put
into the recent frames, it tells what the anchor does by itself (see `generators.anchored`).
"""

import dataclasses

import jax
import jax.numpy as jnp

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, anchors_of
from recycle_jax.histories.base import Aux, Calls, Drawn, ExamplePolicy, require_frames
from recycle_jax.histories.pushforward import frames_from
from recycle_jax.typing import Params, PRNGKey, PyTree, RowInts, RowKeys, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnchoredHistory(ExamplePolicy):
    """Gives another policy clips of anchors and a window behind them.

    Attributes:
        inner: what is done with such a clip: a policy that trains on its first context and the chunk after it, such
            as `TeacherForcing`, `NoiseAugmentation`, `ReplayCases` or a mixture of them.
        reach: most frames left out between anchors and window.
    """

    inner: ExamplePolicy
    reach: int

    def __post_init__(self) -> None:
        if self.reach < 0:
            raise ValueError(f"reach is {self.reach}, must be a number of frames: 0 leaves none out")

    def calls(self, generator: Generator) -> Calls:
        """The inner policy's."""
        return self.inner.calls(generator)

    def clip_frames(self, generator: Generator) -> int:
        """`reach` more than a context and a chunk.

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
        return need + self.reach

    def begin(self, generator: Generator, batch: Batch, shards: int, key: PRNGKey) -> PyTree:
        """What the inner policy remembers."""
        return self.inner.begin(generator, batch, shards, key)

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The inner policy's examples, of clips with frames left out behind the anchors."""
        require_frames(batch, self.clip_frames(generator), f"anchors {self.reach} frames back", "lower reach")
        of_place, of_inner = rng.split_rows(keys, 2)
        out = jax.vmap(lambda key: jax.random.randint(key, (), 0, self.reach + 1))(of_place)
        anchored = self._leaving_out(generator, batch, out)
        return self.inner.examples(params, generator, bank, anchored, of_inner)

    def record(self, bank: PyTree, aux: Aux, keys: RowKeys, step: Scalar, is_finite: Scalar) -> PyTree:
        """The inner policy's."""
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
