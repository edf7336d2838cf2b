"""How long do generators of simulated worlds stay stable, and what does recycling change?

Question: on bouncing balls and a beating heart, with a deterministic predictor and a flow generator, how long is
the horizon of plain training (B), of plain training at the recycled run's cost (B+), of noise augmentation and
fresh pushforward at that cost, of recycling with the recorded clips moved onto the rollouts, and of recycling with a
simulator?

Expected: recycling at least 10 x B+ and 2 x the other methods, at a cost of at most 1.5 x B.

    python -m experiments.comparison.worlds_task --preset small

`small` takes about two hours on two idle cores; cells are written as they are done, and the same command goes on
where it was. Two processes share the work on one workdir with `--share.parts 2` and `--share.part 0` or `1`, and
`--share.pairs 4` stops after the first seed.
"""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.comparison.conclusion import conclude
from experiments.comparison.evaluation import (
    HELD_OUT_SEED,
    START_SEED,
    Judging,
    start_context,
    true_pace,
    world_bands,
    world_statistics,
)
from experiments.comparison.runner import Comparison, Share, run_comparison
from experiments.comparison.task import (
    FIRST_VERSION,
    Budget,
    Choices,
    Evaluator,
    Net,
    Task,
    build_generator,
    gate_of,
    simulator_reference,
    world_source,
)
from experiments.comparison.worlds.heartbeat import Heartbeat
from recycle_jax.cli import launch
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.base import DecodableWorld
from recycle_jax.drift.monitor import Monitor
from recycle_jax.histories.recipe import Recycling
from recycle_jax.io.workdir import open_workdir
from recycle_jax.sharding import make_mesh

CURVE = tuple(f"recycle+{share}" for share in (0.05, 0.15))
METHODS = ("b", "b_plus", "recycle", "noise", "pushforward", "recycle_continued", *CURVE)
TRIALS = (("recycle", 45), ("noise", 6), ("pushforward", 4), ("recycle_continued", 1))
"""Settings tried, see docs/lab_notes: not the same number for every method, which favours recycling."""

QUESTION = "How long do generators of simulated worlds stay stable, and what does recycling change?"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run of this experiment depends on.

    Attributes:
        worlds: worlds.
        kinds: generators.
        methods: method ids.
        seeds: training seeds.
        balls: how many.
        ball_size: side of the balls' frames.
        heart_size: side of the heart's.
        context: frames of history of every generator.
        ball_choices: what was tuned for the balls.
        heart_choices: what was tuned for the heart, whose motion is slow enough to be registered in time.
        net, budget, judging: see there.
        recycling: of the predictors.
        flow_recycling: of the flows, with stronger noise, since frames that are sampled jitter.
        long: how a few generators of the first seed are evaluated besides.
        long_methods: which.
    """

    worlds: tuple[str, ...] = ("balls", "heartbeat")
    kinds: tuple[str, ...] = ("predictor", "flow")
    methods: tuple[str, ...] = METHODS
    seeds: tuple[int, ...] = (0, 1, 2)
    balls: int = 1
    ball_size: int = 32
    heart_size: int = 16
    context: int = 2
    ball_choices: Choices = Choices(pushforward=1, velocity_damping=0.15, flow_velocity_damping=None)
    heart_choices: Choices = Choices(time=True)
    net: Net = Net()
    budget: Budget = Budget()
    recycling: Recycling = FIRST_VERSION
    flow_recycling: Recycling = dataclasses.replace(FIRST_VERSION, noise=0.1)
    judging: Judging = Judging()
    long: Judging = Judging(max_frames=10_000, rollouts=8, real_rollouts=40)
    long_methods: tuple[str, ...] = ("b_plus", "noise", "pushforward", "recycle")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line can set.

    Attributes:
        config: the experiment.
        share: what this process does of the work.
        publish: a file that the results are copied to, or nothing.
    """

    config: Config = Config()
    share: Share = Share()
    publish: str = ""


def smoke() -> Command:
    """Through the same code in about a minute."""
    return Command(
        config=Config(
            worlds=("balls",),
            kinds=("predictor",),
            methods=("b", "b_plus", "recycle"),
            seeds=(0,),
            ball_size=16,
            net=Net(width=16),
            budget=Budget(base=40, extra=1.0, rows=16),
            recycling=dataclasses.replace(FIRST_VERSION, chains=8, max_age=8, capacity=64),
            judging=Judging(max_frames=64, rollouts=8, real_rollouts=40),
            long=Judging(max_frames=128, rollouts=4, real_rollouts=40),
            long_methods=("recycle",),
        )
    )


def small() -> Command:
    """Two cores."""
    return Command()


def full() -> Command:
    """One GPU: larger networks on finer tiles, five seeds."""
    return Command(
        config=Config(
            seeds=(0, 1, 2, 3, 4),
            heart_size=32,
            net=Net(width=64, tiles=16, levels=3),
            budget=Budget(base=20_000, rows=64),
        )
    )


PRESETS: dict[str, Callable[[], Command]] = {"smoke": smoke, "small": small, "full": full, "pod": full}


def world_of(name: str, config: Config) -> DecodableWorld:
    """The world that results call `name`; it reads its state from two frames, whatever a generator's context is."""
    builders: dict[str, Callable[[], DecodableWorld]] = {
        "balls": lambda: BouncingBalls(size=config.ball_size, balls=config.balls, context_frames=2),
        "heartbeat": lambda: Heartbeat(size=config.heart_size, context_frames=2),
    }
    if name not in builders:
        raise ValueError(f"unknown world {name!r}: there are {', '.join(builders)}")
    return builders[name]()


def build_task(name: str, kind: str, config: Config) -> Task:
    """One world, one generator, its evaluator."""
    world, ball = world_of(name, config), name == "balls"
    objects = config.balls if ball else 1
    context = config.context
    choices = config.ball_choices if ball else config.heart_choices
    return Task(
        world=name,
        kind=kind,
        generator=build_generator(kind, world.shape, context, config.net),
        source=world_source(world),
        held_out=world_source(world)(HELD_OUT_SEED),
        truth=functools.partial(true_continuation, world, max(world.context_frames, context)),
        judge=functools.cache(functools.partial(world_judge, name, world, objects, context, config.judging)),
        long=functools.partial(world_judge, name, world, objects, context, config.long),
        continued=simulator_reference(world, gate_of(choices)),
        budget=config.budget,
        choices=choices,
        recycling=config.flow_recycling if kind == "flow" else config.recycling,
        mesh=make_mesh(),
    )


def world_judge(name: str, world: DecodableWorld, objects: int, context: int, judging: Judging) -> Evaluator:
    """Bands and starts of a world."""
    monitor = Monitor(
        statistics=world_statistics(world),
        window=judging.window,
        max_frames=judging.max_frames,
        bands=world_bands(f"{name}{world.shape[0]}", world, objects, judging),
    )
    shown = max(world.context_frames, context)
    return Evaluator(
        monitor=monitor,
        starts=start_context(world, shown, judging.rollouts),
        pace=functools.cache(functools.partial(true_pace, world, shown, judging.rollouts)),
    )


def true_continuation(world: DecodableWorld, context: int, frames: int) -> np.ndarray:
    """How the first start really goes on."""
    clip = world_source(world)(START_SEED).batch(0, 1, context + frames).clip
    return np.asarray(clip[0, context:])


def main(command: Command, workdir: Path, preset: str) -> dict[str, Any]:
    """Runs this process's share; assembles and reports all cells that are there."""
    config = command.config
    comparison = Comparison(
        experiment="worlds",
        preset=preset,
        question=QUESTION,
        command=f"python -m experiments.comparison.worlds_task --preset {preset}",
        methods=config.methods,
        seeds=config.seeds,
        strip_frames=config.judging.max_frames,
        tuning_trials=TRIALS,
        long_methods=config.long_methods,
    )
    return run(comparison, command, workdir)


def run(comparison: Comparison, command: Command, workdir: Path) -> dict[str, Any]:
    """Any comparison over the worlds of a config."""
    config, directory = command.config, open_workdir(workdir, command.config)
    jax.config.update("jax_compilation_cache_dir", str(directory.path / "compiled"))
    builders = [functools.partial(build_task, w, k, config) for w in config.worlds for k in config.kinds]
    tasks, cells = run_comparison(comparison, builders, directory, command.share)
    return conclude(comparison, tasks, cells, directory, config, command.publish)


if __name__ == "__main__":
    launch(main, PRESETS, name="worlds")
