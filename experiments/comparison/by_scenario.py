"""What the outside judge says, as tables: errors scenario by scenario, and how long a chaotic one is predicted.

Errors are geometric means of nRMSE over 100 steps, compared by their geometric mean over seeds. Times of valid
prediction are in Lyapunov times, each over that of `one` by the geometric mean over the seeds that both have.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.comparison.apebench_results import geometric_mean, ratio
from recycle_jax.report import wording
from recycle_jax.report.grid import Column, Entry, Grid, Section

SCENARIOS = {
    "ks": "Kuramoto-Sivashinsky",
    "burgers": "Burgers",
    "kdv": "Korteweg-de Vries",
    "fisher": "Fisher-KPP (its mean is not conserved)",
}
METHODS = {
    "one": "`one` (1×)",
    "sup;5": "`sup;5` (5×)",
    "div;5": "`div;5` (5×)",
    "ours_clean": "our step, recorded histories (1×)",
    "ours": "ours (1×)",
    "ours_clean_conserving": "recorded, mean kept (1×)",
    "ours_conserving": "ours, mean kept (1×)",
    "ours_clean_residual_conserving": "recorded, change predicted and mean kept (1×)",
    "ours_residual_conserving": "ours, change predicted and mean kept (1×)",
}
"""Scenarios and methods of APEBench, as the table of errors shows them."""

CHAOTIC = "ks"
STEPS = {
    "our step": ("ours_clean", "ours"),
    "change predicted": ("ours_clean_residual", "ours_residual"),
    "mean kept": ("ours_clean_conserving", "ours_conserving"),
    "change predicted, mean kept": ("ours_clean_residual_conserving", "ours_residual_conserving"),
}
"""Row -> the same step with recorded and with recycled histories."""


def errors_grid(results: Mapping[str, Any]) -> Grid:
    """Error of every seed of each method, scenario by scenario; the lowest mean in bold."""
    scenarios = results["scenarios"]
    rows = [[Entry(main=shown), *_errors(scenarios[name])] for name, shown in SCENARIOS.items()]
    columns = [Column(title="scenario", number=False), *(Column(title=title) for title in METHODS.values())]
    return Grid(columns=columns, sections=[Section(title="", rows=rows)])


def _errors(methods: Mapping[str, Any]) -> list[Entry]:
    means = {name: geometric_mean(np.array(methods[name]["gmean_nrmse"])) for name in METHODS if name in methods}
    best = min(means, key=lambda name: means[name])
    shown = {name: ", ".join(wording.short(error, 3) for error in methods[name]["gmean_nrmse"]) for name in means}
    shown[best] = f"**{shown[best]}**"
    return [Entry(main=shown.get(name, wording.UNKNOWN)) for name in METHODS]


def valid_grid(results: Mapping[str, Any]) -> Grid:
    """Lyapunov times of valid prediction, with recorded and with recycled histories; the latter over `one`'s."""
    methods = results["scenarios"][CHAOTIC]
    rows = [[Entry(main="the suite's trainer (`one`)"), _times(methods, "one"), Entry(main=""), Entry(main="1")]]
    for name, (recorded, recycled) in STEPS.items():
        over = ratio(methods[recycled], methods["one"], "valid_steps") if recycled in methods else None
        times = Entry(main=wording.UNKNOWN if over is None else f"{over:.2f}")
        rows.append([Entry(main=name), _times(methods, recorded), _times(methods, recycled), times])
    titles = ("recorded histories", "recycled", "recycled ÷ `one`")
    columns = [Column(title="", number=False), *(Column(title=title) for title in titles)]
    return Grid(columns=columns, sections=[Section(title="", rows=rows)])


def _times(methods: Mapping[str, Any], name: str) -> Entry:
    if name not in methods:
        return Entry(main=wording.UNKNOWN)
    return Entry(main=", ".join(f"{time:.2f}" for time in methods[name]["vpt_lyapunov"]))
