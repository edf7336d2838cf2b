"""The small tables of docs/results/index.md, made of the same files as the full ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from experiments.comparison.by_seed import FAILED, survival_by_seed
from experiments.comparison.domains import CROWDED, DOMAINS, WORLDS
from experiments.comparison.labels import LABELS
from experiments.comparison.report.overview import measured
from recycle_jax.drift.bootstrap import mean_with_ci
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section, as_markdown
from recycle_jax.report.tables import clean_loss
from recycle_jax.report.tasks import cells_of

HEADLINE = (
    "b",
    "b_plus",
    "b_plus:fast",
    "noise",
    "pushforward",
    "svi_shot",
    "relay_early:fast",
    "scheduled_early:fast",
    "corrupt_early:history,fast",
    "ours",
    "real",
)
"""Methods of the first table: baselines, the best rivals, the recipe, real video."""

CONTROLS = (
    "stale:even,fast",
    "foreign:even,fast",
    "phase_randomised:half,even,fast",
    "phase_randomised:even,fast",
    "phase_randomised:twice,even,fast",
    "shuffled:even,fast",
    "ours",
)

FRONT = {
    "b_plus:fast": "training on real history alone",
    "svi_shot": "SVI, shot preset, at its usual learning rate",
    "scheduled_early:fast": "scheduled sampling",
    "corrupt_early:history,fast": "corrupted real history",
    "ours": "error recycling",
}
"""Methods of the README, in plain terms."""

TWO_THINGS = ("b_plus", "b_plus:fast", "scheduled_early:fast", "ours")
FOOTAGE = ("b", "b_plus", "noise", "ours:slow", "ours:relayed,fast", "ours")
UNSEEN = ("b_plus", "b_plus:fast", "ours")
Results = Mapping[str, Any]


def headline_table(results: Results) -> str:
    """Methods against counts over the eight tasks: where half survive, runs, failed runs, the worst run, one-step loss.

    One-step loss is over B+'s, geometric mean over tasks.
    """
    cells, tasks = cells_of(results), _usual(results)
    rows = []
    for method in HEADLINE:
        there = {task: cells[name] for task in tasks if (name := f"{task}/{method}") in cells}
        runs = [share for of in there.values() for share in survival_by_seed(of).values()]
        held = sum(np.mean(list(survival_by_seed(of).values())) > FAILED for of in there.values())
        failed = sum(share <= FAILED for share in runs)
        fields = [f"{held} of {len(there)}", f"{failed} of {len(runs)}", wording.percent(min(runs))]
        rows.append([LABELS.named(method), *fields, _loss_over_b_plus(cells, there)])
    titles = ("tasks where half survive", "runs that fail", "worst run", "one-step loss ÷ B+")
    return _table(("method", *titles), rows)


def front_table(results: Results) -> str:
    """Failed runs of all tasks with their exact 95 % interval (Clopper and Pearson 1934), and the mean survival."""
    cells, tasks = cells_of(results), _usual(results)
    rows = []
    for method, name in FRONT.items():
        runs = [s for task in tasks for s in survival_by_seed(cells.get(f"{task}/{method}", [])).values()]
        failed = sum(share <= FAILED for share in runs)
        low, high = stats.binomtest(failed, len(runs)).proportion_ci(method="exact")
        interval = f"{100 * failed / len(runs):.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
        mean, low, high = mean_with_ci([np.array([share]) for share in runs], 1000, np.random.default_rng(0))
        survived = f"{100 * mean:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"
        rows.append([name, f"{failed} of {len(runs)}", interval, survived])
    return _table(("trained by", "runs that fail", "share [95 % interval]", "rollouts that survive [95 %]"), rows)


def controls_table(results: Results) -> str:
    """Mean survival over seeds and generators, world by world, and how many runs fail."""
    cells, tasks = cells_of(results), _usual(results)
    rows = []
    for method in CONTROLS:
        by_world: dict[str, list[float]] = {world: [] for world in WORLDS}
        for task in tasks:
            by_world[task.split("/")[0]] += survival_by_seed(cells.get(f"{task}/{method}", [])).values()
        runs = [share for shares in by_world.values() for share in shares]
        failed = sum(share <= FAILED for share in runs)
        means = [wording.percent(np.mean(shares)) if shares else wording.UNKNOWN for shares in by_world.values()]
        rows.append([LABELS.named(method), *means, f"{failed} of {len(runs)}"])
    return _table(("errors used in training", *WORLDS, "runs that fail"), rows)


def two_things_table(results: Results) -> str:
    """Median horizons where two things meet."""
    return _horizons(results, TWO_THINGS, [f"{world}/{kind}" for world in CROWDED for kind in ("predictor", "flow")])


def unseen_table(results: Results) -> str:
    """Median horizons on video of a domain that no training saw."""
    columns = {
        f"{name} ({domains.unseen}) · {kind}": f"{name}_{domains.seen}/{kind}/{{}}@{domains.unseen}"
        for name, domains in DOMAINS.items()
        for kind in ("predictor", "flow")
    }
    rows = [[LABELS.named(m), *(_horizon(results, name.format(m)) for name in columns.values())] for m in UNSEEN]
    return _table(("method", *columns), rows)


def footage_table(results: Results) -> str:
    """Recorded video: no horizon without the share of real motion beside it."""
    cells = cells_of(results)
    rows = []
    for method in FOOTAGE:
        name = f"robot_arm/flow/{method}"
        entry = results["summary"][name]
        motion = entry["dynamics_ratio"][max(entry["dynamics_ratio"], key=int)][0]
        horizon = entry["horizon_frames"]
        survival = wording.percent(horizon["censored_fraction"])
        fields = [wording.horizon(horizon), survival, f"{motion:.2f}", wording.short(clean_loss(cells[name]), 2)]
        rows.append([LABELS.named(method), *fields])
    return _table(("method", "horizon", "survival", "motion ÷ real at frame 128", "one-step loss"), rows)


def cost_table(results: Results) -> str:
    """What a step costs, as ratios measured side by side."""
    named = {
        "correct_over_plain": "a training step that draws from the bank ÷ a plain one",
        "draw_capacity_100x": "a draw from a bank 100 times as large",
        "framework_over_minimal_loop": "this library's loop ÷ a hand-written one",
    }
    rows = [[text, f"{results['ratios'][name]:.2f}×"] for name, text in named.items()]
    return _table(("what", "time"), rows)


def _usual(results: Results) -> list[str]:
    return [f"{task.world}/{task.generator}" for task in measured(results) if task.world in WORLDS]


def _loss_over_b_plus(cells: Mapping[str, Sequence[Any]], there: Mapping[str, Sequence[Any]]) -> str:
    """Geometric mean over tasks of one-step losses over those of B+, means over seeds."""
    ratios = [clean_loss(of) / clean_loss(cells[f"{task}/b_plus"]) for task, of in there.items()]
    known = [ratio for ratio in ratios if ratio > 0.0]
    mean = float(np.exp(np.mean(np.log(known)))) if known else 0.0
    return f"{mean:.2f}×" if mean > 0.01 else wording.UNKNOWN  # real video makes no mistakes but those of rendering


def _horizons(results: Results, methods: Sequence[str], tasks: Sequence[str]) -> str:
    rows = [[LABELS.named(m), *(_horizon(results, f"{task}/{m}") for task in tasks)] for m in methods]
    return _table(("method", *(task.replace("_", " ").replace("/", " · ") for task in tasks)), rows)


def _horizon(results: Results, entry: str) -> str:
    return wording.horizon((results["summary"].get(entry) or {}).get("horizon_frames"))


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    columns = [Column(title=title, number=bool(i)) for i, title in enumerate(titles)]
    entries = [[Entry(main=text) for text in row] for row in rows]
    return as_markdown(Grid(columns=columns, sections=[Section(title="", rows=entries)]))
