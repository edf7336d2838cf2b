"""What tables read of a cell that holds every rollout, or of a summary's (`experiments.comparison.summarise`)."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def median_exit(cell: Mapping[str, Any]) -> float:
    """Returns the median exit frame of a cell's rollouts."""
    rollouts = cell["rollouts"]
    return float(rollouts["median_exit"]) if is_summary(cell) else float(np.median(rollouts["exit_frame"]))


def survivors(cell: Mapping[str, Any]) -> np.ndarray:
    """Returns which rollouts never left the bands, `[rollouts]` bool, in the order of the starts."""
    rollouts = cell["rollouts"]
    if not is_summary(cell):
        return np.asarray(rollouts["censored"], bool)
    return np.array([int(bit) for bit in f"{int(rollouts['survivors'], 16):0{rollouts['count']}b}"], bool)


def survival(cell: Mapping[str, Any]) -> float:
    """Returns the share of rollouts that never left the bands."""
    return float(np.mean(survivors(cell)))


def survivors_as_text(censored: list[bool]) -> str:
    """Returns which rollouts survived as hexadecimal digits of one bit a rollout, the first start first."""
    return f"{int(''.join(str(int(flag)) for flag in censored), 2):x}"


def is_summary(cell: Mapping[str, Any]) -> bool:
    """Whether a cell is a summary's."""
    return "survivors" in cell["rollouts"]
