"""How long rollouts last: Kaplan-Meier medians, survival, and ratios that admit what was not seen.

Rollouts that never left their bands are right-censored at the last frame watched. With exit frames `t_i`, the
weights `w_i` of a bootstrap resample (all 1 for the data itself) and exits before censorings at equal times,

    S(t) = Π_{i: t_i <= t, not censored} (1 - w_i / Σ_{j >= i} w_j)      median = min {t : S(t) <= 1/2}   (1)

(Kaplan and Meier 1958). The estimate itself is `scipy.stats.ecdf` of `CensoredData`; (1) is used for all
resamples at once. Where `S` never falls to 1/2 the median is only known to be at least `max_frames`.

A window is the resolution of an exit frame, so ratios take a median below one window as one window.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy  # scipy.stats, slow to import, is loaded at its first use
from jaxtyping import Bool, Num

from recycle_jax.drift.bootstrap import draw_rollouts, draw_seeds, interval


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exits:
    """The exits of one training seed's rollouts.

    Attributes:
        exit_frame: `[b]` frames; of a censored rollout the frames it was watched.
        censored: `[b]` bool, whether it never left its bands.
    """

    exit_frame: Num[np.ndarray, " b"]
    censored: Bool[np.ndarray, " b"]

    def __post_init__(self) -> None:
        if len(self.exit_frame) != len(self.censored) or not len(self.exit_frame):
            raise ValueError(
                f"{len(self.exit_frame)} exit frames and {len(self.censored)} censoring flags: "
                "give one of each for every rollout, and at least one rollout"
            )


def pooled(seeds: Sequence[Exits]) -> Exits:
    """Returns the rollouts of all seeds together."""
    return Exits(
        exit_frame=np.concatenate([seed.exit_frame for seed in seeds]),
        censored=np.concatenate([seed.censored for seed in seeds]),
    )


def censored_data(exits: Exits) -> "scipy.stats.CensoredData":
    """Returns the exits as scipy's right-censored data, for `ecdf`, `logrank` and the like."""
    return scipy.stats.CensoredData(
        uncensored=exits.exit_frame[~exits.censored], right=exits.exit_frame[exits.censored]
    )


def median(exits: Exits) -> tuple[float, bool]:
    """Returns the Kaplan-Meier median in frames and whether it is only a lower bound."""
    survival = scipy.stats.ecdf(censored_data(exits)).sf
    below = np.flatnonzero(survival.probabilities <= 0.5 + 1e-9)
    if below.size:
        return float(survival.quantiles[below[0]]), False
    return float(exits.exit_frame.max()), True


def resampled_medians(
    exits: Exits, weights: Num[np.ndarray, "resamples b"]
) -> tuple[Num[np.ndarray, " resamples"], Bool[np.ndarray, " resamples"]]:
    """Returns the median (1) of each resample and whether it is only a lower bound."""
    order = np.lexsort((exits.censored, exits.exit_frame))
    times, died = exits.exit_frame[order], ~exits.censored[order]
    weights = weights[:, order].astype(np.float64)
    at_risk = np.cumsum(weights[:, ::-1], axis=1)[:, ::-1]
    survival = np.cumprod(1.0 - np.where(died, weights, 0.0) / np.maximum(at_risk, 1.0), axis=1)
    below = survival <= 0.5 + 1e-9
    bound = np.logical_not(below.any(axis=1))
    longest = np.max(np.where(weights > 0, times, 0), axis=1)
    return np.where(bound, longest, times[np.argmax(below, axis=1)]).astype(np.float64), bound


def horizon(seeds: Sequence[Exits], max_frames: int, rng: np.random.Generator, resamples: int = 1000) -> dict[str, Any]:
    """Returns the median horizon over seeds of rollouts, with its 95 % hierarchical bootstrap interval.

    Returns:
        `median`, `ci95` and `max_frames` in frames, `censored_fraction`, and `lower_bound`: whether the
        median was not reached, so that the true one is `median` or more.
    """
    everyone = pooled(seeds)
    drawn = draw_seeds(len(seeds), resamples, rng)
    medians, _ = resampled_medians(everyone, draw_rollouts(drawn, [len(s.exit_frame) for s in seeds], rng))
    value, bound = median(everyone)
    return {
        "median": value,
        "ci95": interval(medians),
        "censored_fraction": float(everyone.censored.mean()),
        "max_frames": int(max_frames),
        "lower_bound": bound,
    }


def survival(seeds: Sequence[Exits], max_frames: int) -> dict[str, float]:
    """Returns the Kaplan-Meier fraction of rollouts with at least `4^k` good frames, up to `max_frames`."""
    curve = scipy.stats.ecdf(censored_data(pooled(seeds))).sf
    frames = survival_frames(max_frames)
    return {str(frame): float(curve.evaluate(frame - 0.5)) for frame in frames}


def survival_frames(max_frames: int) -> list[int]:
    """Returns 1, 4, 16, … and `max_frames`."""
    powers = [4**k for k in range(int(np.log2(max_frames) // 2) + 1)]
    return sorted({*powers, int(max_frames)})


def horizon_ratio(
    method: Sequence[Exits],
    rival: Sequence[Exits],
    window: int,
    rng: np.random.Generator,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Compares two methods' median horizons, with an honest verdict.

    Args:
        method: exits of each training seed of the numerator.
        rival: the same of the denominator; with as many seeds, seeds are resampled in pairs.
        window: frames a window, the smallest horizon that can be told apart from none.
        rng: seeded generator.
        resamples: bootstrap resamples.

    Returns:
        `ratio`, its `ci95`, `verdict` and `p_logrank`. The verdict is `longer`, `shorter` or `tie` by
        whether the interval excludes 1; `at_least` or `at_most` where one side is censored, so that the
        ratio is a bound, and the interval excludes 1 on that side; and `tie` with `both_censored` where both
        are.
    """
    drawn = draw_seeds(len(method), resamples, rng)
    others = drawn if len(rival) == len(method) else draw_seeds(len(rival), resamples, rng)
    top, top_bound, tops = _medians(method, drawn, window, rng)
    bottom, bottom_bound, bottoms = _medians(rival, others, window, rng)
    lo, hi = interval(tops / bottoms)
    return {
        "ratio": top / bottom,
        "ci95": [lo, hi],
        "verdict": _verdict(lo, hi, top_bound, bottom_bound),
        "both_censored": top_bound and bottom_bound,
        "p_logrank": _logrank(pooled(method), pooled(rival)),
    }


def paired_test(pairs: Sequence[tuple[Exits, Exits]], window: int) -> dict[str, Any]:
    """Tests a method against a rival over (seed, world) pairs by exact sign flips of log horizon ratios.

    Args:
        pairs: (method, rival) exits of the same seed and world.
        window: frames a window, the smallest horizon.

    Returns:
        `pairs`, `wins`, `losses`, `ties`, the geometric mean `ratio`, and the two-sided `p`: with few pairs
        its least possible value, `2^(1 - pairs)`, may be above 0.05.
    """
    logs = np.array([np.log(max(median(a)[0], window) / max(median(b)[0], window)) for a, b in pairs])
    p = 1.0
    if len(logs) > 1 and np.any(logs):
        p = float(scipy.stats.permutation_test((logs,), np.mean, permutation_type="samples", rng=0).pvalue)
    return {
        "pairs": len(logs),
        "wins": int((logs > 0).sum()),
        "losses": int((logs < 0).sum()),
        "ties": int((logs == 0).sum()),
        "ratio": float(np.exp(logs.mean())),
        "p": p,
    }


def _medians(
    seeds: Sequence[Exits], drawn: Num[np.ndarray, "resamples seeds"], window: int, rng: np.random.Generator
) -> tuple[float, bool, Num[np.ndarray, " resamples"]]:
    everyone = pooled(seeds)
    value, bound = median(everyone)
    medians, _ = resampled_medians(everyone, draw_rollouts(drawn, [len(s.exit_frame) for s in seeds], rng))
    return max(value, float(window)), bound, np.maximum(medians, float(window))


def _logrank(first: Exits, second: Exits) -> float:
    """Two-sided p value of equal survival; 1 where all rollouts exit together or none does."""
    with np.errstate(invalid="ignore", divide="ignore"):
        p = scipy.stats.logrank(censored_data(first), censored_data(second)).pvalue
    return float(p) if np.isfinite(p) else 1.0


def _verdict(lo: float, hi: float, top_bound: bool, bottom_bound: bool) -> str:
    if top_bound and bottom_bound:
        return "tie"
    if lo > 1.0 and not bottom_bound:
        return "at_least" if top_bound else "longer"
    if hi < 1.0 and not top_bound:
        return "at_most" if bottom_bound else "shorter"
    return "tie"
