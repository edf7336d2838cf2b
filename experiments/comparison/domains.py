"""The worlds of the comparison, and each split in two: a domain to train on, and another that stays unseen.

Sized for networks of 9 MFLOP a frame: one ball, one of five digits at half a pixel to one a frame, a heart at 16 x 16,
one kind of road. With twenty digits at up to two pixels a frame, or with all six scenes, plain training leaves the
bands at once, and a world that no method can show tells nothing.
"""

import dataclasses
from collections.abc import Mapping

from experiments.comparison.worlds.digits import MovingDigits
from experiments.comparison.worlds.driving import Driving
from experiments.comparison.worlds.heartbeat import Heartbeat
from recycle_jax.data.worlds.balls import BouncingBalls
from recycle_jax.data.worlds.base import DecodableWorld


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


_BALLS = BouncingBalls(size=32, balls=1, context_frames=2)
_DIGITS = MovingDigits(size=32, digits=1, shapes=5, speeds=(0.4, 1.0), context_frames=2)
_HEART = Heartbeat(size=16, context_frames=2)
_ROAD = Driving(size=32, context_frames=2, places=("rural",), weathers=("day",))

WORLDS: dict[str, DecodableWorld] = {"balls": _BALLS, "digits": _DIGITS, "heartbeat": _HEART, "driving": _ROAD}
"""Deterministic: what comes next follows from the context."""

STOCHASTIC: dict[str, DecodableWorld] = {
    "balls_kicked": dataclasses.replace(_BALLS, kick=0.1),
    "digits_kicked": dataclasses.replace(_DIGITS, kick=0.05),
    "heartbeat_varying": dataclasses.replace(_HEART, variation=0.2),
    "driving_gusty": dataclasses.replace(_ROAD, gust=0.02),
}
"""The same worlds with chance in every frame: for flows only, and none is split into domains."""

CROWDED: dict[str, DecodableWorld] = {
    "balls_two": dataclasses.replace(_BALLS, balls=2),
    "digits_two": dataclasses.replace(_DIGITS, digits=2),
}
"""Deterministic too, with two things: balls bounce off each other, digits pass through each other. Not split."""

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
        worlds={
            pace: MovingDigits(size=32, digits=1, shapes=5, speeds=(0.4, 1.0), context_frames=2, paces=(pace,))
            for pace in ("slow", "fast")
        },
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
        seen="rural",
        unseen="urban",
        worlds={
            place: Driving(size=32, context_frames=2, places=(place,), weathers=("day",))
            for place in ("rural", "urban")
        },
    ),
}
"""What generators of each world train on, and what stays unseen."""

FURTHER: dict[str, dict[str, DecodableWorld]] = {
    "driving": {"night": Driving(size=32, context_frames=2, places=("rural",), weathers=("night",))},
}
"""More domains that stay unseen. No cell of another domain depends on them, so they stand apart."""


def things_in(world: DecodableWorld) -> int:
    """How many things a world shows that can be lost one by one."""
    if isinstance(world, BouncingBalls):
        return world.balls
    return world.digits if isinstance(world, MovingDigits) else 1
