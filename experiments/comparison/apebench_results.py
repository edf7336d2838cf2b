"""From cells of the judgement to its tables.

A cell is one (scenario, method, seed). Errors are compared by their geometric mean over seeds, pair by pair.
"""

import math
from typing import Any

import numpy as np

LISTS = ("gmean_nrmse", "correlation_time", "valid_steps", "vpt_lyapunov", "seconds")
"""What is reported of every seed."""
SHOWN_STEPS = (1, 10, 50, 100, 200)

Cell = dict[str, Any]


def require_finished(cell: Any) -> Cell:
    """The cell itself; ValueError where something that the tables need is missing."""
    missing = [name for name in (*LISTS, "cost_over_one", "curves") if name not in cell]
    if missing:
        raise ValueError(f"it lacks {', '.join(missing)}")
    return dict(cell)


def cells_again(results: dict[str, Any]) -> list[Cell]:
    """The cells that a table was made of, their curves only at the steps that it shows: all seeds share a mean."""
    return [
        {
            "scenario": scenario,
            "method": method,
            "seed": seed,
            "cost_over_one": of["cost_over_one"],
            "curves": {"mean_nRMSE": _sparse(of["nrmse_at"])},
            **{name: of[name][number] for name in LISTS},
        }
        for scenario, methods in results["scenarios"].items()
        for method, of in methods.items()
        for number, seed in enumerate(of["seeds"])
    ]


def _sparse(shown: dict[str, float]) -> list[float | None]:
    """A curve by its values at some steps, from 1."""
    return [shown.get(str(step)) for step in range(1, max(map(int, shown)) + 1)]


def summarise(cells: dict[tuple[str, str, int], Cell]) -> dict[str, Any]:
    """`{scenario: {method: {...}}}` of cells by `(scenario, method, seed)`."""
    scenarios: dict[str, Any] = {}
    for scenario, method in dict.fromkeys((scenario, method) for scenario, method, _ in cells):
        of = {seed: cell for (s, m, seed), cell in cells.items() if (s, m) == (scenario, method)}
        scenarios.setdefault(scenario, {})[method] = over_seeds(of)
    return scenarios


def over_seeds(cells: dict[int, Cell]) -> dict[str, Any]:
    """Lists over seeds; the error at a few steps is a geometric mean over them."""
    curves = np.array([cell["curves"]["mean_nRMSE"] for cell in cells.values()], np.float64)
    at = [step for step in SHOWN_STEPS if step <= curves.shape[1]]
    return {
        "seeds": list(cells),
        "cost_over_one": next(iter(cells.values()))["cost_over_one"],
        **{name: [cell[name] for cell in cells.values()] for name in LISTS},
        "nrmse_at": {str(step): geometric_mean(curves[:, step - 1]) for step in at},
    }


def ratios(methods: dict[str, Any], ours: tuple[str, ...]) -> dict[str, Any]:
    """Error and valid time of each of ours over every other method's, over the seeds that both have."""
    pairs = [(mine, other) for mine in methods if mine in ours for other in methods if other != mine]
    names = ("gmean_nrmse", "valid_steps")
    return {f"{a}/{b}": {name: ratio(methods[a], methods[b], name) for name in names} for a, b in pairs}


def ratio(mine: dict[str, Any], other: dict[str, Any], name: str) -> float | None:
    """Geometric mean; None where no seed is common or a value is not positive and finite."""
    a, b = (dict(zip(method["seeds"], method[name], strict=True)) for method in (mine, other))
    pairs = [(float(a[seed]), float(b[seed])) for seed in a if seed in b]
    if not pairs or not all(0.0 < value < math.inf for pair in pairs for value in pair):
        return None
    return geometric_mean(np.array([x / y for x, y in pairs]))


def geometric_mean(values: np.ndarray) -> float:
    """Of positive numbers; 0 where one is 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.mean(np.log(values))))


def table(scenarios: dict[str, Any]) -> str:
    """One line a scenario and method: geometric mean of the error, mean times to decorrelate and of validity."""
    lines = [
        f"{'scenario':12}{'method':32}{'cost':>6}{'seeds':>7}{'nRMSE':>10}{'correlated':>12}{'valid':>8}{'Lyapunov':>10}"
    ]
    for scenario, methods in scenarios.items():
        for method, of in methods.items():
            error = geometric_mean(np.array(of["gmean_nrmse"], np.float64))
            correlated, valid = (float(np.mean(of[name])) for name in ("correlation_time", "valid_steps"))
            times = [time for time in of["vpt_lyapunov"] if time is not None]
            chaotic = f"{np.mean(times):10.2f}" if times else f"{'-':>10}"
            lines.append(
                f"{scenario:12}{method:32}{of['cost_over_one']:6.2f}{len(of['seeds']):7d}{error:10.4f}"
                f"{correlated:12.1f}{valid:8.1f}{chaotic}"
            )
    return "\n".join(lines)
