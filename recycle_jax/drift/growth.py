"""Which law a generator's error grows by, with votes, and how long it may run by that law.

The curve is the median over rollouts of the off-manifold distance at log-spaced frames (a few rollouts that
are already garbage must not speak for all). `E_max` is the upper end of the real band. Two cases are kept
apart where the curve ends above `E_max`, in garbage:

* It *ran into* a ceiling: over all frames the logistic law, exponential growth into a ceiling P, has a lower
  AICc than exponential, linear and saturating. What the ceiling does is no property of the growth, so laws
  are fitted only before the curve first reaches `c·P`, `c` = 0.2. There logistic growth falls short of its
  own exponential by the factor `1 - E/P`, so the ceiling bends the fitted part by at most 20 %, small against
  the decades it spans.
* It *approached* a level smoothly: then the saturating law fits best over all frames. It is called
  `saturating_above_band` and counts for nothing.

In each hierarchical bootstrap resample the law with the lowest AICc gets a vote. `n_max` is the frame at
which the elected law reaches `E_max`:

    linear  (E_max - E0) / α      exponential  log(E_max / E0) / log(1 + ε)      saturating  none       (1)
"""

import collections
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Num

from recycle_jax.drift.bootstrap import hierarchical_weights, interval, weighted_median
from recycle_jax.drift.laws import MIN_POINTS, Curve, Fit, best_law, fit_laws, fit_logistic

CEILING_FRACTION = 0.2
ABOVE = "saturating_above_band"
UNDETERMINED = "undetermined"


def growth(
    frames: Num[np.ndarray, " places"],
    seeds: Sequence[Float[np.ndarray, "places rollouts"]],
    e_max: float,
    rng: np.random.Generator,
    resamples: int = 200,
) -> dict[str, Any]:
    """Elects the law of growth.

    Args:
        frames: frame numbers, from 1, rising.
        seeds: off-manifold distance of each seed's rollouts at `frames`.
        e_max: upper end of the real band of the distance.
        rng: seeded generator.
        resamples: bootstrap resamples.

    Returns:
        `law`, `votes` (fractions of resamples by law), `params` of the law on the median curve, `n_max` in
        frames or None, `ci95` (parameter or `n_max` -> [lo, hi] over the resamples that elected the law), and
        `fit_frames` `[first, last]`. With fewer than six frames the law is `undetermined`.
    """
    frames = np.asarray(frames)
    values = np.concatenate([np.asarray(seed, np.float64) for seed in seeds], axis=1)
    curve = weighted_median(values, np.ones((1, values.shape[1])))[0]
    if len(frames) < MIN_POINTS:
        return {"law": UNDETERMINED, "votes": {}, "params": {}, "n_max": None, "ci95": {}, "fit_frames": None}
    used = fit_range(frames, curve, e_max)
    weights = hierarchical_weights([np.shape(seed)[1] for seed in seeds], resamples, rng)
    curves = weighted_median(values[:used], weights)
    elected = [best_law(frames[:used], resample) for resample in curves]
    names = [law_name(fit, e_max) for fit in elected]
    votes = collections.Counter(names)
    law = votes.most_common(1)[0][0]
    chosen = [fit for fit, name in zip(elected, names, strict=True) if name == law]
    fit = _of_law(fit_laws(frames[:used], curve[:used]), law)
    return {
        "law": law,
        "votes": {name: count / resamples for name, count in votes.most_common()},
        "params": fit.params,
        "n_max": n_max(fit, e_max),
        "ci95": _intervals(chosen, e_max),
        "fit_frames": [int(frames[0]), int(frames[used - 1])],
    }


def fit_range(frames: Num[np.ndarray, " places"], curve: Curve, e_max: float) -> int:
    """Returns how many leading points belong to the growth and not to a garbage ceiling (at least six)."""
    late = float(np.median(curve[-max(len(curve) // 4, 1) :]))
    if late <= e_max:
        return len(frames)
    into_ceiling = fit_logistic(frames, curve)
    if into_ceiling.aicc >= best_law(frames, curve).aicc:
        return len(frames)
    # The level that was seen, where the fitted ceiling lies beyond it.
    ceiling = min(into_ceiling.params["P"], late)
    reached = np.flatnonzero(curve >= CEILING_FRACTION * ceiling)
    return max(int(reached[0]) if reached.size else len(frames), MIN_POINTS)


def law_name(fit: Fit, e_max: float) -> str:
    """Returns the law's name, a saturating one by where it saturates."""
    return ABOVE if fit.law == "saturating" and fit.params["Einf"] > e_max else fit.law


def n_max(fit: Fit, e_max: float) -> float | None:
    """Returns the frame (1) where the law reaches `e_max`: 0 if it starts above, None if it never does."""
    if fit.law == "saturating":
        return None
    start, rate = fit.params["E0"], fit.params["alpha" if fit.law == "linear" else "eps"]
    if start >= e_max:
        return 0.0
    if rate <= 0.0:
        return None
    return float((e_max - start) / rate if fit.law == "linear" else np.log(e_max / start) / np.log1p(rate))


def _of_law(fits: list[Fit], law: str) -> Fit:
    return next(fit for fit in fits if law.startswith(fit.law))


def _intervals(fits: list[Fit], e_max: float) -> dict[str, list[float]]:
    intervals = {name: interval(np.array([fit.params[name] for fit in fits])) for name in fits[0].params}
    ends = [end for end in (n_max(fit, e_max) for fit in fits) if end is not None]
    return intervals | ({"n_max": interval(np.array(ends))} if ends else {})
