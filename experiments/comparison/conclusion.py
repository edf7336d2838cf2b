"""From the cells of a comparison to its results, their published copy and the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.comparison.cell_store import known_of_curves, publish
from experiments.comparison.evaluation import with_memory
from experiments.comparison.pictures import filmstrip_of, pictures_of, video_of
from experiments.comparison.report.page import build
from experiments.comparison.runner import Comparison
from experiments.comparison.task import Evaluator, Task
from recycle_jax.drift.summary import headline, summarise
from recycle_jax.io.workdir import Workdir, run_metadata
from recycle_jax.io.writers import read_json, write_json
from recycle_jax.report.build import Media


def conclude(
    comparison: Comparison,
    tasks: Sequence[Task],
    cells: list[dict[str, Any]],
    workdir: Workdir,
    config: Any,
    published: str,
) -> dict[str, Any]:
    """Writes results, their published copy where one is asked for, and the report; returns the results."""
    results = assemble(comparison, tasks, cells, workdir, config)
    if published:
        publish(published, results)
    report(comparison, results, tasks, workdir)
    return results


def assemble(
    comparison: Comparison, tasks: Sequence[Task], cells: list[dict[str, Any]], workdir: Workdir, config: Any
) -> dict[str, Any]:
    """Returns bands, summary, headline and origin with the cells; writes `results.json`."""
    trials = dict(comparison.tuning_trials)
    cells = [{**cell, "tuning_trials": trials.get(cell["method"].partition("+")[0], 0)} for cell in cells]
    evaluators = {task.world: task.judge() for task in _with_cells(tasks, cells)}
    cells = [_remembering(cell, evaluators[cell["world"]]) for cell in cells]
    bands = {world: one.monitor.bands for world, one in evaluators.items() if one.monitor.bands is not None}
    results = {
        "schema_version": 1,
        "experiment": comparison.experiment,
        "preset": comparison.preset,
        **run_metadata(config),
        "made_of": read_json(workdir.config),
        "bands": {name: value.to_json() for name, value in bands.items()},
        "settings": {
            name: method.setting for name, method in comparison.table.items() if method.setting not in ("", name)
        },
        "refused": refusals(comparison, tasks),
        "cells": cells,
        "summary": summarise(cells, bands, known=known_of_curves(workdir, cells, bands)),
        "headline": headline(cells, bands, method=comparison.headline_method, rivals=comparison.rivals),
    }
    write_json(workdir.results, results)
    return results


def report(comparison: Comparison, results: dict[str, Any], tasks: Sequence[Task], workdir: Workdir) -> Path:
    """Prints the table, and writes plots, filmstrips, videos and the page."""
    strips, videos = [], []
    for task in _with_cells(tasks, results["cells"]):
        kept = pictures_of(workdir, task, list(comparison.methods_for(task)), comparison.strip_frames)
        strips.append(filmstrip_of(task, kept, comparison.strip_frames))
        videos.append(video_of(task, kept, ("b_plus", comparison.headline_method)))
    return build(
        results,
        workdir.path,
        Media(filmstrips=strips, videos=videos),
        question=comparison.question,
        command=comparison.command,
        saved=f"The parameters of every generator lie in {workdir.path / 'trained'}, a folder for each.",
    )


def refusals(comparison: Comparison, tasks: Sequence[Task]) -> dict[str, str]:
    """Returns `WORLD/GENERATOR/METHOD` -> why that method has no cell there and can have none."""
    asked = [(task, method) for task in tasks for method in comparison.methods]
    reasons = [(task, method, comparison.of(method).refuses(task)) for task, method in asked]
    return {f"{task.world}/{task.kind}/{method}": why for task, method, why in reasons if why}


def _remembering(cell: dict[str, Any], evaluator: Evaluator) -> dict[str, Any]:
    """With memory, where the rollouts are this evaluator's; those of another domain or length began elsewhere."""
    own = cell["train_domain"] == cell["eval_domain"] and cell["max_frames"] == evaluator.monitor.max_frames
    return with_memory(cell, evaluator) if own else cell


def _with_cells(tasks: Sequence[Task], cells: Sequence[dict[str, Any]]) -> list[Task]:
    """The tasks that have cells; bands and real video of the others are not made for nothing."""
    there = {(cell["world"], cell["generator"]) for cell in cells}
    return [task for task in tasks if (task.world, task.kind) in there]
