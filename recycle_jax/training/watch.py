"""The collapse watch: is recycling making the generator worse?

A generator that trains on its own errors can over-fit to them, forget clean input or feed its bank ever larger
errors (reported for SVI, vita-epfl/Stable-Video-Infinity issue 30). The watch looks, once a round, at three
numbers against what they were at the start, and says what to do where one is out of bounds:

    clean loss on held-out clips            forgetting
    distance of the harvest's cases         errors that grow from round to round
    share of cases that pass the gate       a generator that rolls out into garbage
"""

import dataclasses

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
    """

    step: int
    clean_loss: float
    score: float
    accepted: float
    age: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Watch:
    """Limits of a healthy run.

    Attributes:
        forgetting: how many times its first value the clean loss may be.
        growth: how many times its first value the score may be.
        accepted: smallest share of cases that pass the gate.
        patience: rounds from which on the watch speaks; the first ones are noisy.
    """

    forgetting: float = 1.5
    growth: float = 4.0
    accepted: float = 0.3
    patience: int = 3

    def warnings(self, rounds: list[Round]) -> list[str]:
        """What is wrong with the newest round and what to do about it; empty where all is well."""
        if len(rounds) <= self.patience:
            return []
        first, last, said = rounds[0], rounds[-1], []
        if last.clean_loss > self.forgetting * first.clean_loss:
            said.append(
                f"clean loss {last.clean_loss:.3g} is over {self.forgetting:g} x its start {first.clean_loss:.3g}: "
                "give clean rows a larger share of the batch, or lower the learning rate"
            )
        if last.score > self.growth * max(rounds[1].score, 1e-8):
            said.append(
                f"rollout errors {last.score:.3g} are over {self.growth:g} x those of the first rounds "
                f"({rounds[1].score:.3g}): lower the oldest age or tighten the reference's gate"
            )
        if last.accepted < self.accepted:
            said.append(
                f"only {last.accepted:.0%} of the cases pass the gate (at least {self.accepted:.0%} should): "
                "train the generator longer before recycling, or lower the oldest age"
            )
        return said

    def better(self, new: Round, best: Round, first: Round) -> bool:
        """Whether `new` is to be kept instead of `best`: rounds that forget lose, then older cases win.

        Of two rounds that do not forget, the one whose rollouts survive to be banked older and nearer to their
        reference is better: `accepted * age / score`.
        """
        limit = self.forgetting * first.clean_loss
        if (new.clean_loss > limit) != (best.clean_loss > limit):
            return new.clean_loss <= limit
        return _health(new) >= _health(best)


def _health(seen: Round) -> float:
    return seen.accepted * seen.age / max(seen.score, 1e-8)


@dataclasses.dataclass(kw_only=True)
class Best:
    """The best round so far: what is handed back where later rounds collapse."""

    round: Round
    params: Params
