"""A recycling run so small that it compiles in seconds; run as a script, it stops half-way and waits to be killed.

As in `python tests/training/tiny.py CHECKPOINTS`.
"""

import dataclasses
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.batch import Batch
from recycle_jax.errors.rollout.harvest import Harvest
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.recipe import Recycling
from recycle_jax.models.base import Network
from recycle_jax.sharding import make_mesh
from recycle_jax.training.harvest_step import make_harvest
from recycle_jax.training.loop import Harvesting, Observer, RunState, Schedule, resume, run
from recycle_jax.training.phases import Adam
from recycle_jax.training.state import init_state
from recycle_jax.training.step import make_correct

SHAPE = (4, 4, 1)
UPDATES, SAVE_EVERY, HARVEST_EVERY = 10, 4, 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waves:
    """Plane waves of random phase and place: two frames tell the next, `x'' = 2 cos(w) x' - x`."""

    seed: int = 0
    shape: tuple[int, int, int] = SHAPE
    domains: tuple[str, ...] = ("waves",)
    deterministic: bool = True

    def batch(self, step, rows, frames):
        rng = np.random.default_rng((self.seed, step))
        phase = rng.uniform(0.0, 2.0 * np.pi, (rows, 1, *self.shape))
        time = np.arange(frames).reshape(1, frames, 1, 1, 1)
        clip = 0.8 * np.sin(phase + 0.5 * time)
        return Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.zeros(rows, jnp.int32))


def line():
    """Two frames in, one out: a sum of both and a constant, which can predict `Waves` exactly."""

    def apply(params, context, level, condition):
        return params["newest"] * context[:, -1:] + params["older"] * context[:, -2:-1] + params["offset"]

    start = {"newest": 0.9, "older": -0.1, "offset": 0.05}
    return Predictor(
        network=Network(init=lambda key: {name: jnp.float32(value) for name, value in start.items()}, apply=apply),
        context_frames=2,
    )


@dataclasses.dataclass(frozen=True)
class Program:
    """Programs compiled once, and fresh states for them."""

    recycling: Recycling = Recycling(
        chains=4,
        max_age=3,
        harvest_every=HARVEST_EVERY,
        harvest_steps=2,
        capacity=8,
        noise=0.1,
        repair_prob=0.0,
        max_displacement_px=None,
        gradient_normalized=False,
    )
    source: Waves = Waves()
    generator: Predictor = dataclasses.field(default_factory=line)
    schedule: Schedule = Schedule(updates=UPDATES, rows=4, frames=3, log_every=2, save_every=SAVE_EVERY)

    def __post_init__(self):
        bank, mesh = self.recycling.bank(), make_mesh(jax.devices()[:1])
        harvest = Harvest(generator=self.generator, max_age=self.recycling.max_age)
        reference = Recorded(gate=Gate(distance=10.0, mass=10.0))
        optimizer = Adam(learning_rate=0.02).build(UPDATES)
        harvesting = Harvesting(
            program=make_harvest(harvest, bank, mesh, self.recycling.harvest_steps),
            reference=reference,
            clips=self.source,
            chains=self.recycling.chains,
            frames=harvest.clip_frames(reference),
            every=self.recycling.harvest_every,
        )
        correct = make_correct(self.generator, self.recycling.policy(bank, self.generator), optimizer, mesh)
        parts = {"mesh": mesh, "harvest": harvest, "harvesting": harvesting, "bank": bank}
        parts |= {"optimizer": optimizer, "correct": correct}
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    def fresh(self):
        """A new state, as donated programs need one."""
        first = self.source.batch(0, self.harvesting.chains, self.harvesting.frames)
        return RunState(
            train=init_state(self.generator, self.optimizer, jax.random.key(3)),
            bank=self.bank.init(self.harvest.entry(SHAPE)),
            chains=self.harvest.start(first),
        )

    def run(self, state, observer, source=None, **schedule):
        """The loop from `state` on."""
        plan = dataclasses.replace(self.schedule, **schedule)
        chosen = self.source if source is None else source
        return run(self.correct, state, chosen, plan, self.mesh, self.harvesting, observer)

    def go_on(self, checkpoints, **observer):
        """What a command does that is run again: resume, then the rest."""
        return self.run(resume(checkpoints, self.fresh()), Observer(checkpoints=checkpoints, **observer))


def wait_to_be_killed(record):
    """Blocks in the middle of the run, past the first checkpoint and short of the second."""
    if record["step"] == SAVE_EVERY + 2:
        sys.stdin.read()


if __name__ == "__main__":
    Program().go_on(Path(sys.argv[1]), log=wait_to_be_killed)
