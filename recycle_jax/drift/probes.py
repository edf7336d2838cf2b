"""What a generator does with errors that are not its own, and how different its rollouts are.

With `x_n` the frames rolled out from a real context, `x~_n` those from the same context with a foreign error `d` on it
and the same randomness, and MSE the mean square over pixels and channels,

    response(n)  = MSE(x~_n - x_n) / MSE(d)                                                         (1)
    diversity(n) = mean over starts of Var over draws of x_n  /  Var over starts and draws of x_n    (2)

A response below 1 means that the error dies out, above 1 that it grows; 0 would be a generator that ignores its
history, so read it beside the horizon. Diversity is 0 for a deterministic generator and reaches 1 where rollouts of one
start are as unlike each other as those of different ones: a flow of a deterministic world should stay near 0.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from recycle_jax.generators.base import Generator
from recycle_jax.rollout.scan import rollout
from recycle_jax.sharding import fetch
from recycle_jax.typing import Frames, Params, PRNGKey, Scalar

Foreign = Callable[[Frames, PRNGKey], Frames]
"""From real frames `[b, t, h, w, c]` to the same frames with an error."""


def white(frames: Frames, key: PRNGKey) -> Frames:
    """White noise of standard deviation .1."""
    return frames + 0.1 * jax.random.normal(key, frames.shape, frames.dtype)


def blurred(frames: Frames, key: PRNGKey) -> Frames:
    """Every pixel the mean of itself and its four neighbours."""
    del key
    padded = jnp.pad(frames, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    across = padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    down = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]
    return (frames + across + down) / 5.0


def tinted(frames: Frames, key: PRNGKey) -> Frames:
    """The first channel brighter by .1."""
    del key
    lift = jnp.zeros(frames.shape[-1], frames.dtype).at[0].set(0.1)
    return frames + lift[None, None, None, None, :]


FOREIGN: Mapping[str, Foreign] = {"noise": white, "blur": blurred, "colour": tinted}
"""The foreign errors that are always tried."""


def response(
    generator: Generator,
    params: Params,
    context: Frames,
    foreign: Foreign,
    key: PRNGKey,
    frames: tuple[int, ...],
    *,
    mesh: Mesh | None = None,
) -> Frames:
    """Equation (1) at the given frames, counted from 1, `[len(frames)]`, averaged over the rows of `context`."""
    of_error, of_rollout = jax.random.split(key)
    seen = context[:, -generator.context_frames :]
    return response_between(generator, params, seen, foreign(seen, of_error), of_rollout, frames, mesh=mesh)


def response_between(
    generator: Generator,
    params: Params,
    seen: Frames,
    wrong: Frames,
    key: PRNGKey,
    frames: tuple[int, ...],
    *,
    mesh: Mesh | None = None,
) -> Frames:
    """Equation (1) for two contexts `[b, context, h, w, c]`, real and with an error, where the error is at hand."""
    steps = _whole(generator, max(frames))
    after = [_rolled(generator, params, start, key, steps, mesh) for start in (wrong, seen)]
    apart = after[0] - after[1]
    size = jnp.mean(jnp.square(_here(wrong, mesh) - _here(seen, mesh)))
    return jnp.stack([jnp.mean(jnp.square(apart[:, n - 1])) / jnp.maximum(size, 1e-12) for n in frames])


def rolled_over(
    generator: Generator, params: Params, clip: Frames, age: int, key: PRNGKey, *, mesh: Mesh | None = None
) -> Frames:
    """A clip whose last frames are a generator's own: with the errors of another model than the one that is probed.

    Args:
        generator: who makes them.
        params: its parameters.
        clip: `[b, t, h, w, c]` real, with at least `generator.context_frames + age` frames.
        age: how many frames are made.
        key: of the rollout.
        mesh: the devices that share the rows, as in `rollout.scan.rollout`.

    Returns:
        `[b, t, h, w, c]`.

    Raises:
        ValueError: if the clip is too short.
    """
    need = generator.context_frames + age
    if clip.shape[1] < need:
        raise ValueError(
            f"clips of {clip.shape[1]} frames are shorter than context_frames + age = {generator.context_frames} + "
            f"{age} = {need}: draw longer clips or make fewer frames"
        )
    real = clip[:, :-age]
    made = _rolled(generator, params, real, key, _whole(generator, age), mesh)[:, :age]
    return jnp.concatenate([_here(real, mesh), made], axis=1)


def diversity(
    generator: Generator,
    params: Params,
    context: Frames,
    key: PRNGKey,
    draws: int = 8,
    frame: int = 64,
    *,
    mesh: Mesh | None = None,
) -> Scalar:
    """Equation (2) at one frame, from every start in `context` (at least two) and as many draws of each."""
    starts = context.shape[0]
    seen = jnp.repeat(context[:, -generator.context_frames :], draws, axis=0)
    last = _rolled(generator, params, seen, key, _whole(generator, frame), mesh)[:, frame - 1]
    grouped = last.reshape(starts, draws, -1)
    return jnp.mean(jnp.var(grouped, axis=1)) / jnp.maximum(jnp.mean(jnp.var(last, axis=0)), 1e-12)


def _rolled(
    generator: Generator, params: Params, context: Frames, key: PRNGKey, frames: int, mesh: Mesh | None
) -> Frames:
    return _here(rollout(generator, params, context, key, frames, mesh=mesh), mesh)


def _here(frames: Frames, mesh: Mesh | None) -> Frames:
    """Frames on the default device, where a mesh was used to make them: what follows is little work."""
    return frames if mesh is None else jnp.asarray(fetch(frames))


def _whole(generator: Generator, frames: int) -> int:
    """As many frames as whole chunks make."""
    return -(-frames // generator.chunk_frames) * generator.chunk_frames
