"""What the six domains of driving look like: colours, light and air, and what stands beside the road.

Every colour is light in [0, 1] by day; night takes most of it away and adds headlamps and lamps, rain
greys and veils it. One table holds all domains, so that a domain is an index and never a branch.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from experiments.comparison.worlds.driving_spans import Array
from recycle_jax.typing import Scalar

PLACES = ("urban", "rural")
WEATHERS = ("day", "night", "rain")
DOMAINS = tuple(f"{place}-{weather}" for place in PLACES for weather in WEATHERS)
_ITEMS = 8


@struct.dataclass(kw_only=True)
class Things:
    """What stands beside the road: leaves `[2, items]`, left and right, of one domain.

    Attributes:
        inner: distance of the near side from the middle of the road.
        width: extent across.
        depth: extent along the road; 0 has no flank.
        foot: where a crown begins, in camera heights; 0 for a house.
        top: height.
        round: 0 a box, 1 an ellipse on a trunk.
        colour: `[2, items, 3]`.
    """

    inner: Array
    width: Array
    depth: Array
    foot: Array
    top: Array
    round: Array
    colour: Array


@struct.dataclass(kw_only=True)
class Look:
    """One domain: colours `[3]` or `[2, 3]`, the rest scalars.

    Attributes:
        sky: above and at the horizon.
        far: hills or roofs at the horizon.
        far_height: their mean height, in frame heights.
        far_waves: `[3, 3]`, wave number, phase and part of the waves of their outline.
        verge: the two colours of the bands beside the road.
        road: colour of the road.
        line: colour of the lines.
        kerb: 1 where edge lines are kerb stones by turns light and dark, 0 where they are painted.
        things: trees or houses.
        flank: brightness of a flank relative to the face.
        post: colour of the posts.
        post_height: their height, in camera heights.
        lamp: light of the lamps on the posts.
        car: colour of the car ahead.
        window: colour of its window.
        tail: light of its lamps.
        fog: colour of the air.
        haze: how much of it there is, per unit of depth.
        ambient: light on everything.
        beam: light of the headlamps.
        rain: light of the rain.
    """

    sky: Array
    far: Array
    far_height: Array
    far_waves: Array
    verge: Array
    road: Array
    line: Array
    kerb: Array
    things: Things
    flank: Array
    post: Array
    post_height: Array
    lamp: Array
    car: Array
    window: Array
    tail: Array
    fog: Array
    haze: Array
    ambient: Array
    beam: Array
    rain: Array


def look(scene: Scalar) -> Look:
    """Returns the look of a domain label."""
    return jax.tree.map(lambda *leaves: jnp.asarray(np.stack(leaves))[scene], *_LOOKS)


def _spread(count: int, step: float, low: float, high: float) -> np.ndarray:
    # Multiples of an irrational step: uneven, yet never two alike next to each other.
    values = np.mod((np.arange(2 * count) + 1) * step, 1.0)
    return (low + (high - low) * values).reshape(2, count).astype(np.float32)


def _houses() -> Things:
    grey = _spread(_ITEMS, 0.618, 0.42, 0.85)[..., None]
    warm = _spread(_ITEMS, 0.382 * 1.7, -0.10, 0.10)[..., None] * np.array((0.6, 0.1, -1.0))
    return Things(
        inner=_spread(_ITEMS, 0.7549, 2.1, 2.5),
        width=_spread(_ITEMS, 0.5698, 2.0, 3.5),
        depth=_spread(_ITEMS, 0.4142, 1.5, 2.6),
        foot=np.zeros((2, _ITEMS), np.float32),
        top=_spread(_ITEMS, 0.618 * 3.0, 3.0, 7.0),
        round=np.zeros((2, _ITEMS), np.float32),
        colour=np.clip(grey + warm, 0.0, 1.0).astype(np.float32),
    )


def _trees() -> Things:
    shade = _spread(_ITEMS, 0.618, 0.55, 1.15)[..., None]
    return Things(
        inner=_spread(_ITEMS, 0.7549, 2.0, 3.2),
        width=_spread(_ITEMS, 0.5698, 1.2, 2.4),
        depth=np.zeros((2, _ITEMS), np.float32),
        foot=_spread(_ITEMS, 0.4142, 0.5, 0.9),
        top=_spread(_ITEMS, 0.618 * 3.0, 1.9, 3.8),
        round=np.ones((2, _ITEMS), np.float32),
        colour=(shade * np.array((0.16, 0.36, 0.12))).astype(np.float32),
    )


_BY_PLACE: dict[str, dict[str, Any]] = {
    "urban": {
        "far": (0.45, 0.47, 0.55),
        "far_height": 0.07,
        "far_waves": ((9.0, 0.0, 0.35), (16.0, 1.0, 0.30), (29.0, 2.0, 0.25)),
        "verge": ((0.60, 0.58, 0.55), (0.47, 0.46, 0.45)),
        "road": (0.27, 0.27, 0.30),
        "line": (0.95, 0.95, 0.92),
        "kerb": 0.7,
        "things": _houses(),
        "flank": 0.6,
        "post": (0.25, 0.25, 0.25),
        "post_height": 2.6,
    },
    "rural": {
        "far": (0.33, 0.45, 0.42),
        "far_height": 0.06,
        "far_waves": ((2.3, 0.0, 0.5), (5.1, 1.0, 0.3), (9.7, 2.0, 0.2)),
        "verge": ((0.36, 0.58, 0.20), (0.50, 0.68, 0.26)),
        "road": (0.38, 0.37, 0.36),
        "line": (0.95, 0.95, 0.88),
        "kerb": 0.0,
        "things": _trees(),
        "flank": 1.0,
        "post": (0.92, 0.92, 0.90),
        "post_height": 0.6,
    },
}
_BY_WEATHER: dict[str, dict[str, Any]] = {
    "day": {
        "sky": ((0.30, 0.55, 0.92), (0.72, 0.85, 0.96)),
        "fog": (0.72, 0.82, 0.92),
        "haze": 0.012,
        "ambient": 1.0,
        "beam": 0.0,
        "rain": 0.0,
    },
    "night": {
        "sky": ((0.01, 0.02, 0.07), (0.07, 0.08, 0.17)),
        "fog": (0.03, 0.04, 0.08),
        "haze": 0.02,
        "ambient": 0.17,
        "beam": 0.85,
        "rain": 0.0,
    },
    "rain": {
        "sky": ((0.42, 0.45, 0.49), (0.60, 0.62, 0.65)),
        "fog": (0.58, 0.60, 0.63),
        "haze": 0.09,
        "ambient": 0.72,
        "beam": 0.0,
        "rain": 0.22,
    },
}
_CAR = {"car": (0.88, 0.10, 0.08), "window": (0.16, 0.20, 0.28)}


def _make(place: str, weather: str) -> Look:
    night, wet = weather == "night", weather == "rain"
    fields = _BY_PLACE[place] | _BY_WEATHER[weather] | _CAR
    fields["lamp"] = (0.95, 0.75, 0.40) if night and place == "urban" else (0.0, 0.0, 0.0)
    fields["tail"] = (1.0, 0.12, 0.08) if night else (0.98, 0.30, 0.20) if wet else (0.55, 0.02, 0.05)
    if night:
        fields["far"] = tuple(0.18 * part for part in fields["far"])
    if wet:
        fields["far"] = tuple(0.35 * part + 0.33 for part in fields["far"])
    things = fields.pop("things")
    return Look(things=things, **{name: np.asarray(value, np.float32) for name, value in fields.items()})


_LOOKS = [_make(place, weather) for place in PLACES for weather in WEATHERS]
