"""From the cells of a result file to its `summary` and `headline`: numbers with intervals, nothing else.

Cells of one world, generator and method are that method's training seeds. A cell joins another entry, under
the suffix `@DOMAIN` or `@FRAMES`, where it was evaluated on another domain than it was trained on, or run for
another length than most of that method's cells: horizons of different limits are not mixed.

    dynamics_ratio   window mean of motion over the mean motion of real video             (1)
    retention        window mean of mass over the rollout's own context
    cost_over_B      train + harvest + choosing FLOPs over those of method `b`            (2)
"""

import collections
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from recycle_jax.drift.bands import Bands
from recycle_jax.drift.bootstrap import mean_with_ci
from recycle_jax.drift.cells import curve_of, exits_of
from recycle_jax.drift.growth import UNDETERMINED, growth
from recycle_jax.drift.horizon import horizon, horizon_ratio, paired_test, survival, survival_frames
from recycle_jax.drift.statistics import DISTANCE

Cell = Mapping[str, Any]
FROM_CURVES = ("growth", "dynamics_ratio", "retention")
"""Of an entry, what needs the curves of single rollouts."""

COSTS = ("train_flops", "harvest_flops", "eval_flops_used_for_choices")


def grouped(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Returns entry name `WORLD/GENERATOR/METHOD[@DOMAIN][@FRAMES]` -> its cells in the order of their seeds.

    Raises:
        ValueError: if an entry has two cells of one seed.
    """
    lengths: dict[str, collections.Counter[int]] = collections.defaultdict(collections.Counter)
    for cell in cells:
        lengths[_base_name(cell)][cell["max_frames"]] += 1
    groups = collections.defaultdict(list)
    for cell in sorted(cells, key=lambda cell: cell["seed"]):
        base = _base_name(cell)
        usual = max(lengths[base].items(), key=lambda item: (item[1], -item[0]))[0]
        groups[base if cell["max_frames"] == usual else f"{base}@{cell['max_frames']}"].append(cell)
    for name, members in groups.items():
        seeds = [cell["seed"] for cell in members]
        if len(set(seeds)) < len(seeds):
            raise ValueError(f"{name} has cells of seeds {seeds}: each seed may stand once, drop the older cell")
    return dict(groups)


def summarise(
    cells: Sequence[Cell],
    bands: Mapping[str, Bands],
    *,
    seed: int = 0,
    law_resamples: int = 200,
    known: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """Returns the `summary` of a result file.

    Args:
        cells: cells of any worlds, generators, methods and seeds.
        bands: world -> its bands.
        seed: of the bootstrap; the same cells and seed give the same numbers.
        law_resamples: votes on the law of growth; about 6 ms of a core each.
        known: entry -> its values under `FROM_CURVES`, for entries whose cells have lost the curves of single rollouts;
            they are taken as they are.

    Raises:
        ValueError: if a cell's world has no bands.
    """
    missing = {cell["world"] for cell in cells} - set(bands)
    if missing:
        raise ValueError(f"no bands for worlds {sorted(missing)}, only for {sorted(bands)}: calibrate them first")
    groups = grouped(cells)

    def entry(name: str, members: Sequence[Cell]) -> dict[str, Any]:
        baseline = _baseline_cost(groups, name)
        return _entry(members, bands[members[0]["world"]], baseline, seed, law_resamples, known.get(name))

    return {name: entry(name, members) for name, members in groups.items()}


def headline(
    cells: Sequence[Cell],
    bands: Mapping[str, Bands],
    *,
    method: str,
    rivals: Sequence[str],
    seed: int = 0,
) -> dict[str, Any]:
    """Compares one method's horizon with its rivals', in each world and generator and over all of them.

    Returns:
        `{"horizon_ratios": {"WORLD/GENERATOR": {"METHOD_over_RIVAL": horizon_ratio(…)}},
        "paired": {"METHOD_over_RIVAL": paired_test(…)}}`, with pairs over the seeds that both sides have in
        each world and generator. Rivals without cells are left out.
    """
    groups = grouped(cells)
    ratios: dict[str, dict[str, Any]] = collections.defaultdict(dict)
    pairs: dict[str, list] = collections.defaultdict(list)
    windows = [value.window for value in bands.values()]
    for name, members in groups.items():
        place, last = name.rsplit("/", 1)
        if last != method:
            continue
        for rival in rivals:
            others = groups.get(f"{place}/{rival}")
            if others is None:
                continue
            label, window = f"{method}_over_{rival}", bands[members[0]["world"]].window
            ratios[place][label] = _ratio(members, others, window, np.random.default_rng(seed))
            theirs = {cell["seed"]: exits_of(cell) for cell in others}
            pairs[label] += [(exits_of(c), theirs[c["seed"]]) for c in members if c["seed"] in theirs]
    paired = {label: paired_test(both, max(windows)) for label, both in pairs.items() if both}
    return {"horizon_ratios": dict(ratios), "paired": paired}


def _entry(
    cells: Sequence[Cell],
    bands: Bands,
    baseline: float | None,
    seed: int,
    law_resamples: int,
    known: Mapping[str, Any] | None,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    exits = [exits_of(cell) for cell in cells]
    frames = cells[0]["max_frames"]
    cost = _cost(cells)
    return {
        "horizon_frames": horizon(exits, frames, rng),
        "survival": survival(exits, frames),
        "causes": _causes(cells),
        **(_from_curves(cells, bands, frames, rng, law_resamples) if known is None else known),
        "cost_over_B": cost / baseline if cost is not None and baseline else None,
        "tuning_trials": max((cell.get("tuning_trials") or 0 for cell in cells), default=0),
        "seeds": len(cells),
    }


def _from_curves(
    cells: Sequence[Cell], bands: Bands, frames: int, rng: np.random.Generator, law_resamples: int
) -> dict[str, Any]:
    growing = _growth(cells, bands, rng, law_resamples)
    motion = _curve_ratio(cells, "motion", bands.means["motion"], frames, rng)
    return dict(zip(FROM_CURVES, (growing, motion, _curve_ratio(cells, "retention", 1.0, frames, rng)), strict=True))


def _growth(cells: Sequence[Cell], bands: Bands, rng: np.random.Generator, resamples: int) -> dict[str, Any]:
    curves = [curve_of(cell, DISTANCE) for cell in cells]
    frames = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not frames:
        return {"law": UNDETERMINED, "votes": {}, "params": {}, "n_max": None, "ci95": {}, "fit_frames": None}
    seeds = [np.stack([curve[frame] for frame in frames]) for curve in curves]
    return growth(np.array(frames), seeds, bands.statistics[DISTANCE][1], rng, resamples)


def _curve_ratio(
    cells: Sequence[Cell], name: str, real: float, max_frames: int, rng: np.random.Generator
) -> dict[str, list[float]]:
    """Returns frame -> [mean, lo, hi] of a curve over `real`, at the kept frames nearest to 4^k."""
    curves = [curve_of(cell, name) for cell in cells]
    kept = sorted(set.intersection(*(set(curve) for curve in curves)))
    places = sorted({min(kept, key=lambda k: abs(np.log(k / frame))) for frame in survival_frames(max_frames) if kept})
    return {str(p): mean_with_ci([curve[p] / real for curve in curves], 1000, rng) for p in places}


def _ratio(method: Sequence[Cell], rival: Sequence[Cell], window: int, rng: np.random.Generator) -> dict[str, Any]:
    """Pairs the seeds where both sides have the same ones; `grouped` has put them in order."""
    return horizon_ratio([exits_of(c) for c in method], [exits_of(c) for c in rival], window, rng)


def _causes(cells: Sequence[Cell]) -> dict[str, float]:
    """Returns, for each statistic, the fraction of rollouts that it ended, alone or with others."""
    causes = [cause for cell in cells for cause in cell["rollouts"]["cause"]]
    counts = collections.Counter(name for cause in causes for name in (cause or "").split("+") if name)
    return {name: count / len(causes) for name, count in counts.most_common()}


def _base_name(cell: Cell) -> str:
    name = f"{cell['world']}/{cell['generator']}/{cell['method']}"
    trained, evaluated = cell.get("train_domain"), cell.get("eval_domain")
    return name if trained == evaluated else f"{name}@{evaluated}"


def _cost(cells: Sequence[Cell]) -> float | None:
    totals = [sum(float(cell["cost"].get(part) or 0.0) for part in COSTS) for cell in cells if cell.get("cost")]
    return float(np.mean(totals)) if totals else None


def _baseline_cost(groups: Mapping[str, Sequence[Cell]], name: str) -> float | None:
    return _cost(groups.get(f"{name.rsplit('/', 1)[0]}/b", []))
