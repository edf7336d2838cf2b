"""Motion between cushioned walls, in closed form.

A body at `x` from the middle flies freely where `|x| <= h`; beyond, springs of angular frequency `ω` throw it
back. With `e = max(|x| - h, 0)`, the speed `s = sqrt(v² + ω² e²)` never changes, and the path is a triangle wave
with rounded tips: it flies to the right for `2h/s`, is on the right cushion for `π/ω`, and then does the same
mirrored. With `τ` the time since it left the left cushion,

    x = -h + sτ                     v = s              while τ < 2h/s
    x = h + (s/ω) sin(ωτ - 2ωh/s)   v = s cos(…)       for π/ω after that                   (1)

A hard wall would hide the velocity: two frames of a fast body that bounced between them may also show a slow one
that did not. Here the place `X(x, v)` one frame later grows with `v`, by at least `sin(ω)/ω > 0` and at most 1, so
two places tell the velocity, and

    v ← v + x' - X(x, v)                                                                    (2)

converges to the one that leads from `x` to `x'`, by a factor of `1 - sin(ω)/ω` a round.
"""

import jax
import jax.numpy as jnp
import numpy as np

from recycle_jax.typing import Scalar

# Radians a frame. A bounce takes 2.5 frames and gives way by 0.8 of what a body flies in a frame.
STIFFNESS = 1.25
_ROUNDS = 8


def give(speed: float) -> float:
    """Returns how far a cushion gives way to a body of some speed, pixels."""
    return speed / STIFFNESS


def lean(x: jax.Array, half: jax.Array) -> jax.Array:
    """Returns the velocity that is stored in the cushions: `ω e`, pixels per frame, at least 0."""
    return STIFFNESS * jnp.maximum(jnp.abs(x) - half, 0.0)


def glide(x: jax.Array, velocity: jax.Array, half: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Moves bodies by one frame (equation 1).

    Args:
        x: places, pixels from the middle; all arrays are float32 of one shape.
        velocity: pixels per frame.
        half: `h`, half the width of the free flight, pixels, above 0.

    Returns:
        The places and velocities one frame later.
    """
    # A body in the mirrored half of its loop is one that flies to the right in a mirror.
    left = jnp.where(jnp.abs(x) <= half, velocity < 0.0, x < 0.0)
    side = jnp.where(left, -1.0, 1.0)
    x, velocity = side * x, side * velocity
    leant = lean(x, half)
    speed = jnp.maximum(jnp.hypot(velocity, leant), 1e-6)
    flight = 2.0 * half / speed
    time = (jnp.minimum(x, half) + half) / speed + jnp.arctan2(leant, velocity) / STIFFNESS + 1.0
    loop = flight + np.pi / STIFFNESS
    turns = jnp.floor(time / loop)
    time = time - turns * loop
    angle = STIFFNESS * jnp.maximum(time - flight, 0.0)
    x = jnp.minimum(speed * time, 2.0 * half) - half + speed / STIFFNESS * jnp.sin(angle)
    side = jnp.where(jnp.mod(turns, 2.0) == 1.0, -side, side)
    return side * x, side * speed * jnp.cos(angle)


def launch(start: jax.Array, end: jax.Array, half: jax.Array) -> jax.Array:
    """Returns the velocities with which bodies get from `start` to `end` in one frame (equation 2)."""

    def closer(_: Scalar, velocity: jax.Array) -> jax.Array:
        return velocity + end - glide(start, velocity, half)[0]

    return jax.lax.fori_loop(0, _ROUNDS, closer, end - start)
