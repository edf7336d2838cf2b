"""A comparison is a list of cells, (task, seed, method), each written when it is done.

A killed comparison resumes where it was: finished cells are read back, B's parameters come from their checkpoint, and a
half-trained phase resumes from its last one. Several processes may share the work: each takes the (task, seed) pairs
that fall to it. Results are assembled from the cells that are there, so that a table can grow for days.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.comparison.cell_store import cell_path, is_there, seeds_there
from experiments.comparison.checkpoints import Checkpoints
from experiments.comparison.evaluation import cell_measurement, held_out_loss, judge, other_errors, probes
from experiments.comparison.method import METHODS, Method, require_known
from experiments.comparison.pictures import save_picture
from experiments.comparison.task import Evaluator, Task, Trained
from recycle_jax.data.base import ClipSource
from recycle_jax.io.workdir import Workdir, device_name
from recycle_jax.io.writers import read_json, write_json
from recycle_jax.typing import Params

Builders = Sequence[Callable[[], Task]]
"""Each makes one task."""

RIVALS = ("b_plus", "noise", "pushforward", "recycle_continued", "b")
ROLLOUT_SEED = 10_000
"""Added to a training seed for the key of its evaluated rollouts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared and what the report says of it.

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
        long_methods: whose generators of the first seed are evaluated on a few long rollouts too, where a task has an
            evaluator for that.
        table: what the ids mean.
        headline_method: id that is compared with the others.
        rivals: ids that it is compared with.
        other_model: whether a model besides is trained for each task and seed, whose errors every generator meets.
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
    other_model: bool = False

    def __post_init__(self) -> None:
        require_known((*self.methods, *self.long_methods), self.table)

    def of(self, method: str) -> Method:
        """Returns what an id means; `METHOD+SHARE` is `METHOD`."""
        return self.table[method.partition("+")[0]]

    def methods_for(self, task: Task) -> Iterator[str]:
        """Yields the methods that can serve a task."""
        return (method for method in self.methods if not self.of(method).refuses(task))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """What one process does of a comparison, which may take days and several processes.

    Attributes:
        part: number of this process.
        parts: how many share the work; (task, seed) pairs are dealt in turn; 0 does nothing.
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

    def wants(self, task: Task) -> bool:
        """Whether a task is among those named."""
        return task.world in (self.worlds or (task.world,)) and task.kind in (self.kinds or (task.kind,))

    def does(self, method: str) -> bool:
        """Whether a method is among those named; B is made wherever it is needed."""
        return not self.methods or method in self.methods or method.partition("=")[0] in self.methods

    def pairs_of(self, seeds: Sequence[int], tasks: Sequence[Task]) -> Iterator[tuple[int, Task]]:
        """Yields the (seed, task) pairs of this process."""
        every = [(seed, task) for seed in seeds for task in tasks if self.wants(task)]
        return (pair for number, pair in enumerate(every) if self.takes(number))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """One cell: who evaluates, on video of which domain, and where the cell goes.

    Attributes:
        path: of the cell's file.
        evaluator: makes who evaluates.
        domain: of the starts.
        held_out: clips of that domain that nothing trains on.
    """

    path: Path
    evaluator: Callable[[], Evaluator]
    domain: str
    held_out: ClipSource


def run_comparison(
    comparison: Comparison,
    builders: Builders,
    workdir: Workdir,
    share: Share = Share(),  # noqa: B008 (frozen)
) -> tuple[list[Task], list[dict[str, Any]]]:
    """Runs the missing cells of this share; returns the tasks and all cells that are there, whoever made them.

    Args:
        comparison: what is compared.
        builders: make the tasks.
        workdir: where cells, checkpoints and pictures go.
        share: what is done by this process.
    """
    tasks = [build() for build in builders]
    for seed, task in share.pairs_of(comparison.seeds, tasks):
        checkpoints = Checkpoints(workdir=workdir, task=task, seed=seed)
        for method in filter(share.does, comparison.methods_for(task)):
            finish(comparison, method, checkpoints)
    return tasks, finished_cells(comparison, tasks, workdir)


def finish(comparison: Comparison, method: str, checkpoints: Checkpoints) -> None:
    """Makes the missing cells of one method, seed and task; it is trained once for all of them."""
    task, seed, workdir = checkpoints.task, checkpoints.seed, checkpoints.workdir
    missing = [each for each in evaluations(comparison, method, checkpoints) if not is_there(each.path)]
    if not missing:
        return
    trained = comparison.of(method).run(checkpoints.job(method))
    if seed == comparison.seeds[0]:
        key = jax.random.key(ROLLOUT_SEED + seed)
        save_picture(workdir, task, method, trained, key, comparison.strip_frames)
    other = checkpoints.other_model() if comparison.other_model else None
    for evaluation in missing:
        write_cell(comparison, method, checkpoints, trained, other, evaluation)
    checkpoints.keep(method, trained)


def write_cell(
    comparison: Comparison,
    method: str,
    checkpoints: Checkpoints,
    trained: Trained,
    other: Params | None,
    evaluation: Evaluation,
) -> None:
    """Evaluates a generator and writes its cell."""
    setting = comparison.of(method).setting or method
    made_by = {"setting": setting, "preset": comparison.preset, "device": device_name()}
    cell = cell_of(checkpoints.task, checkpoints.seed, method, trained, other, evaluation)
    write_json(evaluation.path, {**cell, **made_by})
    exits = float(np.median(cell["rollouts"]["exit_frame"]))
    checkpoints.workdir.log({"cell": evaluation.path.stem, "median_exit": exits})


def evaluations(comparison: Comparison, method: str, checkpoints: Checkpoints) -> list[Evaluation]:
    """Returns the cells of one method, seed and task: its own domain, other domains, and long rollouts."""
    task, seed, workdir = checkpoints.task, checkpoints.seed, checkpoints.workdir
    own: dict[str, Any] = {"domain": task.train_domain, "held_out": task.held_out}
    found = [Evaluation(path=_path(workdir, task, seed, method), evaluator=task.judge, **own)]
    for domain, make in task.elsewhere.items():
        path, held_out = _path(workdir, task, seed, method, domain), task.held_out_elsewhere[domain]
        found.append(Evaluation(path=path, evaluator=make, domain=domain, held_out=held_out))
    if task.long is not None and seed == comparison.seeds[0] and method in comparison.long_methods:
        found.append(Evaluation(path=_path(workdir, task, seed, method, "long"), evaluator=task.long, **own))
    return found


def cell_of(
    task: Task, seed: int, method: str, trained: Trained, other: Params | None, evaluation: Evaluation
) -> dict[str, Any]:
    """Returns what is measured of one generator; `other` is a model whose errors it meets, or None."""
    generator, evaluator = trained.generator or task.generator, evaluation.evaluator()
    key = jax.random.key(ROLLOUT_SEED + seed)
    measurement = judge(generator, evaluator.monitor, trained.params, evaluator.starts, key)
    met = None
    if other is not None:
        met = other_errors(task.generator, other, evaluation.held_out, generator.context_frames)
    return {
        "world": task.world,
        "generator": task.kind,
        "method": method,
        "seed": seed,
        "train_domain": task.train_domain,
        "eval_domain": evaluation.domain,
        **cell_measurement(evaluator.monitor, measurement),
        "clean_loss": held_out_loss(generator, trained.params, evaluation.held_out),
        "probes": probes(generator, trained.params, evaluator.starts, met, key),
        "bank": trained.bank,
        "rounds": trained.rounds,
        "cost": dataclasses.asdict(trained.cost),
    }


def finished_cells(comparison: Comparison, tasks: Sequence[Task], workdir: Workdir) -> list[dict[str, Any]]:
    """Returns all cells that are there, those of seeds that this command does not name included."""
    whole = dataclasses.replace(comparison, seeds=tuple(sorted({*comparison.seeds, *seeds_there(workdir)})))
    # Whose long rollouts are evaluated may change between runs.
    long = [(seed, method) for seed in whole.seeds for method in whole.table]
    paths = [path for task in tasks for path in _paths(whole, task, workdir, long)]
    return [read_json(path) for path in paths if is_there(path)]


def missing_cells(comparison: Comparison, builders: Builders, workdir: Workdir) -> tuple[int, float]:
    """How many cells of a comparison are missing, and the mean seconds that the finished ones trained for."""
    long = [(comparison.seeds[0], method) for method in comparison.long_methods]
    paths = [path for build in builders for path in _paths(comparison, build(), workdir, long)]
    done = [read_json(path) for path in paths if is_there(path)]
    return len(paths) - len(done), float(np.mean([cell["cost"]["seconds"] for cell in done])) if done else 0.0


def _paths(comparison: Comparison, task: Task, workdir: Workdir, long: Sequence[tuple[int, str]]) -> list[Path]:
    """Where the cells of a task are or will be, long rollouts of these seeds and methods included."""
    cells = [(seed, method) for seed in comparison.seeds for method in comparison.methods_for(task)]
    paths = [_path(workdir, task, seed, method) for seed, method in cells]
    paths += [_path(workdir, task, seed, method, domain) for seed, method in cells for domain in task.elsewhere]
    if task.long is None:
        return paths
    return paths + [_path(workdir, task, seed, method, "long") for seed, method in long]


def _path(workdir: Workdir, task: Task, seed: int, method: str, suffix: str = "") -> Path:
    return cell_path(workdir, task.world, task.kind, method, seed, suffix)
