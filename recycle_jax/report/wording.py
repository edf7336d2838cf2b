"""How numbers of a result file are read and written for people: few digits, units, bounds shown as bounds.

Result files spell NaN as null and infinities as text; `number` reads all three. Whatever is not known is
written `–`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

UNKNOWN = "–"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: Any) -> float:
    """Returns a value of a result file as a float; NaN where there is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def short(value: Any, digits: int = 3) -> str:
    """Returns a number with `digits` significant digits: `1,020`, `0.0312`, `4.10×10⁻⁵`, `∞`, `–`."""
    x = number(value)
    if math.isnan(x):
        return UNKNOWN
    if math.isinf(x):
        return "∞" if x > 0 else "-∞"
    if x == 0.0:
        return "0"
    x = float(f"{x:.{digits}g}")
    exponent = math.floor(math.log10(abs(x)))
    if -4 < exponent < 6:
        return f"{x:,.{max(digits - 1 - exponent, 0)}f}"
    return f"{f'{x / 10.0**exponent:.{digits - 1}f}'}×10{str(exponent).translate(_SUPERSCRIPT)}"


def count(value: Any) -> str:
    """Returns a whole number with thousands marked, such as a number of frames."""
    x = number(value)
    return f"{x:,.0f}" if math.isfinite(x) else short(x)


def percent(fraction: Any) -> str:
    """Returns a fraction as per cent, never rounding a few to none or nearly all to all."""
    x = number(fraction)
    if not math.isfinite(x):
        return UNKNOWN
    if 0.0 < x < 0.005:
        return "<1 %"
    if 0.995 < x < 1.0:
        return ">99 %"
    return f"{100 * x:.0f} %"


def horizon(record: Mapping[str, Any] | None) -> str:
    """Returns a median horizon in frames, with `≥` where most rollouts outlasted the measurement."""
    if not record:
        return UNKNOWN
    return ("≥ " if record.get("lower_bound") else "") + count(record.get("median"))


def horizon_interval(record: Mapping[str, Any] | None) -> str:
    """Returns the 95 % interval of a median horizon; an end at the last frame watched is only a bound."""
    if not record or not record.get("ci95"):
        return ""
    last = number(record.get("max_frames"))
    ends = [("≥ " if number(end) >= last else "") + count(end) for end in record["ci95"]]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def between(ends: Sequence[Any] | None, digits: int = 2) -> str:
    """Returns `lo to hi`, or an empty text where an end is not known."""
    if not ends or any(math.isnan(number(end)) for end in ends):
        return ""
    texts = [short(end, digits) for end in ends]
    return texts[0] if texts[0] == texts[1] else f"{texts[0]} to {texts[1]}"


def times(factor: Any) -> str:
    """Returns a factor such as `1.4×`, with as many digits as a reader can use."""
    x = number(factor)
    return f"{x:.2f}×" if abs(x) < 10 else UNKNOWN if math.isnan(x) else f"{short(x, 2 if x < 100 else 3)}×"


def flops(value: Any) -> str:
    """Returns floating-point operations with the prefix that keeps the number small."""
    x = number(value)
    for unit, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if x >= size:
            return f"{short(x / size)} {unit}FLOP"
    return UNKNOWN if math.isnan(x) else f"{short(x)} FLOP"


def size(value: Any) -> str:
    """Returns a number of bytes with its unit."""
    x = number(value)
    for unit, scale in (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10)):
        if x >= scale:
            return f"{short(x / scale)} {unit}"
    return UNKNOWN if math.isnan(x) else f"{count(x)} B"


def duration(seconds: Any) -> str:
    """Returns a time as seconds, minutes or hours."""
    x = number(seconds)
    if math.isnan(x):
        return UNKNOWN
    if x < 120:
        return f"{short(x, 2)} s"
    return f"{short(x / 60, 2)} min" if x < 7200 else f"{short(x / 3600, 2)} h"


def share_of_motion(entry: Mapping[str, Any]) -> str:
    """Returns `motion 0.02 of real at frame 128` of a summary's entry, empty where motion was not measured."""
    ratios = entry.get("dynamics_ratio") or {}
    last = max(ratios, key=int, default=None)
    ratio = number(ratios[last][0]) if last is not None else math.nan
    return "" if math.isnan(ratio) else f"motion {ratio:.2g} of real at frame {count(last)}"
