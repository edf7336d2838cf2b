"""Which remedy for drift lasts longest at equal compute, on which world and generator, and why recycling does?

Question: on four simulated worlds, with a deterministic predictor and a flow generator, how long is the horizon of each
known remedy, with the same network, the same data in the same order, the same budget and the same number of tuning
trials? What of recycling matters, does it beat errors that are not the generator's own, and does it hold on video of a
domain that it never saw?

Expected: recycling by one recipe (`histories.recycle`) at least 2 x the best rival and 10 x B+, above every control,
and at most 5 % below B+ on the unseen domain.

    python -m experiments.compare --preset small

Two stages, each a list of cells that are written when they are done; the same command goes on where it was, and
`--stages final` does one stage only:

    final       every method, the parts of the recipe and the controls, on the reported seeds
    domains     trained on one domain, judged on it and on another

Each method has the setting that a screening chose for it (`experiments.comparison.methods`), on two worlds and on seeds
that are not reported.

`small` is days on two cores, shared by as many processes as `--share.parts` says: about 60 methods x 16 tasks x 5
seeds of one to seven minutes; `--share.methods`, `--share.worlds` and `--share.kinds` make what matters first. `full`
is for a GPU. On a machine that has none of the cells,

    git show 20ea5f4:experiments/results/compare.json > compare_full.json
    python -m experiments.compare --preset small --earlier compare_full.json

goes on from those that are published; cells of methods that are no longer run stay in the results. What is committed
under `experiments/results` is the summary that `experiments.comparison.summarise` makes of such a file.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments.comparison.cell_store import take_over
from experiments.comparison.conclusion import conclude
from experiments.comparison.domains import CROWDED, DOMAINS, FURTHER, STOCHASTIC, WORLDS, things_in
from experiments.comparison.evaluation import HELD_OUT_SEED, Judging
from experiments.comparison.method import Method, require_known
from experiments.comparison.methods import CONTROLS, EARLY, FAST, RIVALS, SCREENED, TABLE
from experiments.comparison.runner import Comparison, Share, missing_cells, run_comparison
from experiments.comparison.task import (
    FIRST_VERSION,
    Budget,
    Choices,
    Net,
    Task,
    build_generator,
    gate_of,
    simulator_reference,
    world_source,
)
from experiments.comparison.worlds_task import true_continuation, world_judge
from recycle_jax.data.worlds.base import DecodableWorld
from recycle_jax.histories.recipe import Recycling
from recycle_jax.io.workdir import Workdir, open_workdir
from recycle_jax.io.writers import read_json
from recycle_jax.sharding import make_mesh

QUESTION = "Which remedy for drift keeps a generator stable for longest, at equal compute?"
START_FRAMES = 12
"""Frames of a judged start: as many as the longest context of any method."""

ALL_WORLDS = {**WORLDS, **STOCHASTIC, **CROWDED}
STAGES = ("final", "domains")
COMPARED = {"b", "b_plus", *RIVALS, *EARLY, *FAST, *CONTROLS} - {"dagger"}
"""What `ours` is compared with: rivals and controls; not what asks a simulator, nor parts of itself."""

DOMAIN_METHODS = (
    "b",
    "b_plus",
    "b_plus:fast",
    "noise",
    "pushforward",
    "ours",
    "ours:no_noise,even,fast",
    "ours:unmended,even,fast",
    "ours:relayed,fast",
    "ours:slow",
    "ours:early",
    "ours:before",
    "ours:before,unmended",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that a run of this experiment depends on.

    Attributes:
        worlds: names of worlds, see `WORLDS`, `STOCHASTIC` and `CROWDED`.
        kinds: generators.
        methods: ids of `experiments.comparison.methods`.
        seeds: reported training seeds.
        context: frames of history of every generator.
        choices: how recycled rollouts are registered.
        net, budget: see there.
        recycling: the recipe.
        judging: how generators are judged.
        long: how a few generators of the first seed are judged besides.
        long_methods: which.
    """

    worlds: tuple[str, ...] = tuple(ALL_WORLDS)
    kinds: tuple[str, ...] = ("predictor", "flow")
    methods: tuple[str, ...] = tuple(TABLE)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    context: int = 2
    choices: Choices = Choices(time=True, velocity_damping=0.2, flow_velocity_damping=0.2)
    net: Net = Net(frame_levels=True)
    budget: Budget = Budget()
    recycling: Recycling = dataclasses.replace(FIRST_VERSION, noise=0.05)
    judging: Judging = Judging()
    long: Judging = Judging(max_frames=10_000, rollouts=8, real_rollouts=40)
    long_methods: tuple[str, ...] = (
        "b_plus",
        "b_plus:cold",
        "b_plus:fast",
        "b_plus:cold,fast",
        "scheduled",
        "forcing",
        "scheduled_early:fast",
        "discrete:fast",
        "relay_early:fast",
        "ours",
        "ours:relayed,fast",
        "ours:slow",
    )

    def __post_init__(self) -> None:
        require_known(self.methods, TABLE)
        unknown = [name for name in self.worlds if name not in ALL_WORLDS]
        if unknown:
            raise ValueError(f"unknown worlds {unknown}: there are {', '.join(ALL_WORLDS)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line can set.

    Attributes:
        config: the experiment.
        stages: which are run; the others' cells are read as they are.
        share: what this process does of the work.
        publish: a file that the results are copied to, or nothing.
        earlier: a file that was published before, whose cells are taken over, or nothing. Once taken over they stay in
            the workdir.
    """

    config: Config = Config()
    stages: tuple[str, ...] = STAGES
    share: Share = Share()
    publish: str = ""
    earlier: str = ""

    def share_of(self, stage: str) -> Share:
        """What this process does of a stage."""
        return self.share if stage in self.stages else Share(parts=0)


def smoke() -> Command:
    """Through the same code in a few minutes: both stages, B and the recipe, the cheapest world."""
    quick = Judging(max_frames=16, rollouts=4, real_rollouts=40)
    config = Config(
        worlds=("heartbeat",),
        kinds=("predictor",),
        methods=("b", "ours"),
        seeds=(0,),
        net=Net(width=16, frame_levels=True),
        budget=Budget(base=20, extra=1.0, rows=16),
        recycling=dataclasses.replace(FIRST_VERSION, chains=8, max_age=8, capacity=64),
        judging=quick,
        long_methods=(),
    )
    return Command(config=config)


def small() -> Command:
    """Two cores."""
    return Command()


def full() -> Command:
    """One GPU: larger networks on finer tiles."""
    config = Config(net=Net(width=64, tiles=16, levels=3, frame_levels=True), budget=Budget(base=20_000, rows=64))
    return Command(config=config)


PRESETS: dict[str, Callable[[], Command]] = {"smoke": smoke, "small": small, "full": full, "pod": full}


def main(command: Command, workdir: Path, preset: str) -> dict[str, Any]:
    """Runs this process's share of the stages; assembles and reports all cells that are there."""
    config, directory = command.config, open_workdir(workdir, made_of(command.config))
    jax.config.update("jax_compilation_cache_dir", str(directory.path / "compiled"))
    if command.earlier:
        taken = take_over(command.earlier, directory, preset, config.judging.max_frames)
        Console(stderr=True).print(f"{taken} cells taken over from {command.earlier}")
    table = {name: method for name, method in TABLE.items() if name in config.methods}
    comparison = _comparison("compare", preset, config, table, config.seeds)
    tasks, cells = run_stage("final", comparison, _tasks(config, config.judging), directory, command)
    more = run_stage("domains", _domain_comparison(comparison), _domain_tasks(config), directory, command)
    cells = [*cells, *more[1], *retired_cells(directory, TABLE)]
    trials = {cell["method"]: SCREENED.get(cell["method"], 1) for cell in cells}
    comparison = dataclasses.replace(comparison, tuning_trials=tuple(trials.items()))
    return conclude(comparison, [*tasks, *more[0]], cells, directory, config, command.publish)


def made_of(config: Config) -> dict[str, Any]:
    """What a cell depends on; not its neighbours, so that a workdir may grow by methods, worlds and seeds."""
    fields = ("context", "choices", "net", "budget", "recycling", "judging", "long")
    worlds = {name: [repr(WORLDS[name]), repr(DOMAINS[name])] for name in WORLDS}
    return {**{name: getattr(config, name) for name in fields}, "worlds": worlds}


def run_stage(
    stage: str, comparison: Comparison, builders: Sequence[Callable[[], Task]], workdir: Workdir, command: Command
) -> tuple[list[Task], list[dict[str, Any]]]:
    """The cells of a stage, after telling how much of it is left to do."""
    builders = [functools.cache(build) for build in builders]
    if stage in command.stages:
        missing, seconds = missing_cells(comparison, builders, workdir)
        about = f", about {missing * seconds / 3600:.1f} core hours" if seconds else ""
        Console(stderr=True).print(f"{time.strftime('%H:%M')} {stage}: {missing} cells to make{about}")
    return run_comparison(comparison, builders, workdir, command.share_of(stage))


def retired_cells(workdir: Workdir, table: Mapping[str, Method]) -> list[dict[str, Any]]:
    """The cells of a workdir whose methods are no longer run: what was published stays published."""
    cells = [read_json(path) for path in sorted((workdir.path / "cells").glob("*.json"))]
    return [cell for cell in cells if cell["method"].partition("+")[0] not in table]


def build_task(
    name: str, kind: str, config: Config, world: DecodableWorld, judging: Judging, label: str, domain: str = "all"
) -> Task:
    """One world, one generator, its evaluator."""
    judge = functools.partial(world_judge, world=world, objects=things_in(world), context=START_FRAMES)
    return Task(
        world=label,
        kind=kind,
        generator=build_generator(kind, world.shape, config.context, config.net),
        source=world_source(world),
        held_out=world_source(world)(HELD_OUT_SEED),
        truth=functools.partial(true_continuation, world, max(world.context_frames, START_FRAMES)),
        judge=functools.cache(functools.partial(judge, label, judging=judging)),
        long=functools.partial(judge, name, judging=config.long) if domain == "all" else None,
        continued=simulator_reference(world, gate_of(config.choices)),
        budget=config.budget,
        choices=config.choices,
        recycling=config.recycling,
        mesh=make_mesh(),
        simulator=world,
        net=config.net,
        train_domain=domain,
    )


def _tasks(config: Config, judging: Judging) -> list[Callable[[], Task]]:
    return [
        functools.partial(build_task, name, kind, config, ALL_WORLDS[name], judging, name)
        for kind in config.kinds
        for name in config.worlds
        if kind == "flow" or ALL_WORLDS[name].deterministic
    ]


def _domain_tasks(config: Config) -> list[Callable[[], Task]]:
    names = [name for name in config.worlds if name in DOMAINS]
    return [functools.partial(_split_task, name, kind, config) for kind in config.kinds for name in names]


def _split_task(name: str, kind: str, config: Config) -> Task:
    """Trained on one domain, judged on all."""
    domains = DOMAINS[name]
    label = f"{name}_{domains.seen}"
    seen = domains.worlds[domains.seen]
    unseen = {domains.unseen: domains.worlds[domains.unseen], **FURTHER.get(name, {})}
    task = build_task(name, kind, config, seen, config.judging, label, domains.seen)
    return dataclasses.replace(
        task,
        elsewhere={
            domain: functools.partial(
                world_judge, f"{name}_{domain}", world, things_in(world), START_FRAMES, config.judging
            )
            for domain, world in unseen.items()
        },
        held_out_elsewhere={domain: world_source(world)(HELD_OUT_SEED) for domain, world in unseen.items()},
    )


def _comparison(
    experiment: str, preset: str, config: Config, table: dict[str, Method], seeds: tuple[int, ...]
) -> Comparison:
    return Comparison(
        experiment=experiment,
        preset=preset,
        question=QUESTION,
        command=f"python -m experiments.compare --preset {preset}",
        methods=tuple(table),
        seeds=seeds,
        strip_frames=config.judging.max_frames,
        long_methods=tuple(name for name in config.long_methods if name in table),
        table=table,
        headline_method="ours",
        rivals=tuple(name for name in table if name in COMPARED),
        other_model=True,
    )


def _domain_comparison(comparison: Comparison) -> Comparison:
    methods = tuple(name for name in DOMAIN_METHODS if name in comparison.table)
    return dataclasses.replace(comparison, methods=methods, long_methods=())
