"""One of several processes that train, recycle, stop, go on and evaluate together; `test_two_hosts` starts it.

As in `python tests/two_hosts.py FOLDER HOSTS NUMBER PORT`.
"""

import dataclasses
import json
import signal
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.batch import Batch
from recycle_jax.drift.monitor import Monitor
from recycle_jax.drift.statistics import Statistics
from recycle_jax.errors.rollout.references import Gate, Recorded
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.recipe import Recycling
from recycle_jax.io.writers import append_jsonl
from recycle_jax.models.base import Network
from recycle_jax.rollout.scan import rollout
from recycle_jax.rollout.stream import stream
from recycle_jax.sharding import fetch, make_mesh
from recycle_jax.training.ema import ema_params
from recycle_jax.training.interrupt import Interrupted
from recycle_jax.training.loop import Observer, RunState, Schedule
from recycle_jax.training.phases import Adam, recycle_phase, train_phase

ROWS, UPDATES, STOPPED_AT = 16, 6, 2
ADAM = Adam(learning_rate=0.02)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Waves:
    """Row by row, and what was asked of it."""

    asked: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    shape: tuple[int, int, int] = (4, 4, 1)
    domains: tuple[str, ...] = ("waves",)
    deterministic: bool = True

    def batch(self, step, rows, frames, first=0):
        self.asked.append((first, rows))
        phases = [np.random.default_rng((step, first + i)).uniform(0.0, 2.0 * np.pi, self.shape) for i in range(rows)]
        clip = 0.8 * np.sin(np.stack(phases)[:, None] + 0.5 * np.arange(frames).reshape(1, -1, 1, 1, 1))
        return Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.zeros(rows, jnp.int32))


RECYCLING = Recycling(
    chains=8,
    max_age=3,
    harvest_every=2,
    harvest_steps=2,
    capacity=32,
    noise=0.0,
    repair_prob=0.0,
    max_displacement_px=None,
    gradient_normalized=False,
)


def generator():
    """Two frames in, one out: a line."""

    def apply(params, context, level, condition):
        return params["newest"] * context[:, -1:] + params["older"] * context[:, -2:-1]

    start = {"newest": 0.9, "older": -0.1}
    init = lambda key: {name: jnp.float32(value) for name, value in start.items()}  # noqa: E731
    return Predictor(network=Network(init=init, apply=apply), context_frames=2)


def main(folder, number):
    """Everything that this process does; its numbers go to a file of its own."""
    mesh, source, key = make_mesh(), Waves(), jax.random.key(0)
    predictor, asked = generator(), []
    first = Schedule(updates=2, rows=ROWS, frames=3)
    params = train_phase(predictor, TeacherForcing(), source, first, key, mesh, adam=ADAM)

    def recycled(watch=None):
        return recycle_phase(
            predictor,
            params,
            Recorded(gate=Gate(distance=10.0, mass=10.0)),
            source,
            Recycling(
                chains=8, max_age=3, harvest_every=2, harvest_steps=2, capacity=32, noise=0.0, gradient_normalized=False
            ),
            Schedule(updates=UPDATES, rows=ROWS, frames=3, log_every=2, watch_every=1),
            key,
            mesh,
            adam=ADAM,
            observer=Observer(
                checkpoints=folder / "checkpoints",
                log=lambda record: append_jsonl(folder / "metrics.jsonl", record),
                watch=watch,
            ),
        )

    def pressed_on_the_last_host(state: RunState, harvest):
        """One host stops at once; several at the end of the log interval."""
        hosts = jax.process_count()
        if int(state.train.step) == STOPPED_AT - (hosts > 1) and number == hosts - 1:
            signal.raise_signal(signal.SIGINT)

    try:
        recycled(pressed_on_the_last_host)
        stopped = ""
    except Interrupted as error:
        stopped = str(error).split(" is saved")[0]
    state = recycled()
    start, averaged = Waves().batch(1, 5, 2).clip, ema_params(state.train)
    monitor = Monitor(statistics=Statistics(context_frames=2), window=2, max_frames=4)
    seen = fetch(stream(predictor, averaged, start, key, 4, monitor, mesh=mesh))
    video = fetch(rollout(predictor, averaged, start, key, 4, mesh=mesh))
    asked = sorted(set(source.asked))
    numbers = {
        "hosts": jax.process_count(),
        "devices": mesh.size,
        "stopped": stopped,
        "asked": asked,
        "params": {name: float(value) for name, value in fetch(averaged).items()},
        "entries": fetch(state.bank.entries.step).ravel().tolist(),
        "motion": seen.extremes.mean["motion"].tolist(),
        "video": [float(np.abs(video).mean()), float(video[-1, -1].mean())],
    }
    (folder / f"host{number}.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    where, hosts, host, port = Path(sys.argv[1]), *map(int, sys.argv[2:])
    if hosts > 1:
        jax.distributed.initialize(f"localhost:{port}", hosts, host)
    main(where, host)
