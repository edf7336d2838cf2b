"""Which remedy for drift lasts longest at equal compute, on which world and generator, and why recycling does?

Question: on four simulated worlds, with a deterministic predictor and a flow generator, how long is the horizon of each
known remedy, with the same network, the same data in the same order, the same budget and the same number of tuning
trials? What of recycling matters, does it beat errors that are not the generator's own, and does it hold on video of a
domain that it never saw?

Expected: recycling by one recipe (`histories.recycle`) at least 2 x the best rival and 10 x B+, above every control,
and at most 5 % below B+ on the unseen domain.

    python -m experiments.compare --preset small

Three stages, each a list of cells that are written when they are done; the same command goes on where it was, and
`--stages screening` does one stage only:

    screening   every setting of every remedy that has several, on two worlds and on seeds that are not reported, with
                half of the training and shorter rollouts
    final       the chosen setting of every remedy, the ablations and the controls, on the reported seeds
    domains     trained on one domain, judged on it and on another

Which setting goes on is a rule fixed before it ran, see `experiments.comparison.model_selection`; the best settings of
ours, which two worlds cannot tell apart, are judged on the other two as well.

`small` is days on two cores, shared by as many processes as `--share.parts` says: 536 cells of screening of 40 seconds
to 3 minutes, then 124 methods x 16 places x 5 seeds of one to seven minutes; `--share.methods`, `--share.worlds` and
`--share.kinds` make what matters first. `full` is for a GPU. On a machine that has none of the cells,

    git show ablations-1:experiments/results/compare.json > compare_full.json
    python -m experiments.compare --preset small --earlier compare_full.json

goes on from those that are published, and keeps the settings that were chosen for them. What is committed under
`experiments/results` is the summary that `experiments.comparison.summarise` makes of such a file.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from experiments.comparison.cell_store import settings_taken_over, take_over
from experiments.comparison.domains import CROWDED, DOMAINS, FURTHER, STOCHASTIC, WORLDS, things_in
from experiments.comparison.evaluation import HELD_OUT_SEED, Judging
from experiments.comparison.method import Method, require_known
from experiments.comparison.methods import CONTROLS, EARLIER, FASTER, REMEDIES, RIVALS, family_of
from experiments.comparison.model_selection import best_of, choose
from experiments.comparison.runner import Comparison, Share, conclude, missing_cells, run_contest
from experiments.comparison.task import (
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
from recycle_jax.io.writers import write_json
from recycle_jax.sharding import make_mesh

QUESTION = "Which remedy for drift keeps a generator stable for longest, at equal compute?"
START_FRAMES = 12
"""Frames of a judged start: as many as the longest context of any method."""

ALL_WORLDS = {**WORLDS, **STOCHASTIC, **CROWDED}
STAGES = ("screening", "final", "domains")
COMPARED = {
    "b",
    "b_plus",
    "cooled",
    *map(family_of, RIVALS),
    *map(family_of, EARLIER),
    *FASTER,
    *map(family_of, CONTROLS),
} - {
    "dagger",
    "ours",
}
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
        methods: ids of `experiments.comparison.methods`; families or single settings.
        screening_worlds: where settings are chosen, so that the other worlds are reported untouched by tuning.
        screening_seeds: training seeds of the screening.
        screening_budget: shorter than the reported one.
        run_off: families whose best settings are judged on more worlds; a family with missing cells there keeps the
            screening's choice.
        run_off_worlds: those worlds.
        run_off_within: share of the best setting's score from which on a setting goes there.
        seeds: reported training seeds.
        context: frames of history of every generator.
        choices: how recycled rollouts are registered.
        net, budget: see there.
        recycling: the recipe.
        screening: how the screening judges.
        judging: how the other stages judge.
        long: how a few generators of the first seed are judged besides.
        long_methods: which.
    """

    worlds: tuple[str, ...] = tuple(ALL_WORLDS)
    kinds: tuple[str, ...] = ("predictor", "flow")
    methods: tuple[str, ...] = tuple(REMEDIES)
    screening_worlds: tuple[str, ...] = ("balls", "heartbeat")
    screening_seeds: tuple[int, ...] = (100, 101)
    screening_budget: Budget = Budget(base=2000)
    run_off: tuple[str, ...] = ("ours",)
    run_off_worlds: tuple[str, ...] = ("digits", "driving")
    run_off_within: float = 0.9
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    context: int = 2
    choices: Choices = Choices(time=True, velocity_damping=0.2, flow_velocity_damping=0.2)
    net: Net = Net(frame_levels=True)
    budget: Budget = Budget()
    recycling: Recycling = Recycling(noise=0.05)
    screening: Judging = Judging(rollouts=32)
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
        families = {family_of(name): method for name, method in REMEDIES.items()}
        require_known(self.methods, {**REMEDIES, **families})
        worlds = (*self.worlds, *self.screening_worlds, *self.run_off_worlds)
        unknown = [name for name in worlds if name not in ALL_WORLDS]
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
        earlier: a file that was published before, whose cells and choices of settings are taken over, or nothing. Once
            taken over they stay in the workdir.
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
    """Through the same code in a few minutes: all three stages, two settings of the recipe, the cheapest world."""
    quick = Judging(max_frames=16, rollouts=4, real_rollouts=40)
    config = Config(
        worlds=("heartbeat",),
        kinds=("predictor",),
        methods=("b", "ours=braked", "ours=loose"),
        screening_worlds=("heartbeat",),
        screening_seeds=(100,),
        run_off_worlds=("heartbeat",),  # its cells are there; another world would compile everything once more
        run_off_within=0.0,
        screening_budget=Budget(base=20, extra=1.0, rows=16),
        seeds=(0,),
        net=Net(width=16, frame_levels=True),
        budget=Budget(base=20, extra=1.0, rows=16),
        recycling=Recycling(chains=8, max_age=8, capacity=64),
        screening=quick,
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
    config, place = command.config, open_workdir(workdir, made_of(command.config))
    jax.config.update("jax_compilation_cache_dir", str(place.path / "compiled"))
    if command.earlier:
        taken = take_over(command.earlier, place, preset, config.judging.max_frames)
        Console(stderr=True).print(f"{taken} cells taken over from {command.earlier}")
    chosen = {**screen(command, preset, place), **settings_taken_over(place)}
    table = final_table(config, chosen)
    contest = _contest("compare", preset, config, table, config.seeds)
    places, cells = run_stage("final", contest, _arenas(config, config.judging), place, command)
    more = run_stage("domains", _domain_contest(contest), _domain_arenas(config), place, command)
    contest = dataclasses.replace(contest, tuning_trials=trials(config))
    return conclude(contest, [*places, *more[0]], [*cells, *more[1]], place, config, command.publish)


def made_of(config: Config) -> dict[str, Any]:
    """What a cell depends on; not its neighbours, so that a workdir may grow by methods, worlds and seeds."""
    fields = ("context", "choices", "net", "budget", "recycling", "screening_budget", "screening", "judging", "long")
    worlds = {name: [repr(WORLDS[name]), repr(DOMAINS[name])] for name in WORLDS}
    return {**{name: getattr(config, name) for name in fields}, "worlds": worlds}


def screen(command: Command, preset: str, workdir: Workdir) -> dict[str, str]:
    """Runs the screening and its run-off; family -> its chosen setting, without families that miss cells."""
    config = command.config
    counts = dict(trials(config))
    settings = {name: REMEDIES[name] for name in named(config) if counts[family_of(name)] > 1}
    contest = _contest("screening", preset, config, settings, config.screening_seeds)
    contest = dataclasses.replace(contest, strip_frames=1, long_methods=())
    inside = open_workdir(workdir.path / "screening", made_of(config))
    short = dataclasses.replace(config, worlds=config.screening_worlds, budget=config.screening_budget)
    places, cells = run_stage("screening", contest, _arenas(short, config.screening), inside, command)
    chosen = choose(contest, places, cells)
    close = best_of(contest, places, cells, config.run_off, config.run_off_within)
    finalists = {name: settings[name] for name in close if config.run_off_worlds}
    if finalists:
        rest = dataclasses.replace(contest, methods=tuple(finalists), table=finalists)
        elsewhere = dataclasses.replace(short, worlds=config.run_off_worlds)
        more = run_stage("screening", rest, _arenas(elsewhere, config.screening), inside, command)
        chosen |= choose(rest, [*places, *more[0]], [*cells, *more[1]])
    write_json(inside.path / "chosen.json", chosen)
    return chosen


def run_stage(
    stage: str, contest: Comparison, makers: Sequence[Callable[[], Task]], workdir: Workdir, command: Command
) -> tuple[list[Task], list[dict[str, Any]]]:
    """The cells of a stage, after telling how much of it is left to do."""
    makers = [functools.cache(make) for make in makers]
    if stage in command.stages:
        missing, seconds = missing_cells(contest, makers, workdir)
        about = f", about {missing * seconds / 3600:.1f} core hours" if seconds else ""
        Console(stderr=True).print(f"{time.strftime('%H:%M')} {stage}: {missing} cells to make{about}")
    return run_contest(contest, makers, workdir, command.share_of(stage))


def named(config: Config) -> list[str]:
    """The settings that a config names, one by one or by their families."""
    return [name for name in REMEDIES if name in config.methods or family_of(name) in config.methods]


def final_table(config: Config, chosen: Mapping[str, str]) -> dict[str, Method]:
    """Family -> method with the chosen setting; what has one setting needs no choice."""
    names = named(config)
    alone = {family_of(n): n for n in names if sum(family_of(m) == family_of(n) for m in names) == 1}
    return {family: _as_family(name) for family, name in {**alone, **chosen}.items()}


def _as_family(name: str) -> Method:
    """A setting in its family's place; where it does not differ from its twin it runs there too."""
    method = REMEDIES[name]
    return dataclasses.replace(method, setting=name, refuses=REMEDIES[method.twin or name].refuses)


def trials(config: Config) -> tuple[tuple[str, int], ...]:
    """Settings screened, family by family."""
    names = named(config)
    return tuple((family, sum(family_of(name) == family for name in names)) for family in map(family_of, names))


def build_arena(
    name: str, kind: str, config: Config, world: DecodableWorld, judging: Judging, label: str, domain: str = "all"
) -> Task:
    """One world, one generator, its judge."""
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


def _arenas(config: Config, judging: Judging) -> list[Callable[[], Task]]:
    return [
        functools.partial(build_arena, name, kind, config, ALL_WORLDS[name], judging, name)
        for kind in config.kinds
        for name in config.worlds
        if kind == "flow" or ALL_WORLDS[name].deterministic
    ]


def _domain_arenas(config: Config) -> list[Callable[[], Task]]:
    names = [name for name in config.worlds if name in DOMAINS]
    return [functools.partial(_split_arena, name, kind, config) for kind in config.kinds for name in names]


def _split_arena(name: str, kind: str, config: Config) -> Task:
    """Trained on one domain, judged on all."""
    domains = DOMAINS[name]
    label = f"{name}_{domains.seen}"
    seen = domains.worlds[domains.seen]
    unseen = {domains.unseen: domains.worlds[domains.unseen], **FURTHER.get(name, {})}
    task = build_arena(name, kind, config, seen, config.judging, label, domains.seen)
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


def _contest(
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
    )


def _domain_contest(contest: Comparison) -> Comparison:
    methods = tuple(name for name in DOMAIN_METHODS if name in contest.table)
    return dataclasses.replace(contest, methods=methods, long_methods=())
