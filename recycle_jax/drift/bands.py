"""Simultaneous bands of real video: what a rollout must stay inside, fixed before any method is run.

Let `m_i`, `M_i` be the smallest and largest window value of a statistic in calibration rollout `i` of `n`. At
the common quantile level `j / n` each statistic's band runs from the `j`-th smallest `m` to the `j`-th
largest `M`. The level is the highest, that is the bands are the narrowest, at which

    #{i : any statistic of rollout i is ever outside} <= 0.05 n                           (1)

so the bands hold for all statistics and all windows up to `max_frames` together. They are then widened by
tolerances that are fixed a priori for the world and never narrow a band:

    lo <- min(lo / factor, lo_at_most)      hi <- max(hi · factor, hi_at_least)           (2)

Simulated video is noise-free: without (2) its distance band would call a half-pixel shift drift. No frame is
too valid: the distance has no lower end but zero. Separate real video must then stay inside in at least 90 %
of the rollouts, else `calibrate` raises.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax import struct

from recycle_jax.drift.statistics import DISTANCE, NONFINITE
from recycle_jax.typing import PyTree


@struct.dataclass(kw_only=True)
class Extremes:
    """Window values of `b` rollouts of real video, or of any other.

    Attributes:
        minimum: name -> `[b]` float32, smallest window value.
        maximum: name -> `[b]` float32, largest window value.
        mean: name -> `[b]` float32, mean over windows.
    """

    minimum: PyTree
    maximum: PyTree
    mean: PyTree


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a band is widened by (2), fixed a priori.

    Attributes:
        factor: at least 1; multiplies the upper and divides the lower end of a non-negative statistic.
        lo_at_most: the lower end is at most this.
        hi_at_least: the upper end is at least this.
    """

    factor: float = 1.0
    lo_at_most: float = float("inf")
    hi_at_least: float = float("-inf")

    def __post_init__(self) -> None:
        if self.factor < 1.0:
            raise ValueError(f"factor={self.factor} would narrow the band: give 1 or more")

    def widen(self, lo: float, hi: float) -> tuple[float, float]:
        """Returns the band of (2)."""
        return min(lo / self.factor, self.lo_at_most), max(hi * self.factor, self.hi_at_least)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bands:
    """The bands of one world; equal and hashed by content.

    Attributes:
        statistics: name -> (lo, hi), in the units of the statistic; a value outside [lo, hi] is an exit.
        means: name -> mean over real video, the reference of ratios such as the dynamics ratio.
        window: frames a window.
        max_frames: length for which the bands are simultaneous.
        calibration_exit_fraction: fraction of calibration rollouts that exit.
        real_exit_fraction: fraction of the separate real rollouts that exit.
        calibration_rollouts: how many rollouts the bands come from.
        check_rollouts: how many separate rollouts they were checked on.
        tolerances: name -> Tolerance, as given.
    """

    statistics: Mapping[str, tuple[float, float]]
    means: Mapping[str, float]
    window: int
    max_frames: int
    calibration_exit_fraction: float
    real_exit_fraction: float
    calibration_rollouts: int
    check_rollouts: int
    tolerances: Mapping[str, Tolerance] = dataclasses.field(default_factory=dict)

    def __hash__(self) -> int:
        return hash(self.sha)

    @property
    def sha(self) -> str:
        """First 16 hex digits of the SHA-256 of the content."""
        content = json.dumps(self._content(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object with the content and its `sha`; `from_json` inverts it exactly."""
        return {"sha": self.sha, **self._content()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Bands":
        """Reads what `to_json` gave.

        Raises:
            ValueError: if the content does not match its `sha`.
        """
        fields = {key: value for key, value in record.items() if key != "sha"}
        fields["statistics"] = {name: (lo, hi) for name, (lo, hi) in fields["statistics"].items()}
        fields["tolerances"] = {
            name: Tolerance(**{key: value for key, value in tolerance.items() if value is not None})
            for name, tolerance in fields["tolerances"].items()
        }
        bands = cls(**fields)
        if bands.sha != record["sha"]:
            raise ValueError(f"bands have sha {bands.sha} but are filed under {record['sha']}: edited: calibrate again")
        return bands

    def save(self, path: Path) -> None:
        """Writes the bands to a JSON file."""
        path.write_text(json.dumps(self.to_json(), indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, path: Path) -> "Bands":
        """Reads a file that `save` wrote; raises ValueError where it was edited."""
        return cls.from_json(json.loads(path.read_text()))

    def check_fits(self, names: tuple[str, ...], window: int, max_frames: int) -> None:
        """Raises ValueError unless rollouts measured in this way can be judged by these bands."""
        if set(names) != set(self.statistics):
            raise ValueError(
                f"bands are of {sorted(self.statistics)} but {sorted(names)} are measured: "
                "calibrate with the same Statistics"
            )
        if window != self.window or max_frames > self.max_frames:
            raise ValueError(
                f"bands of window {self.window} hold up to {self.max_frames} frames, not window {window} and "
                f"{max_frames} frames: calibrate on real video of that length"
            )

    def _content(self) -> dict[str, Any]:
        content = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        content["statistics"] = {name: list(band) for name, band in self.statistics.items()}
        content["means"] = dict(self.means)
        content["tolerances"] = {
            name: {key: value if np.isfinite(value) else None for key, value in dataclasses.asdict(t).items()}
            for name, t in self.tolerances.items()
        }
        return content


def exits(extremes: Extremes, statistics: Mapping[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    """Returns, for each statistic, which rollouts ever leave its band: name -> `[b]` bool."""
    return {
        name: (np.asarray(extremes.minimum[name]) < np.float32(lo))
        | (np.asarray(extremes.maximum[name]) > np.float32(hi))
        for name, (lo, hi) in statistics.items()
    }


def calibrate(
    real: Extremes,
    held_out: Extremes,
    *,
    window: int,
    max_frames: int,
    tolerances: Mapping[str, Tolerance],
    exit_fraction: float = 0.05,
    stay_fraction: float = 0.9,
) -> Bands:
    """Calibrates the simultaneous bands of a world: the one function that does it, for every world.

    Args:
        real: extremes over windows of calibration rollouts of real video, `max_frames` long.
        held_out: the same of separate real video, on which the bands are checked.
        window: frames a window of both.
        max_frames: frames a rollout of both.
        tolerances: statistic -> how far its band is widened, fixed a priori for the world.
        exit_fraction: at most this fraction of `real` may exit, before widening.
        stay_fraction: at least this fraction of `held_out` must stay.

    Raises:
        ValueError: if there are too few rollouts, a frame was not finite, a tolerance names no statistic, or
            too many of `held_out` exit.
    """
    rollouts = _checked(real, tolerances, exit_fraction)
    _checked(held_out, tolerances, exit_fraction)
    statistics = _simultaneous(real, rollouts, exit_fraction)
    statistics = {name: tolerances.get(name, Tolerance()).widen(*band) for name, band in statistics.items()}
    statistics[NONFINITE] = (0.0, 0.0)
    bands = Bands(
        statistics=statistics,
        means={name: float(np.mean(np.asarray(value, np.float64))) for name, value in real.mean.items()},
        window=window,
        max_frames=max_frames,
        calibration_exit_fraction=_fraction(exits(real, statistics)),
        real_exit_fraction=_fraction(exits(held_out, statistics)),
        calibration_rollouts=rollouts,
        check_rollouts=len(np.asarray(held_out.minimum[NONFINITE])),
        tolerances=dict(tolerances),
    )
    if bands.real_exit_fraction > 1.0 - stay_fraction:
        each = {name: round(float(left.mean()), 3) for name, left in exits(held_out, statistics).items()}
        raise ValueError(
            f"{bands.real_exit_fraction:.1%} of {bands.check_rollouts} separate real rollouts exit, at most "
            f"{1 - stay_fraction:.0%} may (by statistic: {each}): calibrate on more than {rollouts}, "
            "lengthen the window, or widen the named statistic's tolerance for every method alike"
        )
    return bands


def _simultaneous(real: Extremes, rollouts: int, exit_fraction: float) -> dict[str, tuple[float, float]]:
    """Returns the narrowest bands at a common quantile level that satisfy (1)."""
    lows = {name: np.sort(np.asarray(value)) for name, value in real.minimum.items()}
    highs = {name: np.sort(np.asarray(value))[::-1] for name, value in real.maximum.items()}
    if DISTANCE in lows:
        lows[DISTANCE] = np.zeros_like(lows[DISTANCE])
    chosen: dict[str, tuple[float, float]] = {}
    for level in range((rollouts + 1) // 2):
        candidate = {name: (float(lows[name][level]), float(highs[name][level])) for name in lows}
        if _fraction(exits(real, candidate)) > exit_fraction:
            break
        chosen = candidate
    return chosen


def _fraction(left: Mapping[str, np.ndarray]) -> float:
    return float(np.any(np.stack(list(left.values())), axis=0).mean())


def _checked(extremes: Extremes, tolerances: Mapping[str, Tolerance], exit_fraction: float) -> int:
    rollouts = len(np.asarray(extremes.minimum[NONFINITE]))
    if rollouts * exit_fraction < 1.0:
        raise ValueError(
            f"{rollouts} real rollouts cannot resolve an exit fraction of {exit_fraction}: "
            f"give at least {int(np.ceil(1 / exit_fraction))}"
        )
    unknown = set(tolerances) - set(extremes.minimum)
    if unknown:
        raise ValueError(f"tolerances for {sorted(unknown)} name no statistic of {sorted(extremes.minimum)}: drop them")
    broken = np.flatnonzero(np.asarray(extremes.maximum[NONFINITE]) > 0)
    if broken.size:
        raise ValueError(f"real rollouts {broken[:8].tolist()} hold NaN or Inf: repair or leave them out")
    return rollouts
