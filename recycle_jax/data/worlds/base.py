"""What a simulated world is, and what follows from it for any world.

A world is a frozen dataclass of constants with pure, unbatched methods; `jax.vmap` makes the batch. Write
the state, `initial`, `advance` and `render` (and `decode`, if the world can read its own frames), take
the rest from `WorldDefaults`, and everything below works: clips, continuations, projections and the
oracle.

With `s` the state, `R` = render, `A` = advance and `D` = decode,

    clip                R(s_0), R(A s_0), R(A² s_0), …                                     (1)
    continuation of s   R(A s), R(A² s), …                                                 (2)
    projection          P = R ∘ D       the valid frame nearest to what a window shows     (3)
    oracle              R ∘ A ∘ D       one step of the best generator with that context   (4)

The oracle rolled out on its own frames is a world's ceiling: what no generator with the same context beats.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from recycle_jax.typing import Clip, Frame, PRNGKey, Scalar

State = Any


@runtime_checkable
class World(Protocol):
    """Simulated video of known state, one frame at a time.

    Attributes:
        shape: `(height, width, channels)` of a frame.
        context_frames: frames from which the state, velocities included, can be read.
        domains: names of the domain labels, in label order.
        deterministic: whether `advance` ignores its key, so that the next frame follows from the context.
    """

    def __hash__(self) -> int: ...

    @property
    def shape(self) -> tuple[int, int, int]: ...

    @property
    def context_frames(self) -> int: ...

    @property
    def domains(self) -> tuple[str, ...]: ...

    @property
    def deterministic(self) -> bool: ...

    def initial(self, key: PRNGKey) -> State:
        """Returns a random state: a pytree of arrays."""
        ...

    def advance(self, state: State, key: PRNGKey) -> State:
        """Returns the state one frame later."""
        ...

    def render(self, state: State) -> Frame:
        """Returns the `[h, w, c]` float32 frame of a state, in [-1, 1]."""
        ...

    def domain(self, state: State) -> Scalar:
        """Returns the int32 domain label of a state."""
        ...


@runtime_checkable
class DecodableWorld(World, Protocol):
    """A world that can read a state back from frames."""

    def decode(self, frames: Clip) -> tuple[State, Scalar]:
        """Reads the state at the last frame of a window, velocities included.

        Args:
            frames: `[context_frames, h, w, c]`, anything at all: garbage decodes to some valid state.

        Returns:
            The state and a confidence in [0, 1]: how much of what the window shows that state explains.
        """
        ...


@runtime_checkable
class IdentifyingWorld(DecodableWorld, Protocol):
    """A decodable world of things of several kinds, which must not turn into each other."""

    def identity(self, state: State) -> Int[Array, " n"]:
        """Returns the kind of each thing that a state shows, int32."""
        ...


def identify(world: IdentifyingWorld, frames: Clip) -> Int[Array, " n"]:
    """Reads the kinds of what a window's newest frame shows, int32 `[n]`."""
    return world.identity(world.decode(frames)[0])


class WorldDefaults:
    """The attributes of a plain world: deterministic, of one domain, read from four frames."""

    context_frames: int = 4
    domains: tuple[str, ...] = ("all",)

    @property
    def deterministic(self) -> bool:
        """Whether `advance` ignores its key; a stochastic world overrides this."""
        return True

    def domain(self, state: State) -> Scalar:
        """Returns 0: there is one domain."""
        del state
        return jnp.int32(0)


def pixel_grid(height: int, width: int) -> tuple[jax.Array, jax.Array]:
    """Returns `y` and `x` of the pixel centres: float32 `[height, width]`, pixels from the top left."""
    y = jnp.arange(height, dtype=jnp.float32) + 0.5
    x = jnp.arange(width, dtype=jnp.float32) + 0.5
    return jnp.broadcast_to(y[:, None], (height, width)), jnp.broadcast_to(x[None], (height, width))


def simulate(world: World, state: State, key: PRNGKey, frames: int) -> tuple[State, Clip]:
    """Runs a world from a state on (equation 1).

    Args:
        world: the world.
        state: the state of the first frame.
        key: randomness of the steps; unused by a deterministic world.
        frames: number of frames, the first included.

    Returns:
        The states, stacked on a leading axis of `frames`, and the clip `[frames, h, w, c]`.
    """

    def step(state: State, key: PRNGKey) -> tuple[State, State]:
        return world.advance(state, key), state

    # Rendering outside the scan lets all frames be drawn as one vectorised program.
    _, states = jax.lax.scan(step, state, jax.random.split(key, frames))
    return states, jax.vmap(world.render)(states)


def continue_from(world: World, state: State, key: PRNGKey, frames: int) -> Clip:
    """Returns the `frames` frames that follow a state, its own frame not included (equation 2)."""
    first, rest = jax.random.split(key)
    return simulate(world, world.advance(state, first), rest, frames)[1]


def project(world: DecodableWorld, frames: Clip) -> Frame:
    """Returns the valid frame nearest to the last of a `[context_frames, h, w, c]` window (equation 3)."""
    return world.render(world.decode(frames)[0])


def oracle_step(world: DecodableWorld, context: Clip, key: PRNGKey) -> Frame:
    """Returns the frame after a `[context_frames, h, w, c]` window: decoded, run on, drawn (equation 4)."""
    return world.render(world.advance(world.decode(context)[0], key))


def oracle_rollout(world: DecodableWorld, context: Float[jax.Array, "k h w c"], key: PRNGKey, frames: int) -> Clip:
    """Rolls the oracle out on its own frames: the world's ceiling.

    Returns:
        `[frames, h, w, c]`, the frames after the context; nothing is carried but the last
        `context_frames` frames.
    """

    def step(context: Clip, key: PRNGKey) -> tuple[Clip, Frame]:
        frame = oracle_step(world, context, key)
        return jnp.concatenate([context[1:], frame[None]]), frame

    return jax.lax.scan(step, context, jax.random.split(key, frames))[1]
