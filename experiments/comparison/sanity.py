"""What the judge must call by its name: a still picture, and real video.

Neither is trained. A still picture has no drift at all and must leave the bands at once, by its motion; real video, the
simulator run on from the evaluated start, must stay. They go through the same function as every generator.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from experiments.comparison.phases import Job
from experiments.comparison.task import Trained
from recycle_jax.data.worlds.base import DecodableWorld
from recycle_jax.generators.base import Example, Fit, Generator, mean_square
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.training.cost import Cost
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class CopyLast(Wrapper):
    """The last frame, for ever; interface and shapes are those of the generator inside."""

    def fit(self, params: Params, example: Example) -> Fit:
        """Its one-step error, in frame units for any generator."""
        del params
        return _fit(_repeated(example.context, self.chunk_frames), example)

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """The same frame once more."""
        del params, keys, condition
        return carry, _repeated(carry, self.chunk_frames)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real(Wrapper):
    """A world that goes on from what its start shows: real video in a generator's place.

    Attributes:
        world: reads its state from the context once, and runs; it shows a frame at a time.
    """

    world: DecodableWorld

    def __post_init__(self) -> None:
        if self.chunk_frames != 1:
            raise ValueError(f"chunk_frames is {self.chunk_frames}: a world shows one frame at a time, use 1")

    def fit(self, params: Params, example: Example) -> Fit:
        """The one-step error of the simulator, in frame units."""
        state = self.begin(params, example.context, example.condition)
        keys = jax.random.split(jax.random.key(0), example.x0.shape[0])
        return _fit(self.step(params, state, keys, example.condition)[1], example)

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Any:
        """The state that the context shows, `[b, …]`."""
        del params, condition
        return jax.vmap(lambda frames: self.world.decode(frames)[0])(context[:, -self.world.context_frames :])

    def step(self, params: Params, carry: Any, keys: RowKeys, condition: PyTree) -> tuple[Any, Frames]:
        """One frame on."""
        del params, condition
        state = jax.vmap(self.world.advance)(carry, keys)
        return state, jax.vmap(self.world.render)(state)[:, None]


def copy_last(job: Job) -> Trained:
    """A still picture."""
    return _untrained(job, CopyLast(inner=job.task.generator))


def real(job: Job) -> Trained:
    """Real video."""
    assert job.task.simulator is not None
    return _untrained(job, Real(inner=job.task.generator, world=job.task.simulator))


def _untrained(job: Job, generator: Generator) -> Trained:
    return Trained(params=job.base.params, cost=Cost(), generator=generator)


def _repeated(context: Frames, frames: int) -> Frames:
    return jnp.repeat(context[:, -1:], frames, axis=1)


def _fit(prediction: Frames, example: Example) -> Fit:
    residual = prediction - example.x0
    return Fit(loss=mean_square(residual), prediction=prediction, residual=residual)
