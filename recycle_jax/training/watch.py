"""The collapse watch: is recycling making the generator worse?

A generator that trains on its own errors can over-fit to them, forget clean input or feed its bank ever larger
errors (reported for SVI, vita-epfl/Stable-Video-Infinity issue 30). The watch looks, once a round, at four
numbers against what they were at the start, and says what to do where one is out of bounds:

    clean loss on held-out clips            forgetting
    gain of a small error on clean context  errors that grow from step to step
    distance of the harvest's cases         errors that grow from round to round
    share of cases that pass the gate       a generator that rolls out into garbage

What is not a number is out of every bound.
"""

import dataclasses
import math

from flax import struct

from recycle_jax.typing import Params


@struct.dataclass(kw_only=True)
class Round:
    """What the watch sees of one round.

    Attributes:
        step: training step at its end.
        clean_loss: loss on held-out clean clips.
        score: mean distance between rolled-out contexts and their reference.
        accepted: share of aged cases that passed the gate, in [0, 1].
        age: mean age of the banked cases, in steps.
        gain: of a small white error on clean contexts (`drift.gain`, equation 1).
    """

    step: int
    clean_loss: float
    score: float
    accepted: float
    age: float
    gain: float = 0.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """Limits of a healthy run.

    Attributes:
        forgetting: how many times its first value the clean loss may be. Averaged parameters start so low that healthy
            runs end at 1.2 to 4 times it.
        growth: how many times its first value the score may be.
        accepted: smallest share of cases that pass the gate.
        gain: how many times its first value the gain may be.
        patience: rounds after which the watch speaks; the first ones are noisy.
    """

    forgetting: float = 8.0
    growth: float = 4.0
    accepted: float = 0.3
    gain: float = 2.0
    patience: int = 3

    def __post_init__(self) -> None:
        if self.patience < 2:
            raise ValueError(f"patience is {self.patience}, must be at least 2: the first two are the measure")
        if not 0.0 <= self.accepted <= 1.0:
            raise ValueError(f"accepted is {self.accepted}, but a share of the cases lies in [0, 1]")
        for name in ("forgetting", "growth", "gain"):
            if not getattr(self, name) >= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}, must be at least 1: it bounds a growth")

    def warnings(self, rounds: list[Round]) -> list[str]:
        """What is wrong with the newest round and what to do about it; empty where all is well."""
        if len(rounds) <= self.patience:
            return []
        first, second, last = rounds[0], rounds[1], rounds[-1]
        said = []
        if _over(last.clean_loss, self.forgetting, first.clean_loss):
            said.append(
                f"clean loss {last.clean_loss:.3g} is over {self.forgetting:g} x its start {first.clean_loss:.3g}: "
                "give clean rows a larger share of the batch, or lower the learning rate"
            )
        if _over(last.gain, self.gain, first.gain):
            said.append(
                f"gain {last.gain:.3g} of a small error is over {self.gain:g} x its start {first.gain:.3g}: "
                "add noise augmentation to the recycled rows, or lower the learning rate"
            )
        if _over(last.score, self.growth, second.score):
            said.append(
                f"rollout errors {last.score:.3g} are over {self.growth:g} x those of the first rounds "
                f"({second.score:.3g}): lower max_age or tighten the reference's gate"
            )
        if not last.accepted >= self.accepted:
            said.append(
                f"only {last.accepted:.0%} of the cases pass the gate (at least {self.accepted:.0%} should): "
                "train the generator longer before recycling, or lower max_age"
            )
        return said

    def better(self, new: Round, best: Round, first: Round) -> bool:
        """Whether `new` is to be kept instead of `best`: rounds that forget lose, then older cases win.

        Of two rounds that do not forget, the one whose rollouts survive to be banked older and nearer to their
        reference is better: `accepted * age / score`.
        """
        limit = self.forgetting * first.clean_loss
        fine, was_fine = new.clean_loss <= limit, best.clean_loss <= limit
        if fine != was_fine:
            return fine
        return _health(new) >= _health(best)


def _over(value: float, factor: float, start: float) -> bool:
    """Whether a value has outgrown its start; NaN has."""
    return not value <= factor * max(start, 1e-8)


def _health(seen: Round) -> float:
    health = seen.accepted * seen.age / max(seen.score, 1e-8)
    return health if math.isfinite(health) else -1.0


@dataclasses.dataclass(kw_only=True)
class Best:
    """The best round so far: what is handed back where later rounds collapse."""

    round: Round
    params: Params
