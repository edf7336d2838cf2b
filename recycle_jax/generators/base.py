"""What every generator offers, whatever its network: a training loss on one example and one step of a rollout."""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from flax import struct
from jax import Array, ShapeDtypeStruct

from recycle_jax.batch import Batch
from recycle_jax.flow_matching import Target, paper_target
from recycle_jax.typing import ContextLevel, Frames, Params, PRNGKey, PyTree, RowKeys, Rows, Sigma


@struct.dataclass(kw_only=True)
class Levels:
    """How an example is corrupted before the network sees it.

    Attributes:
        sigma: `[b, t]` float32 in [0, 1], the noise level of each frame of the chunk.
        noise: `[b, t, h, w, c]` float32, standard normal; zeros for a deterministic generator.
    """

    sigma: Sigma
    noise: Frames


@struct.dataclass(kw_only=True)
class Example:
    """One batch of training examples, as a history policy makes it.

    Attributes:
        context: `[b, context, h, w, c]` history, clean or not.
        x0: `[b, t, h, w, c]` the clean chunk to be generated.
        x_injected: `[b, t, h, w, c]` the data end point after injection; `x0` where nothing is injected.
        noise_injected: `[b, t, h, w, c]` the noise end point after injection.
        sigma: `[b, t]` noise level of each frame.
        level: `[b]` in [0, 1], how noisy the network is told that its context is; `[b, context]` for networks that
            take one level for each of its frames.
        weight: `[b]` weight in the loss; the mean of `weight * loss` is minimised.
        condition: per-row pytree for the network, or None.
        target: which velocity is asked for under injection (static).
    """

    context: Frames
    x0: Frames
    x_injected: Frames
    noise_injected: Frames
    sigma: Sigma
    level: ContextLevel
    weight: Rows
    condition: PyTree = None
    target: Target = struct.field(pytree_node=False, default=paper_target)


@struct.dataclass(kw_only=True)
class Fit:
    """What a generator made of an example.

    Attributes:
        loss: `[b]` per-sample loss.
        prediction: `[b, t, h, w, c]` the clean chunk, as predicted in one step.
        residual: `[b, t, h, w, c]` prediction minus target in the network's own output space.
    """

    loss: Rows
    prediction: Frames
    residual: Frames


@runtime_checkable
class Generator(Protocol):
    """An autoregressive generator of video.

    Attributes:
        context_frames: frames of history that a step is conditioned on.
        chunk_frames: frames that a step produces.
        calls_per_step: network calls that a step makes.
    """

    @property
    def context_frames(self) -> int: ...

    @property
    def chunk_frames(self) -> int: ...

    @property
    def calls_per_step(self) -> int: ...

    def init(self, key: PRNGKey) -> Params:
        """Fresh parameters."""
        ...

    def corruption(self, keys: RowKeys, chunk: Frames) -> Levels:
        """Draws noise levels and noise for a chunk, each row from its own key."""
        ...

    def fit(self, params: Params, example: Example) -> Fit:
        """The training loss, differentiable in `params`."""
        ...

    def to_error(self, residual: Frames, sigma: Sigma) -> Frames:
        """Turns a residual into an error of the clean chunk (generated minus reference)."""
        ...

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Any:
        """Starts a rollout from `[b, context, h, w, c]`; what it returns is the carry of `step`."""
        ...

    def step(self, params: Params, carry: Any, keys: RowKeys, condition: PyTree) -> tuple[Any, Frames]:
        """Generates one chunk `[b, t, h, w, c]`."""
        ...


@runtime_checkable
class KeepsAnchors(Protocol):
    """A generator that keeps frames at the head of its context however long it rolls out: they are and stay real.

    Attributes:
        anchors: how many; fewer than `context_frames`.
    """

    @property
    def anchors(self) -> int: ...


@runtime_checkable
class SaysDeterministic(Protocol):
    """A generator that says whether what it makes follows from the history alone.

    Attributes:
        is_deterministic: True, False, or None where a wrapper cannot tell.
    """

    @property
    def is_deterministic(self) -> bool | None: ...


def said_deterministic(generator: Generator) -> bool | None:
    """What the generator says of itself, None where it says nothing."""
    return generator.is_deterministic if isinstance(generator, SaysDeterministic) else None


def anchors_of(generator: Generator) -> int:
    """How many frames at the head of the generator's context stay; 0 for most."""
    return generator.anchors if isinstance(generator, KeepsAnchors) else 0


def require_same_frames(context: Frames | ShapeDtypeStruct, chunk: Frames) -> None:
    """Raises ValueError where a generator makes frames of another size than those that it is given."""
    if chunk.shape[2:] != context.shape[2:]:
        raise ValueError(
            f"the context has frames of {context.shape[2:]} (height, width, channels), but the generator makes "
            f"{chunk.shape[2:]}: resize the context, or build the network for its size"
        )


def slide(context: Frames, chunk: Frames) -> Frames:
    """Drops the oldest frames of a context and appends a chunk; the context keeps its dtype, as a carry must.

    Raises:
        ValueError: if the frames differ in size.
    """
    require_same_frames(context, chunk)
    return jnp.concatenate([context, chunk.astype(context.dtype)], axis=1)[:, -context.shape[1] :]


def split_clip(clip: Frames, context_frames: int, chunk_frames: int) -> tuple[Frames, Frames]:
    """Cuts a clip into its first context and the chunk that follows.

    Raises:
        ValueError: if the clip is too short.
    """
    need = context_frames + chunk_frames
    if clip.shape[1] < need:
        raise ValueError(
            f"clips of {clip.shape[1]} frames are shorter than context_frames + chunk_frames = "
            f"{context_frames} + {chunk_frames} = {need}: draw longer clips or shorten the context"
        )
    return clip[:, :context_frames], clip[:, context_frames:need]


def require_same_shape(name: str, made: Array, other: str, like: Array, remedy: str) -> None:
    """Raises ValueError where two arrays differ in shape: a chunk of one frame would broadcast against longer ones."""
    if made.shape != like.shape:
        raise ValueError(
            f"{name} has shape {made.shape}, but {other} {like.shape} (rows, frames, height, width, channels), where "
            f"both must be the same: {remedy}"
        )


def clean_example(generator: Generator, batch: Batch, keys: RowKeys, **changes: Any) -> Example:
    """The teacher-forced example of a batch; `changes` replace fields (`context=...`, `level=...`)."""
    context, x0 = split_clip(batch.clip, generator.context_frames, generator.chunk_frames)
    x0 = changes.get("x0", x0)
    levels = generator.corruption(keys, x0)
    ones = jnp.ones(x0.shape[0], jnp.float32)
    fields: dict[str, Any] = {
        "context": context,
        "x0": x0,
        "x_injected": x0,
        "noise_injected": levels.noise,
        "sigma": levels.sigma,
        "level": jnp.zeros_like(ones),
        "weight": ones,
        "condition": batch.condition,
    }
    return Example(**{**fields, **changes})


def mean_square(x: Array) -> Rows:
    """Mean of squares of each row: `[b, ...]` to `[b]`."""
    return jnp.mean(jnp.square(x), axis=tuple(range(1, x.ndim)))
