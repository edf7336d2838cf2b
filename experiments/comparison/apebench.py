"""What does an outside judge say of training on own mistakes?

Question: on the scenarios of the benchmark suite APEBench (arXiv 2411.00180), with the suite's network, its number of
updates, its optimiser and its metrics: does our training step, fed with the model's own earlier predictions at no
cost, beat the suite's one-step training (`one`) at equal cost, and its training through five-step rollouts (`sup;5`)
that costs five times as much?

Expected: `ours` below `one` and `sup;5` in the geometric mean of nRMSE over 100 steps in at least three of four
scenarios in one dimension.

    python -m experiments.comparison.apebench --preset small

Needs `pip install 'recycle_jax[judge]'`. Two minutes a cell (scenario, method, seed) on one idle core, eight for
`sup;5` and `div;5`; cells are written as they are done, and the same command goes on where it was. A part of the cells:
`--scenario ks --config.methods one ours --config.seeds 0`; two processes share them with `--share.parts 2` and
`--share.part 0` or `1`; `--share.part -1` makes none. All cells of a workdir are assembled, those that this command did
not ask for too.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from experiments.comparison import apebench_ours, apebench_suite
from experiments.comparison.apebench_ours import Recipe
from experiments.comparison.apebench_results import cells_again, ratios, require_finished, summarise, table
from experiments.comparison.apebench_suite import Setting, Task, nearest
from experiments.comparison.runner import Share
from recycle_jax.cli import launch
from recycle_jax.io.files import write_bytes
from recycle_jax.io.workdir import Workdir, open_workdir, run_metadata
from recycle_jax.io.writers import plain, read_json, write_json
from recycle_jax.training.loop import Observer

RIVALS = {"one": 1.0, "sup;5": 5.0, "div;5": 5.0}
"""The suite's trainers, and their cost in one-step updates; the solver that `div;5` calls besides is not counted."""

TRIALS = (("ours", 30),)
"""Settings tried, see docs/lab_notes; the suite's trainers are taken as they are."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Which cells, and what they depend on.

    Attributes:
        scenarios: of the suite, `apebench_suite.SCENARIOS`.
        methods: the suite's, and `apebench_ours.METHODS`.
        seeds: of training.
        setting: the suite's choices, for all methods.
        recipe: ours.
        lyapunov_steps: of the twin experiments.
    """

    scenarios: tuple[str, ...] = ("ks", "burgers", "kdv", "fisher")
    methods: tuple[str, ...] = ("one", "ours", "ours_conserving", "ours_residual_conserving", "sup;5", "div;5")
    seeds: tuple[int, ...] = (0, 1, 2)
    setting: Setting = Setting()
    recipe: Recipe = Recipe()
    lyapunov_steps: int = 2_000

    def __post_init__(self) -> None:
        known = (*RIVALS, *apebench_ours.METHODS)
        for scenario in self.scenarios:
            if scenario not in apebench_suite.SCENARIOS:
                raise ValueError(nearest("scenario", scenario, tuple(apebench_suite.SCENARIOS)))
        for method in self.methods:
            if method not in known:
                raise ValueError(nearest("method", method, known))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Command:
    """What a command line can set.

    Attributes:
        config: the experiment.
        share: what this process does of the cells.
        publish: a file that the results are copied to, or nothing.
        earlier: a file that was published before, whose cells are taken over where they are missing, or nothing.
    """

    config: Config = Config()
    share: Share = Share()
    publish: str = ""
    earlier: str = ""


def smoke() -> Command:
    """Through the same code in about a minute."""
    setting = Setting(updates=24)
    config = Config(
        scenarios=("ks",), methods=("one", "ours", "sup;5"), seeds=(0,), setting=setting, lyapunov_steps=100
    )
    return Command(config=config)


def small() -> Command:
    """Two cores."""
    return Command()


def full() -> Command:
    """One GPU: five seeds, controls, two dimensions."""
    methods = ("one", "ours", "sup;5", "div;5", *[m for m in apebench_ours.METHODS if m != "ours"])
    scenarios = ("ks", "burgers", "kdv", "fisher", "kolmogorov")
    return Command(config=Config(scenarios=scenarios, methods=methods, seeds=(0, 1, 2, 3, 4)))


PRESETS: dict[str, Callable[[], Command]] = {"smoke": smoke, "small": small, "full": full, "pod": full}


def main(command: Command, workdir: Path, preset: str) -> dict[str, Any]:
    """Makes this process's share of the missing cells; assembles all that are there."""
    config = command.config
    # A workdir may grow by scenarios, methods and seeds: a cell does not depend on its neighbours.
    of_cells = {"setting": config.setting, "recipe": config.recipe, "lyapunov_steps": config.lyapunov_steps}
    place = open_workdir(workdir, of_cells)
    jax.config.update("jax_compilation_cache_dir", str(place.path / "compiled"))
    if command.earlier:
        take_over(place, read_json(command.earlier))
    for number, (seed, method, scenario) in enumerate(cells_of(config)):
        if command.share.takes(number) and read_cell(place, scenario, method, seed) is None:
            finish_cell(place, config, scenario, method, seed)
    results = assemble(place, config, preset)
    write_json(place.results, results)
    if command.publish:
        text = json.dumps(plain(results), separators=(",", ":"), allow_nan=False)
        write_bytes(command.publish, text.encode() + b"\n")
    print(table(results["scenarios"]))
    return results


def cells_of(config: Config) -> Iterator[tuple[int, str, str]]:
    """`(seed, method, scenario)` in the order in which they are made: a first seed of everything comes first."""
    for seed in config.seeds:
        for method in config.methods:
            for scenario in config.scenarios:
                yield seed, method, scenario


def finish_cell(place: Workdir, config: Config, scenario: str, method: str, seed: int) -> None:
    """Trains, judges and writes one cell."""
    task = apebench_suite.build_task(scenario, config.setting)
    exponent = lyapunov(place, task, config.lyapunov_steps)
    clock = time.perf_counter()
    rollout, cost = train(place, task, config, method, seed)
    seconds = time.perf_counter() - clock
    judged = apebench_suite.judge(task, rollout)
    cell = {
        "scenario": scenario,
        "method": method,
        "seed": seed,
        "updates": config.setting.updates,
        "cost_over_one": cost,
        "seconds": seconds,
        "vpt_lyapunov": None if exponent is None else judged["valid_steps"] * exponent,
        **judged,
    }
    write_json(cell_path(place, scenario, method, seed), cell)
    place.log({"cell": f"{scenario}/{method}/{seed}", "gmean_nrmse": judged["gmean_nrmse"], "seconds": seconds})


def train(place: Workdir, task: Task, config: Config, method: str, seed: int) -> tuple[np.ndarray, float]:
    """Rollouts on the test set of a method's emulator, and its cost."""
    if method in RIVALS:
        network = apebench_suite.train_by_suite(task, config.setting, method, seed)
        return apebench_suite.suite_rollout(task, network), RIVALS[method]
    name = f"{task.name}/{method}/{seed}"
    observer = Observer(log=lambda record: place.log({"run": name, **record}), label=name)
    made = apebench_ours.train_ours(task, config.setting, config.recipe, method, seed, observer)
    return made.rollout, made.cost_over_one


def lyapunov(place: Workdir, task: Task, steps: int) -> float | None:
    """A chaotic scenario's exponent, measured once a workdir."""
    if task.name not in apebench_suite.CHAOTIC:
        return None
    path = place.file(f"lyapunov-{task.name}.json")
    if not path.exists():
        write_json(path, {"per_step": apebench_suite.lyapunov_exponent(task, steps)})
    return float(read_json(path)["per_step"])


def cell_path(place: Workdir, scenario: str, method: str, seed: int) -> Path:
    """Where a cell is written."""
    return place.path / "cells" / f"{scenario}-{method.replace(';', '')}-{seed}.json"


def _seeds_of(place: Workdir, scenario: str, method: str) -> list[int]:
    """Seeds that a workdir has a cell of."""
    paths = cell_path(place, scenario, method, 0).parent.glob(
        cell_path(place, scenario, method, 0).stem[:-1] + "*.json"
    )
    return [int(number) for path in paths if (number := path.stem.rpartition("-")[2]).isdigit()]


def read_cell(place: Workdir, scenario: str, method: str, seed: int) -> dict[str, Any] | None:
    """A finished cell; None where it is missing or, which is reported, cannot be read."""
    path = cell_path(place, scenario, method, seed)
    if not path.exists():
        return None
    try:
        return require_finished(read_json(path))
    except ValueError as error:
        print(f"{path} is no finished cell ({error}): it is made again", file=sys.stderr)
        return None


def take_over(place: Workdir, earlier: dict[str, Any]) -> None:
    """Files the cells of published results that a workdir does not have, and its exponents."""
    for cell in cells_again(earlier):
        path = cell_path(place, cell["scenario"], cell["method"], cell["seed"])
        if not path.exists():
            write_json(path, cell)
    for scenario, exponent in earlier["lyapunov_per_step"].items():
        write_json(place.file(f"lyapunov-{scenario}.json"), {"per_step": exponent})


def assemble(place: Workdir, config: Config, preset: str) -> dict[str, Any]:
    """All cells that are there, whoever asked for them, and what follows from them."""
    methods = tuple(dict.fromkeys((*config.methods, *RIVALS, *apebench_ours.METHODS)))
    cells = {
        (scenario, method, seed): read_cell(place, scenario, method, seed)
        for scenario in apebench_suite.SCENARIOS
        for method in methods
        for seed in sorted(_seeds_of(place, scenario, method))
    }
    scenarios = summarise({key: cell for key, cell in cells.items() if cell is not None})
    exponents = {name: place.file(f"lyapunov-{name}.json") for name in apebench_suite.SCENARIOS}
    return {
        "schema_version": 1,
        "experiment": "apebench_judge",
        "preset": preset,
        **run_metadata(config),
        "versions_of_suite": {name: metadata.version(name) for name in ("apebench", "exponax", "pdequinox", "trainax")},
        "tuning_trials": dict(TRIALS),
        "lyapunov_per_step": {n: read_json(p)["per_step"] for n, p in exponents.items() if p.exists()},
        "scenarios": scenarios,
        "ratios": {scenario: ratios(methods, tuple(apebench_ours.METHODS)) for scenario, methods in scenarios.items()},
    }


if __name__ == "__main__":
    launch(main, PRESETS, name="apebench_judge", shorthands={"scenario": "config.scenarios"})
