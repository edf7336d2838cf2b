"""Settings of published files in today's names, so that a run still goes on from them.

Published files keep the names that settings had when they were written. A setting that has been taken out since is
dropped where it was off; where it was on, the file's cells are of something that no longer exists, and the difference
is reported as any other.
"""

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "brake": "velocity_damping",
    "flow_brake": "flow_velocity_damping",
    "pull": "reanchor_rate",
    "even_rows": "gradient_normalized",
    "mended": "repair_prob",
    "oldest": "max_age",
    "youngest": "min_age",
    "within": "max_displacement_px",
    "carried": "velocity_carry",
}
"""Name of a setting in published files -> its name today."""

OFF: dict[str, Any] = {
    "paced": False,
    "error_rows": 0,
    "disguised_rows": 0,
    "relay_rows": 0,
    "relay": {"max_age": 8, "capacity": 2048, "share": 0.5},
    "case_weight": 1.0,
    "clean_noise": None,
    "strongest": 1.0,
    "trust": None,
    "guessed": 0.0,
    "corrupted": None,
    "threshold": None,
}
"""Settings that may have been taken out, by the value with which they did nothing."""


def renamed(settings: Any) -> Any:
    """Returns nested settings of a published file in today's names."""
    if not isinstance(settings, Mapping):
        return settings
    return {RENAMED.get(name, name): renamed(value) for name, value in settings.items()}


def without_removed(settings: Any, now: Any) -> Any:
    """Returns nested settings without those that were off and are not among today's.

    Args:
        settings: of a published file, in today's names.
        now: today's, as JSON has them.
    """
    if not isinstance(settings, Mapping) or not isinstance(now, Mapping):
        return settings
    return {
        name: without_removed(value, now.get(name))
        for name, value in settings.items()
        if name in now or name not in OFF or value != OFF[name]
    }
