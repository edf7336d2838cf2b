"""What does recycling cost in time, on the machine at hand?

Question: how much slower is a training step that draws errors from a bank and banks its own residuals than a plain
one; how does a draw depend on the bank's size; what does the framework cost over a hand-written loop; and does a
rollout with gradient through time take as long as it is charged for, so that compute counted in calls is time too; and
would it pay to train several seeds in one program?

Expected ratios: `correct_over_plain` at most 1.05, `draw_capacity_100x` at most 1.1, `framework_over_minimal_loop`
at most 1.1, `unrolled_over_calls` at most 1.2; `vmapped_over_turns`, for whoever would train seeds together, has no
limit.

    python -m experiments.bench --preset small

On one device, whatever the machine has: what is compared is the work of one device.

Both sides of a ratio run in turn in one process; a sample is the time of one side over the time of the other in the
same turn, and the ratio is the median of the samples. Run it on an idle machine. About seven minutes on two cores.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console
from rich.table import Table

from recycle_jax.batch import Batch
from recycle_jax.cli import launch
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.clips import WorldClips
from recycle_jax.errors.bank.bank import AnySlot, ErrorBank
from recycle_jax.errors.one_step.algebra import ResidualEntry
from recycle_jax.generators.predictor import Predictor
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.histories.one_step import one_step
from recycle_jax.histories.unrolled import Unrolled
from recycle_jax.io.progress import track
from recycle_jax.io.workdir import open_workdir, run_metadata
from recycle_jax.io.writers import write_json
from recycle_jax.models.conv import frame_unet
from recycle_jax.sharding import make_mesh
from recycle_jax.training.loop import RunState, Schedule, run
from recycle_jax.training.state import TrainState, init_state
from recycle_jax.training.step import make_correct

LIMITS = {
    "correct_over_plain": 1.05,
    "draw_capacity_100x": 1.1,
    "framework_over_minimal_loop": 1.1,
    "unrolled_over_calls": 1.2,
}

SEEDS = 4
"""Networks that are trained at once, or in turn."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of what is timed.

    Attributes:
        size: side of the frames.
        width: of the network.
        rows: of a batch.
        capacity: of the smaller bank; with it, both banks are larger than the processor's caches, as banks are.
        turns: samples of every ratio.
        calls: calls of one side in a turn.
        draws: draws of one side in a turn.
    """

    size: int = 32
    width: int = 32
    rows: int = 32
    capacity: int = 1600
    turns: int = 31
    calls: int = 10
    draws: int = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line can set.

    Attributes:
        config: the sizes.
        publish: a file that the results are copied to, or nothing.
    """

    config: Config = Config()
    publish: str = ""


PRESETS: dict[str, Callable[[], Command]] = {
    "smoke": lambda: Command(config=Config(size=16, width=16, rows=8, capacity=100, turns=3, calls=2, draws=10)),
    "small": Command,
    "full": lambda: Command(config=Config(size=64, width=96, rows=64, calls=50, draws=1000)),
    "pod": lambda: Command(config=Config(size=64, width=128, rows=512, calls=50, draws=1000)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """What all ratios share.

    Attributes:
        config: sizes.
        generator: the network that is trained.
        optimizer: of the training step.
        source: of its clips.
    """

    config: Config
    generator: Predictor
    optimizer: optax.GradientTransformation
    source: WorldClips

    @property
    def frames(self) -> int:
        """Frames of a clip."""
        return self.generator.context_frames + 1

    def state(self) -> TrainState:
        """A fresh state; programs donate theirs."""
        return init_state(self.generator, self.optimizer, jax.random.key(0))


def make_bench(config: Config) -> Bench:
    """A predictor of bouncing balls."""
    world = BouncingBalls(size=config.size)
    network = frame_unet(shape=world.shape, context_frames=4, chunk_frames=1, width=config.width)
    return Bench(
        config=config,
        generator=Predictor(network=network, context_frames=4),
        optimizer=optax.adam(1e-3),
        source=WorldClips(world=world),
    )


def ratios_of(turns: int, plain: Callable[[], None], other: Callable[[], None], label: str) -> list[float]:
    """Times both sides in turn, first once unmeasured, and swaps who goes first."""
    plain()
    other()
    samples = []
    for turn in track(range(turns), label):
        first, second = (plain, other) if turn % 2 else (other, plain)
        spent = {first: _seconds(first), second: _seconds(second)}
        samples.append(spent[other] / spent[plain])
    return samples


def correct_over_plain(bench: Bench) -> list[float]:
    """The training step with one-step errors, draw and insert included, over the plain one."""
    config, mesh = bench.config, make_mesh(jax.devices()[:1])
    bank = ErrorBank(capacity=config.capacity)
    entry = ResidualEntry.entry(1, bench.source.shape)
    policies = {"plain": (TeacherForcing(), None), "other": (one_step(bank=bank), bank.init(entry))}
    batch = bench.source.batch(0, config.rows, bench.frames)
    sides = []
    for policy, stored in policies.values():
        program = make_correct(bench.generator, policy, bench.optimizer, mesh)
        held: dict[str, Any] = {"state": bench.state(), "bank": stored}
        sides.append(_steps(program, held, batch, config.calls))
    return ratios_of(config.turns, sides[0], sides[1], "correct over plain")


def draw_capacity_100x(bench: Bench) -> list[float]:
    """A uniform draw from a bank a hundred times larger."""
    config = bench.config
    entry = ResidualEntry.entry(4, bench.source.shape)
    sides = []
    for capacity in (config.capacity, 100 * config.capacity):
        bank = ErrorBank(capacity=capacity)
        # Ones and not zeros: memory that was never written is not there yet, and a draw would wait for it.
        full = jax.tree.map(jnp.ones_like, bank.init(entry))
        full = dataclasses.replace(full, count=jnp.full((1, 1), capacity, jnp.int32))
        draw = jax.jit(lambda state, keys, bank=bank: bank.draw(state, keys, AnySlot()))
        keys = jax.random.split(jax.random.key(0), (config.draws, config.rows))
        sides.append(_draws(draw, full, list(keys)))
    return ratios_of(config.turns, sides[0], sides[1], "draw, 100 x the capacity")


def framework_over_minimal_loop(bench: Bench) -> list[float]:
    """The package's loop, plain training, over the shortest loop that does the same updates."""
    config, mesh, optimizer, rows = bench.config, make_mesh(jax.devices()[:1]), bench.optimizer, bench.config.rows
    update = jax.jit(_minimal_update(bench))

    def minimal() -> None:
        state = bench.state()
        params, inner = state.params, state.opt_state
        for step in range(config.calls):
            params, inner, _ = update(params, inner, bench.source.batch(step, rows, bench.frames).clip)
        jax.block_until_ready(params)

    program = make_correct(bench.generator, TeacherForcing(), optimizer, mesh)
    schedule = Schedule(updates=config.calls, rows=rows, frames=bench.frames)

    def framework() -> None:
        done = run(program, RunState(train=bench.state()), bench.source, schedule, mesh)
        jax.block_until_ready(done.train.params)

    return ratios_of(config.turns, minimal, framework, "framework over minimal loop")


def unrolled_over_calls(bench: Bench) -> list[float]:
    """Four steps with gradient through time, over the plain step as many times as the bill says."""
    config, mesh, unrolled = (
        bench.config,
        make_mesh(jax.devices()[:1]),
        Unrolled(steps=4, gradient=True, rematerialise=False),
    )
    batch = bench.source.batch(0, config.rows, unrolled.clip_frames(bench.generator))
    sides, charged = [], []
    for policy in (TeacherForcing(), unrolled):
        program = make_correct(bench.generator, policy, bench.optimizer, mesh)
        held: dict[str, Any] = {"state": bench.state(), "bank": None}
        sides.append(_steps(program, held, batch, config.calls))
        charged.append(policy.calls(bench.generator).forwards)
    samples = ratios_of(config.turns, sides[0], sides[1], "unrolled over its calls")
    return [sample * charged[0] / charged[1] for sample in samples]


def vmapped_over_turns(bench: Bench) -> list[float]:
    """One program that updates `SEEDS` networks at once, over as many calls that update one each."""
    update, clip = _minimal_update(bench), bench.source.batch(0, bench.config.rows, bench.frames).clip
    one, together = jax.jit(update), jax.jit(jax.vmap(update, in_axes=(0, 0, None)))
    state = bench.state()
    alone = (state.params, state.opt_state)
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * SEEDS), alone)

    def in_turn() -> None:
        for _ in range(SEEDS * bench.config.calls):
            done = one(*alone, clip)
        jax.block_until_ready(done)

    def at_once() -> None:
        for _ in range(bench.config.calls):
            done = together(*stacked, clip)
        jax.block_until_ready(done)

    return ratios_of(bench.config.turns, in_turn, at_once, "seeds at once over in turn")


def _minimal_update(bench: Bench) -> Callable[[Any, Any, Any], tuple[Any, Any, Any]]:
    """The shortest training step that there is: `(params, optimiser's state, clip) -> (params, state, loss)`."""
    network, optimizer, rows = bench.generator.network, bench.optimizer, bench.config.rows

    def loss(params: Any, clip: Any) -> Any:
        prediction = network.apply(params, clip[:, :4], jnp.zeros(rows), None)
        return jnp.mean(jnp.square(prediction - clip[:, 4:]))

    def update(params: Any, state: Any, clip: Any) -> tuple[Any, Any, Any]:
        value, gradient = jax.value_and_grad(loss)(params, clip)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    return update


def main(command: Command, workdir: Path, preset: str) -> dict[str, Any]:
    """Measures all ratios, writes them, prints them."""
    config, place = command.config, open_workdir(workdir, command.config)
    bench = make_bench(config)
    measures = (
        correct_over_plain,
        draw_capacity_100x,
        framework_over_minimal_loop,
        unrolled_over_calls,
        vmapped_over_turns,
    )
    samples = {measure.__name__: measure(bench) for measure in measures}
    results = {
        "schema_version": 1,
        "experiment": "bench",
        "preset": preset,
        **run_metadata(config),
        "config": dataclasses.asdict(config),
        "ratios": {name: float(np.median(values)) for name, values in samples.items()},
        "quartiles": {name: np.quantile(values, [0.25, 0.75]).tolist() for name, values in samples.items()},
        "samples": samples,
        "limits": LIMITS,
    }
    write_json(place.results, results)
    if command.publish:
        write_json(command.publish, results)
    _print(results)
    return results


def _steps(program: Callable[..., Any], held: dict[str, Any], batch: Batch, calls: int) -> Callable[[], None]:
    def side() -> None:
        for _ in range(calls):
            held["state"], held["bank"], metrics = program(held["state"], held["bank"], batch)
        jax.block_until_ready(metrics)

    return side


def _draws(draw: Callable[..., Any], state: Any, keys: list[Any]) -> Callable[[], None]:
    def side() -> None:
        for row_keys in keys:
            drawn = draw(state, row_keys)
        jax.block_until_ready(drawn)

    return side


def _seconds(side: Callable[[], None]) -> float:
    start = time.perf_counter()
    side()
    return time.perf_counter() - start


def _print(results: dict[str, Any]) -> None:
    table = Table("ratio", "median", "middle half", "limit", title=f"on {results['device']}")
    for name, value in results["ratios"].items():
        low, high = results["quartiles"][name]
        table.add_row(name, f"{value:.3f}", f"{low:.3f} to {high:.3f}", f"{LIMITS[name]:.2f}" if name in LIMITS else "")
    Console().print(table)


if __name__ == "__main__":
    launch(main, PRESETS, name="bench")
