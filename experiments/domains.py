"""The worlds of the comparison, and each split in two: a domain to train on, and another that stays unseen."""

import dataclasses
from collections.abc import Mapping

from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.base import DecodableWorld
from recycle_jax.data.worlds.digits import MovingDigits
from recycle_jax.data.worlds.driving import Driving
from recycle_jax.data.worlds.heartbeat import Heartbeat


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domains:
    """A world that is split in two.

    Attributes:
        seen: name of the domain that generators train on.
        unseen: name of the other.
        worlds: name -> the world restricted to that domain.
    """

    seen: str
    unseen: str
    worlds: Mapping[str, DecodableWorld]


WORLDS: dict[str, DecodableWorld] = {
    "balls": BouncingBalls(size=32, balls=1, context_frames=2),
    "digits": MovingDigits(size=32, digits=1, context_frames=2),
    "heartbeat": Heartbeat(size=16, context_frames=2),
    "driving": Driving(size=32, context_frames=2),
}

DOMAINS: dict[str, Domains] = {
    "balls": Domains(
        seen="slow",
        unseen="fast",
        worlds={
            "slow": BouncingBalls(size=32, balls=1, context_frames=2, speed=(1.0, 1.5)),
            "fast": BouncingBalls(size=32, balls=1, context_frames=2, speed=(1.5, 2.0)),
        },
    ),
    "digits": Domains(
        seen="slow",
        unseen="fast",
        worlds={pace: MovingDigits(size=32, digits=1, context_frames=2, paces=(pace,)) for pace in ("slow", "fast")},
    ),
    "heartbeat": Domains(
        seen="normal",
        unseen="weak",
        worlds={
            "normal": Heartbeat(size=16, context_frames=2, contraction=(0.45, 0.65)),
            "weak": Heartbeat(size=16, context_frames=2, contraction=(0.25, 0.45)),
        },
    ),
    "driving": Domains(
        seen="urban",
        unseen="rural",
        worlds={place: Driving(size=32, context_frames=2, places=(place,)) for place in ("urban", "rural")},
    ),
}
