"""The automatic stop: when does another round of recycling no longer pay for itself?

Round `i` cost `C_i` and after it the generator measured `G_i` (a horizon, say, or with `higher=False` a drift).
Measurements are noisy, so what counts is the best so far of the smoothed values,

    s_i = median(G_{i-smooth+1}, ..., G_i)        b_i = max(s_1, ..., s_i)                              (1)

and a round pays where it raised that by enough for what it cost,

    b_i - b_{i-1} >= price C_i                                                                        (2)

Recycling stops when so many rounds in a row did not pay. The unit of the price is that of `G` over that of `C`: with
costs as shares of the first training's and `G` the base-2 logarithm of a horizon, `price=0.5` asks for half a
doubling for every such share.
"""

import dataclasses
import math
import statistics
from collections.abc import Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class PricedRound:
    """What a round cost and what it led to.

    Attributes:
        cost: of this round alone, harvest, updates and measurement together, above 0.
        value: measured after it; one that is not finite counts as the worst.
    """

    cost: float
    value: float

    def __post_init__(self) -> None:
        if not 0.0 < self.cost < math.inf:
            raise ValueError(f"cost={self.cost}, but a round costs something: give what it added to the bill")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether to stop, and a sentence that says why, with the numbers."""

    stop: bool
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stop:
    """The rule (2).

    Attributes:
        price: least gain for a unit of cost.
        patience: rounds in a row that must not pay.
        least: rounds before which it never stops.
        smooth: newest measurements whose median counts; 1 takes each as it is.
        higher: whether higher values are better.
    """

    price: float
    patience: int = 3
    least: int = 5
    smooth: int = 3
    higher: bool = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.price < math.inf:
            raise ValueError(f"price={self.price}, but a gain is asked for each unit of cost: use 0 or more")
        for name in ("patience", "least", "smooth"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}, but rounds are counted from 1: raise {name}")

    def verdict(self, rounds: Sequence[PricedRound]) -> Verdict:
        """Judges a history, oldest round first."""
        # The first round has nothing before it to be compared with.
        needed = max(self.least, self.patience + 1)
        if len(rounds) < needed:
            return Verdict(stop=False, reason=f"go on: {len(rounds)} of the first {needed} rounds are done")
        best = self.best(rounds)
        idle = 0
        while idle < len(rounds) - 1 and not self._paid(rounds, best, len(rounds) - 1 - idle):
            idle += 1
        if idle < self.patience:
            last = len(rounds) - 1 - idle
            return Verdict(stop=False, reason=f"go on: {self._bill(rounds, best, last, last)}")
        bill = self._bill(rounds, best, len(rounds) - self.patience, len(rounds) - 1)
        return Verdict(stop=True, reason=f"stop: {bill}, and none of the last {self.patience} rounds paid")

    def best(self, rounds: Sequence[PricedRound]) -> list[float]:
        """The best smoothed value so far after each round (1), in the unit of the values; infinite before a finite."""
        sign = 1.0 if self.higher else -1.0
        worst = -math.inf
        values = [sign * seen.value if math.isfinite(seen.value) else worst for seen in rounds]
        best = []
        for i in range(len(values)):
            # The lower of two middle values: half of a lucky pair is not believed.
            worst = max(worst, statistics.median_low(values[max(0, i + 1 - self.smooth) : i + 1]))
            best.append(sign * worst)
        return best

    def _paid(self, rounds: Sequence[PricedRound], best: Sequence[float], i: int) -> bool:
        gain = self._gain(best[i - 1], best[i])
        return gain > 0.0 and gain >= self.price * rounds[i].cost

    def _gain(self, before: float, after: float) -> float:
        """Infinite for the first finite value, 0 as long as there is none."""
        return 0.0 if before == after else abs(after - before)

    def _bill(self, rounds: Sequence[PricedRound], best: Sequence[float], first: int, last: int) -> str:
        cost = sum(seen.cost for seen in rounds[first : last + 1])
        gain = self._gain(best[first - 1], best[last])
        which = f"round {last + 1}" if first == last else f"rounds {first + 1} to {last + 1}"
        moved = f"from {best[first - 1]:.4g} to {best[last]:.4g}"
        return (
            f"{which} cost {cost:.4g} and moved the best {moved}, {gain / cost:.4g} a unit of cost "
            f"({self.price:.4g} pays)"
        )
