"""A contest is a list of cells, (arena, seed, method), each written when it is done.

A killed contest goes on where it was: finished cells are read back, B's parameters come from their
checkpoint, and a half-trained phase resumes from its last one. Two processes may share the work: each
takes the (arena, seed) pairs that fall to it, a phase that both need is trained by one while the other waits, and
two that would train the same method are told so. Results are assembled from the cells that are there, so that a
table can grow for days.
"""

import contextlib
import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.comparison.cell_store import cell_path, is_there, known_of_curves, publish, seeds_there
from experiments.comparison.evaluation import (
    anothers_errors,
    cell_measurement,
    held_out_loss,
    judge,
    probes,
    strip_frames,
    with_memory,
)
from experiments.comparison.method import METHODS, Method, require_known
from experiments.comparison.phases import Job, train_base
from experiments.comparison.report.page import build
from experiments.comparison.task import Evaluator, Task, Trained
from recycle_jax.data.base import ClipSource
from recycle_jax.drift.summary import headline, summarise
from recycle_jax.histories.base import HistoryPolicy
from recycle_jax.histories.clean import TeacherForcing
from recycle_jax.io import checkpoint
from recycle_jax.io.files import replacing
from recycle_jax.io.lock import hold
from recycle_jax.io.paths import named, plain_name, remove_tree
from recycle_jax.io.progress import track
from recycle_jax.io.workdir import Workdir, device_name, run_metadata
from recycle_jax.io.writers import read_json, write_json
from recycle_jax.report.build import Media, Video
from recycle_jax.report.filmstrips import Filmstrip, columns
from recycle_jax.training.cost import Cost
from recycle_jax.training.loop import Observer
from recycle_jax.typing import Params

PHASE = "--"
"""Between a method and one of its phases, in the names of checkpoints."""

ANOTHER_SHARE, ANOTHER_SEED = 0.1, 2000
"""The model whose errors every generator meets once: a B of this share of the updates, of a training seed so far on."""

RIVALS = ("b_plus", "noise", "pushforward", "recycle_continued", "b")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared and how the report tells of it.

    Attributes:
        experiment: name in the results.
        preset: name of the preset.
        question: what the report answers.
        command: what makes it again.
        methods: ids, in the order in which they run; `b` first. `recycle+0.1` is recycling that spends 0.1 of B's
            cost besides, for the curve of horizon against cost.
        seeds: training seeds.
        strip_frames: frames of the rollouts that are kept for pictures.
        tuning_trials: `(method, settings tried)`, honestly counted; 0 for methods that are not named.
        long_methods: whose generators of the first seed are judged on a few long rollouts too, where an arena has a
            judge for that.
        table: what the ids mean.
        headline_method: id that is compared with the others.
        rivals: ids that it is compared with.
    """

    experiment: str
    preset: str
    question: str
    command: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    strip_frames: int = 1024
    tuning_trials: tuple[tuple[str, int], ...] = ()
    long_methods: tuple[str, ...] = ()
    table: dict[str, Method] = dataclasses.field(default_factory=lambda: METHODS)
    headline_method: str = "recycle"
    rivals: tuple[str, ...] = RIVALS

    def __post_init__(self) -> None:
        require_known((*self.methods, *self.long_methods), self.table)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What one process does of a contest, which may take days and several processes.

    Attributes:
        part: number of this process.
        parts: how many share the work; (arena, seed) pairs are dealt in turn; 0 does nothing.
        pairs: stop after the first so many pairs, 0 for all.
        worlds, kinds, methods: these only, where any are named; a method's family stands for all its settings.
    """

    part: int = 0
    parts: int = 1
    pairs: int = 0
    worlds: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()

    def takes(self, number: int) -> bool:
        """Whether pair `number` is done here and now."""
        return self.parts > 0 and number % self.parts == self.part and (not self.pairs or number < self.pairs)

    def wants(self, place: Task) -> bool:
        """Whether an arena is among those named."""
        return place.world in (self.worlds or (place.world,)) and place.kind in (self.kinds or (place.kind,))

    def does(self, method: str) -> bool:
        """Whether a method is among those named; B is made wherever it is needed."""
        return not self.methods or method in self.methods or method.partition("=")[0] in self.methods


def run_contest(
    contest: Comparison,
    arenas_of: Sequence[Callable[[], Task]],
    workdir: Workdir,
    share: Share = Share(),  # noqa: B008 (frozen)
) -> tuple[list[Task], list[dict[str, Any]]]:
    """Runs the missing cells of this share; returns the arenas and all cells that are there, whoever made them.

    Args:
        contest: what is compared.
        arenas_of: makes each arena when its turn comes, since an arena holds compiled programs and arrays.
        workdir: where cells, checkpoints and pictures go.
        share: what is done by this process.
    """
    places = [functools.cache(make) for make in arenas_of]
    wanted = [place for place in places if share.parts and share.wants(place())]
    pairs = [(place, seed) for seed in contest.seeds for place in wanted]
    for number, (place, seed) in enumerate(pairs):
        if share.takes(number):
            _finish_pair(contest, place(), seed, workdir, share, places)
    made = [place() for place in places]
    whole = dataclasses.replace(contest, seeds=tuple(sorted({*contest.seeds, *seeds_there(workdir)})))
    long = [(seed, method) for seed in whole.seeds for method in whole.table]  # who is judged long may change
    paths = [path for place in made for path in _paths(whole, place, workdir, long)]
    return made, [read_json(path) for path in paths if is_there(path)]


def missing_cells(contest: Comparison, arenas_of: Sequence[Callable[[], Task]], workdir: Workdir) -> tuple[int, float]:
    """How many cells of a contest are missing, and the mean seconds that the finished ones trained for."""
    long = [(contest.seeds[0], method) for method in contest.long_methods]
    paths = [path for make in arenas_of for path in _paths(contest, make(), workdir, long)]
    done = [read_json(path) for path in paths if is_there(path)]
    return len(paths) - len(done), float(np.mean([cell["cost"]["seconds"] for cell in done])) if done else 0.0


def _paths(contest: Comparison, place: Task, workdir: Workdir, long: Sequence[tuple[int, str]]) -> list[Path]:
    """Where the cells of an arena are or will be, long rollouts of these seeds and methods included."""
    cells = [(seed, method) for seed in contest.seeds for method in _methods(contest, place)]
    paths = [_path(workdir, place, seed, method) for seed, method in cells]
    paths += [_path(workdir, place, seed, method, domain) for seed, method in cells for domain in place.elsewhere]
    if place.long is None:
        return paths
    return paths + [_path(workdir, place, seed, method, "long") for seed, method in long]


def conclude(
    contest: Comparison,
    places: Sequence[Task],
    cells: list[dict[str, Any]],
    workdir: Workdir,
    config: Any,
    published: str,
) -> dict[str, Any]:
    """Results, their committed copy where one is asked for, and the report."""
    results = assemble(contest, places, cells, workdir, config)
    if published:
        publish(published, results)
    report(contest, results, places, workdir)
    return results


def assemble(
    contest: Comparison, places: Sequence[Task], cells: list[dict[str, Any]], workdir: Workdir, config: Any
) -> dict[str, Any]:
    """Cells to results: bands, summary, headline, origin; writes `results.json`."""
    trials = dict(contest.tuning_trials)
    cells = [{**cell, "tuning_trials": trials.get(cell["method"].partition("+")[0], 0)} for cell in cells]
    judges = {place.world: place.judge() for place in _shown_places(places, cells)}
    cells = [_remembering(cell, judges[cell["world"]]) for cell in cells]
    bands = {world: judged.monitor.bands for world, judged in judges.items() if judged.monitor.bands is not None}
    results = {
        "schema_version": 1,
        "experiment": contest.experiment,
        "preset": contest.preset,
        **run_metadata(config),
        "made_of": read_json(workdir.config),
        "bands": {name: value.to_json() for name, value in bands.items()},
        "settings": {
            name: method.setting for name, method in contest.table.items() if method.setting not in ("", name)
        },
        "refused": refusals(contest, places),
        "cells": cells,
        "summary": summarise(cells, bands, known=known_of_curves(workdir, cells, bands)),
        "headline": headline(cells, bands, method=contest.headline_method, rivals=contest.rivals),
    }
    write_json(workdir.results, results)
    return results


def _remembering(cell: dict[str, Any], judged: Evaluator) -> dict[str, Any]:
    """With memory, where these are rollouts of this judge; those of another domain or length began elsewhere."""
    own = cell["train_domain"] == cell["eval_domain"] and cell["max_frames"] == judged.monitor.max_frames
    return with_memory(cell, judged) if own else cell


def _shown_places(places: Sequence[Task], cells: Sequence[dict[str, Any]]) -> list[Task]:
    """The arenas that have cells; the others' bands and truth are not made for nothing."""
    there = {(cell["world"], cell["generator"]) for cell in cells}
    return [place for place in places if (place.world, place.kind) in there]


def report(contest: Comparison, results: dict[str, Any], places: Sequence[Task], workdir: Workdir) -> Path:
    """Table on the console, plots, filmstrips, videos and the page."""
    strips, videos = [], []
    for place in _shown_places(places, results["cells"]):
        kept = _pictures(contest, place, workdir)
        title = f"{place.world}, {place.kind}"
        numbers = [n for n in columns(contest.strip_frames) if n <= contest.strip_frames]
        rows = {name: frames[[n - 1 for n in numbers if n <= len(frames)]] for name, frames in kept.items()}
        strips.append(Filmstrip(title=title, numbers=numbers, rows=rows))
        shown = {n: f[:160] for n, f in kept.items() if n in ("truth", "b_plus", contest.headline_method)}
        videos.append(Video(name=f"{place.world}-{place.kind}", title=title, columns=shown, fps=place.fps))
    media = Media(filmstrips=tuple(strips), videos=tuple(videos))
    saved = f"The parameters of every generator lie in {workdir.path / 'trained'}."
    return build(results, workdir.path, media, question=contest.question, command=contest.command, saved=saved)


def refusals(contest: Comparison, places: Sequence[Task]) -> dict[str, str]:
    """`WORLD/GENERATOR/METHOD` -> why that method has no cell there and can have none."""
    asked = [(place, method) for place in places for method in contest.methods]
    reasons = [(place, method, contest.table[method.partition("+")[0]].refuses(place)) for place, method in asked]
    return {f"{place.world}/{place.kind}/{method}": why for place, method, why in reasons if why}


def _methods(contest: Comparison, place: Task) -> Iterator[str]:
    return (m for m in contest.methods if not contest.table[m.partition("+")[0]].refuses(place))


def _finish_pair(
    contest: Comparison,
    place: Task,
    seed: int,
    workdir: Workdir,
    share: Share,
    places: Sequence[Callable[[], Task]],
) -> None:
    """The missing cells of one arena and seed, method by method; each is trained once for all of its cells."""
    for method in filter(share.does, _methods(contest, place)):
        missing = [
            judging for judging in _judgings(contest, place, seed, method, workdir) if not is_there(judging.path)
        ]
        if not missing:
            continue
        trained = _train(contest, place, seed, method, workdir, places)
        if seed == contest.seeds[0]:
            _save_pictures(_picture_path(workdir, place, method), _shown(contest, place, seed, trained))
        another = _another(place, seed, workdir)
        for judging in track(missing, f"{place.world} {place.kind} {method} (seed {seed}), judging"):
            setting = contest.table[method.partition("+")[0]].setting
            made_by = {"setting": setting or method, "preset": contest.preset, "device": device_name()}
            cell = {**_cell(place, seed, method, trained, another, judging), **made_by}
            write_json(judging.path, cell)
            exits = float(np.median(cell["rollouts"]["exit_frame"]))
            workdir.log({"cell": judging.path.stem, "median_exit": exits})
        _keep(workdir, place, seed, method, trained)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class _Judging:
    """One cell: who judges, on video of which domain, and where the cell goes."""

    path: Path
    judge: Callable[[], Evaluator]
    domain: str
    held_out: ClipSource


def _judgings(contest: Comparison, place: Task, seed: int, method: str, workdir: Workdir) -> list[_Judging]:
    own: dict[str, Any] = {"domain": place.train_domain, "held_out": place.held_out}
    usual = _Judging(path=_path(workdir, place, seed, method), judge=place.judge, **own)
    others = [
        _Judging(
            path=_path(workdir, place, seed, method, domain),
            judge=make,
            domain=domain,
            held_out=place.held_out_elsewhere[domain],
        )
        for domain, make in place.elsewhere.items()
    ]
    if place.long is None or seed != contest.seeds[0] or method not in contest.long_methods:
        return [usual, *others]
    return [usual, *others, _Judging(path=_path(workdir, place, seed, method, "long"), judge=place.long, **own)]


def _train(
    contest: Comparison,
    place: Task,
    seed: int,
    method: str,
    workdir: Workdir,
    places: Sequence[Callable[[], Task]],
) -> Trained:
    """One method's generator; what was trained before comes from its checkpoints."""
    name, _, share = method.partition("+")

    def base_in(place: Task, seed: int) -> Trained:
        observing = functools.partial(_observer, workdir, place, seed)
        return _kept(workdir, place, seed, "b", lambda: train_base(place, seed, observing))

    def base_after(updates: int, policy: HistoryPolicy, *, rate: float | None = None) -> Trained:
        usual = place.budget.base_rate
        rate = usual if rate is None else rate
        name = f"{_short(policy)}@{updates}" + (f",{rate:g}" if rate != usual else "")
        budget = dataclasses.replace(place.budget, base=updates, base_rate=rate)
        shorter = dataclasses.replace(place, budget=budget)
        observer = _observer(workdir, place, seed, name)
        return _kept(workdir, place, seed, name, lambda: train_base(shorter, seed, lambda phase: observer, policy))

    def others() -> list[tuple[Task, Callable[[int], Trained]]]:
        made = [make() for make in places]
        return [(other, functools.partial(base_in, other)) for other in made if other is not place]

    base_of = functools.partial(base_in, place)
    paid = dataclasses.replace(place.budget, extra=float(share)) if share else place.budget
    job = Job(
        task=dataclasses.replace(place, budget=paid),
        start=functools.cache(functools.partial(base_of, seed)),
        seed=seed,
        observing=lambda phase: _observer(workdir, place, seed, method if phase == name else f"{method}{PHASE}{phase}"),
        base_of=base_of,
        base_after=base_after,
        others=others,
    )
    return contest.table[name].run(job)


def _cell(place: Task, seed: int, method: str, trained: Trained, another: Params, judging: _Judging) -> dict[str, Any]:
    key, generator, judged_by = jax.random.key(10_000 + seed), trained.generator or place.generator, judging.judge()
    measurement = judge(generator, judged_by.monitor, trained.params, judged_by.starts, key)
    met = anothers_errors(place.generator, another, judging.held_out, generator.context_frames)
    return {
        "world": place.world,
        "generator": place.kind,
        "method": method,
        "seed": seed,
        "train_domain": place.train_domain,
        "eval_domain": judging.domain,
        **cell_measurement(judged_by.monitor, measurement),
        "clean_loss": held_out_loss(generator, trained.params, judging.held_out),
        "probes": probes(generator, trained.params, judged_by.starts, met, key),
        "bank": trained.bank,
        "rounds": trained.rounds,
        "cost": dataclasses.asdict(trained.cost),
    }


def _shown(contest: Comparison, place: Task, seed: int, trained: Trained) -> np.ndarray:
    """The first rollout, for pictures."""
    key, generator = jax.random.key(10_000 + seed), trained.generator or place.generator
    return strip_frames(generator, trained.params, place.judge().starts[:1], key, contest.strip_frames)[0]


def _keep(workdir: Workdir, place: Task, seed: int, method: str, trained: Trained) -> None:
    """Keeps what was trained, and drops the checkpoints of its phases, which hold banks and optimisers."""
    if method == "b":
        return
    name = f"{place.world}-{place.kind}-{seed}-{method}"
    folder = named(workdir.path / "trained", name)
    with hold(folder):
        checkpoint.save(folder, 0, trained.params)
    for phase in workdir.checkpoints.iterdir() if workdir.checkpoints.exists() else ():
        if plain_name(phase.name) == name or plain_name(phase.name).startswith(f"{name}{PHASE}"):
            remove_tree(phase)


def _another(place: Task, seed: int, workdir: Workdir) -> Params:
    """Another model of the same kind, whose training no method pays for: it only judges."""
    updates = max(1, round(ANOTHER_SHARE * place.budget.base))
    shorter = dataclasses.replace(place, budget=dataclasses.replace(place.budget, base=updates))
    observer = _observer(workdir, place, seed, "another")
    trained = _kept(
        workdir, place, seed, "another", lambda: train_base(shorter, ANOTHER_SEED + seed, lambda phase: observer)
    )
    return trained.params


def _short(policy: HistoryPolicy) -> str:
    """`b` for teacher forcing, else a name that is another for other settings."""
    if policy == TeacherForcing():
        return "b"
    return f"{type(policy).__name__.lower()}-{hashlib.sha256(repr(policy).encode()).hexdigest()[:8]}"


def _kept(workdir: Workdir, place: Task, seed: int, phase: str, train: Callable[[], Trained]) -> Trained:
    """A phase that several methods share: trained once, by one process while others wait, then read from disk."""
    folder = named(workdir.path / "trained", f"{place.world}-{place.kind}-{seed}-{phase}")
    bill = folder / "cost.json"
    with contextlib.nullcontext() if bill.exists() else hold(folder, wait=True):
        if bill.exists():
            params = checkpoint.restore(folder, jax.eval_shape(place.generator.init, jax.random.key(0)))[1]
            return Trained(params=params, cost=Cost(**read_json(bill)))
        trained = train()
        checkpoint.save(folder, 0, trained.params)
        write_json(bill, dataclasses.asdict(trained.cost))
    return trained


def _observer(workdir: Workdir, place: Task, seed: int, phase: str) -> Observer:
    name = f"{place.world}-{place.kind}-{seed}-{phase}"
    return Observer(
        log=lambda record: workdir.log({"run": name, **record}),
        checkpoints=named(workdir.checkpoints, name),
        label=f"{place.world} {place.kind} {phase} (seed {seed})",
    )


def _path(workdir: Workdir, place: Task, seed: int, method: str, suffix: str = "") -> Path:
    return cell_path(workdir, place.world, place.kind, method, seed, suffix)


def _picture_path(workdir: Workdir, place: Task, method: str) -> Path:
    return named(workdir.path / "pictures", f"{place.world}-{place.kind}-{method}.npz")


def _save_pictures(path: Path, frames: np.ndarray) -> None:
    with replacing(path) as temporary:
        np.savez_compressed(temporary, frames=frames)


def _pictures(contest: Comparison, place: Task, workdir: Workdir) -> dict[str, np.ndarray]:
    """Truth first, then every method's first rollout, uint8 `[t, h, w, c]`."""
    kept = {"truth": _truth(place, contest.strip_frames)}
    for method in _methods(contest, place):
        path = _picture_path(workdir, place, method)
        if path.exists():
            with path.open("rb") as file:
                kept[method] = np.load(file)["frames"]
    return kept


def _truth(place: Task, frames: int) -> np.ndarray:
    real = place.truth(frames)
    return np.asarray(np.round((np.clip(real, -1.0, 1.0) + 1.0) * 127.5), np.uint8)
