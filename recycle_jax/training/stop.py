"""The automatic stop: recycling ends where further rounds no longer pay.

A round pays by lowering the harvest's score, the distance of rollouts from their reference. With the best score `b_i`
of the first `i` rounds, recycling goes on as long as the newest `patience` rounds together lowered it enough,

    b_i < (1 - min_gain) b_{i - patience}                                                             (1)
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from recycle_jax.training.loop import RunState

Look = Callable[[RunState, dict[str, float]], str | None]


def still_pays(scores: Sequence[float], min_gain: float, patience: int) -> bool:
    """Equation (1), of the scores of all rounds, oldest first; one that is not finite counts as the worst."""
    if len(scores) <= patience:
        return True
    finite = [score if math.isfinite(score) else math.inf for score in scores]
    return min(finite) < (1.0 - min_gain) * min(finite[:-patience])


@dataclasses.dataclass(kw_only=True)
class StopWhenIdle:
    """A watch for `training.loop.Observer` that ends the run by equation (1), around another watch.

    Attributes:
        watch: what looks at each round besides, such as a `training.watcher.Watcher`, or None.
        min_gain: share of the best score by which it must fall.
        patience: rounds that have the time to do so.
        scores: of the rounds so far.
    """

    watch: Look | None = None
    min_gain: float = 0.02
    patience: int = 4
    scores: list[float] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0.0 <= self.min_gain < 1.0 or self.patience < 1:
            raise ValueError(
                f"min_gain is {self.min_gain} and patience {self.patience}: the first must be a share in [0, 1), the "
                "second a number of rounds from 1 on"
            )

    def __call__(self, state: RunState, harvest: dict[str, float]) -> str | None:
        """Why the run should end here, or None."""
        reason = None if self.watch is None else self.watch(state, harvest)
        if not harvest:
            return reason
        self.scores.append(harvest["score"])
        if reason or still_pays(self.scores, self.min_gain, self.patience):
            return reason
        return f"{self.patience} rounds lowered the best score {min(self.scores):.4g} by less than {self.min_gain:.2%}"
