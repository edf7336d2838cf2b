"""Which average to hand out: the one whose own rollouts last longest.

How much of a phase an average should hold is not known beforehand: a short one keeps the noise of the last batches, a
long one what the phase was there to mend, and a rollout adds both up. Which is worse differs from run to run by
factors of two to four in horizon, while one-step losses agree to a few per cent. So a phase keeps several averages
(`training.phases.Adam(others=...)`), and the few candidates are rolled out from real starts,

    chosen = argmax_i  mean over rollouts of the frame at which candidate i leaves the bands of real video       (1)

with bands of motion, mass, sharpness and contrast that come from training clips alone: no simulator, and none of the
bands and clips that a generator is judged by later. Of equals the first wins. Averages chosen after training are
known from diffusion models (Karras et al., arXiv 2312.02696, section 3), where a population distance chooses; drift
needs rollouts. Rollouts are not free: `Selection.calls` is their price.
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import numpy as np

from recycle_jax.data.base import ClipSource
from recycle_jax.drift.bands import Extremes, Tolerance, calibrate
from recycle_jax.drift.base import measure
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.statistics import NONFINITE, Statistics
from recycle_jax.generators.base import Generator
from recycle_jax.rollout.stream import stream
from recycle_jax.training.ema import all_averages
from recycle_jax.training.state import TrainState
from recycle_jax.typing import Clip, Params, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen and by how much.

    Attributes:
        params: of the candidate that lasted longest.
        number: its place among the candidates.
        lasted: mean exit frame of each candidate, at most `Selection.frames`.
    """

    params: Params
    number: int
    lasted: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """How candidates are made and rolled out.

    Attributes:
        averages: shares of growing averages that a phase keeps to choose from, besides its usual one.
        rollouts: from as many real starts, the same for every candidate.
        frames: of a rollout, a multiple of `window`; clips must be so long, a context besides.
        window: frames a window of the bands.
        clips: real clips behind the bands, and as many again to check them.
        first_batch: number of the first of the three batches that are drawn, so that nothing has trained on them.
        widening: factor by which every band is widened.

    Raises:
        ValueError: if a count is below 1; in use, if `frames` is no multiple of `window`.
    """

    averages: tuple[float, ...] = (0.15, 0.3, 0.6)
    rollouts: int = 8
    frames: int = 256
    window: int = 8
    clips: int = 128
    first_batch: int = 30_000_000
    widening: float = 1.2

    def __post_init__(self) -> None:
        for name in ("rollouts", "frames", "window", "clips"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1: raise it")

    def calls(self, generator: Generator) -> float:
        """Forward calls of one row that choosing among all averages costs."""
        steps = -(-self.frames // generator.chunk_frames)
        return float((1 + len(self.averages)) * self.rollouts * steps * generator.calls_per_step)

    def choose(self, generator: Generator, candidates: Sequence[Params], source: ClipSource, key: PRNGKey) -> Choice:
        """Equation (1).

        Args:
            generator: who rolls out.
            candidates: its parameters, at least one.
            source: of training clips.
            key: the same noise for every candidate.

        Raises:
            ValueError: if there is no candidate, or real clips do not stay in their own bands.
        """
        if not candidates:
            raise ValueError("there are no candidates: give at least one set of parameters")
        monitor = self.monitor(generator, source)
        starts = source.batch(self.first_batch + 2, self.rollouts, generator.context_frames)
        frames = -(-self.frames // generator.chunk_frames) * generator.chunk_frames

        @jax.jit
        def exits(params: Params) -> jax.Array:
            seen = stream(generator, params, starts.clip, key, frames, monitor, starts.condition)
            return seen.exit_frame.mean()

        lasted = tuple(float(exits(params)) for params in candidates)
        number = int(np.argmax(lasted))
        return Choice(params=candidates[number], number=number, lasted=lasted)

    def monitor(self, generator: Generator, source: ClipSource) -> Monitor:
        """Bands of training clips, for what can be measured without a simulator."""
        context = max(generator.context_frames, 2)
        statistics = Statistics(context_frames=generator.context_frames)
        unlimited = Monitor(statistics=statistics, window=self.window, max_frames=self.frames)

        @jax.jit
        def extremes(clip: Clip) -> Extremes:
            return measure(unlimited, clip[:, :context], clip[:, context:]).extremes

        first, second = (
            extremes(source.batch(self.first_batch + i, self.clips, context + self.frames).clip) for i in range(2)
        )
        widened = {name: Tolerance(factor=self.widening) for name in statistics.names if name != NONFINITE}
        bands = calibrate(
            first, second, window=self.window, max_frames=self.frames, tolerances=widened, stay_fraction=0.8
        )
        return dataclasses.replace(unlimited, bands=bands)

    def pick(self, generator: Generator, source: ClipSource, key: PRNGKey) -> Callable[[TrainState], Params]:
        """`state -> parameters`: the choice among all averages that the state holds, for `train_phase(pick=...)`."""
        return lambda train: self.choose(generator, all_averages(train), source, key).params
