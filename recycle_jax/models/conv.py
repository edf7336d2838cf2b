"""A small conditional U-Net on patches: one family for predictors, flows and denoisers.

Frames are cut into `patch x patch` tiles whose pixels become channels, all frames of the input are stacked on
the channel axis, and a U-Net of `levels` resolutions runs on that grid. Scalars (network time, the level of
noise put on the context, a condition vector) enter every block as scale and shift (FiLM, arXiv 1709.07871).
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from recycle_jax.models.base import Network, functional, remembers_source
from recycle_jax.typing import ContextLevel, Frames, Params

EMBEDDING = 32


def patchify(frames: Frames, patch: int) -> Array:
    """`[b, t, h, w, c]` to `[b, h/patch, w/patch, t * patch * patch * c]`."""
    b, t, h, w, c = frames.shape
    tiles = frames.reshape(b, t, h // patch, patch, w // patch, patch, c)
    return tiles.transpose(0, 2, 4, 1, 3, 5, 6).reshape(b, h // patch, w // patch, t * patch * patch * c)


def unpatchify(grid: Array, patch: int, frames: int) -> Frames:
    """The inverse of `patchify`."""
    b, gh, gw, d = grid.shape
    c = d // (frames * patch * patch)
    tiles = grid.reshape(b, gh, gw, frames, patch, patch, c)
    return tiles.transpose(0, 3, 1, 4, 2, 5, 6).reshape(b, frames, gh * patch, gw * patch, c)


def sinusoid(value: Array, width: int = EMBEDDING) -> Array:
    """`[b]` in [0, 1000] to `[b, width]` sines and cosines (arXiv 1706.03762, section 3.5)."""
    half = width // 2
    rates = jnp.exp(-jnp.log(10_000.0) * jnp.arange(half, dtype=jnp.float32) / half)
    angle = value[:, None] * rates[None, :]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1)


class Block(nnx.Module):
    """Two normalised 3x3 convolutions with FiLM between them and a residual connection."""

    def __init__(self, inputs: int, outputs: int, scalars: int, rngs: nnx.Rngs):
        self.norm_in = nnx.GroupNorm(inputs, num_groups=None, group_size=8, rngs=rngs)
        self.conv_in = nnx.Conv(inputs, outputs, (3, 3), rngs=rngs)
        self.film = nnx.Linear(scalars, 2 * outputs, kernel_init=nnx.initializers.zeros, rngs=rngs)
        self.norm_out = nnx.GroupNorm(outputs, num_groups=None, group_size=8, rngs=rngs)
        self.conv_out = nnx.Conv(outputs, outputs, (3, 3), rngs=rngs)
        self.skip = nnx.Linear(inputs, outputs, use_bias=False, rngs=rngs) if inputs != outputs else None

    def __call__(self, x: Array, scalars: Array) -> Array:
        scale, shift = jnp.split(self.film(scalars)[:, None, None, :], 2, axis=-1)
        hidden = self.norm_out(self.conv_in(jax.nn.silu(self.norm_in(x))))
        hidden = self.conv_out(jax.nn.silu(hidden * (1.0 + scale) + shift))
        return hidden + (x if self.skip is None else self.skip(x))


class ConvUNet(nnx.Module):
    """`(frames, scalars) -> frames`, see `__call__`."""

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        frames_in: int,
        frames_out: int,
        scalars: int,
        patch: int = 4,
        width: int = 48,
        levels: int = 2,
        blocks: int = 1,
        bounded: bool,
        rngs: nnx.Rngs,
    ):
        """Builds the network.

        Args:
            shape: `(height, width, channels)` of a frame.
            frames_in: frames stacked at the input.
            frames_out: frames predicted.
            scalars: how many scalars each call is told (time, context level, condition entries).
            patch: side of the tiles.
            width: channels of the finest level (doubled at every coarser one), a multiple of 8.
            levels: resolutions.
            blocks: residual blocks a level, on the way down and again on the way up.
            bounded: whether the output passes `bound`, right for frames and wrong for velocities.
            rngs: keys of the initialisation.

        Raises:
            ValueError: if the frame cannot be cut and halved, or `width` is no multiple of 8.
        """
        check_size(shape, patch, levels, width)
        channels = shape[2]
        self.patch, self.frames_out, self.bounded = patch, frames_out, bounded
        self.inputs, self.channels = frames_in, channels
        embedded = scalars * EMBEDDING
        self.mlp = nnx.Linear(embedded, 2 * width, rngs=rngs)
        self.stem = nnx.Conv(frames_in * patch * patch * channels, width, (3, 3), rngs=rngs)
        widths = [width * 2**i for i in range(levels)]
        self.down = nnx.List([nnx.List([Block(w, w, 2 * width, rngs) for _ in range(blocks)]) for w in widths])
        self.shrink = nnx.List(
            [nnx.Conv(a, b, (2, 2), strides=2, rngs=rngs) for a, b in zip(widths, widths[1:], strict=False)]
        )
        self.grow = nnx.List([nnx.Linear(b, 4 * a, rngs=rngs) for a, b in zip(widths, widths[1:], strict=False)])
        self.up = nnx.List(
            [nnx.List([Block(2 * w if i == 0 else w, w, 2 * width, rngs) for i in range(blocks)]) for w in widths[:-1]]
        )
        self.norm = nnx.GroupNorm(width, num_groups=None, group_size=8, rngs=rngs)
        self.head = nnx.Linear(width, frames_out * patch * patch * channels, rngs=rngs)

    def __call__(self, frames: Frames, scalars: Array) -> Frames:
        """Runs the network.

        Args:
            frames: `[b, frames_in, h, w, c]` float32.
            scalars: `[b, scalars]` float32 in [0, 1].

        Returns:
            `[b, frames_out, h, w, c]` float32, in [-1, 1] where bounded.

        Raises:
            ValueError: if the frames are not as many, of as many channels, or cannot be cut and halved.
        """
        if (frames.shape[1], frames.shape[4]) != (self.inputs, self.channels):
            raise ValueError(
                f"{frames.shape[1]} frames of {frames.shape[4]} channels go in, but the network was built for "
                f"{self.inputs} of {self.channels}: build it for these, or change the clips or context_frames"
            )
        check_size((frames.shape[2], frames.shape[3], self.channels), self.patch, len(self.down))
        b = frames.shape[0]
        embedded = jax.nn.silu(self.mlp(sinusoid(scalars.reshape(-1) * 1000.0).reshape(b, -1)))
        x = self.stem(patchify(frames, self.patch))
        skips = []
        for i, stage in enumerate(self.down):
            for block in stage:
                x = block(x, embedded)
            if i < len(self.shrink):
                skips.append(x)
                x = self.shrink[i](x)
        for i in reversed(range(len(self.up))):
            x = jnp.concatenate([skips[i], unpatchify(self.grow[i](x), 2, 1)[:, 0]], axis=-1)
            for block in self.up[i]:
                x = block(x, embedded)
        out = unpatchify(self.head(jax.nn.silu(self.norm(x))), self.patch, self.frames_out)
        return bound(out) if self.bounded else out


def bound(x: Array) -> Array:
    """Squashes to [-1, 1] and reaches both ends, so that a black ground can be black: `clip(1.1 tanh(x))`.

    The gradient vanishes outside, where any target in [-1, 1] is met exactly or from the inside.
    """
    return jnp.clip(1.1 * jnp.tanh(x), -1.0, 1.0)


def check_size(shape: tuple[int, int, int], patch: int, levels: int, width: int = 8) -> None:
    """Raises ValueError where a frame of `shape` cannot be cut into tiles and halved `levels - 1` times."""
    factor = patch * 2 ** (levels - 1)
    for name, side in (("height", shape[0]), ("width", shape[1])):
        if side % factor:
            near = max(factor, round(side / factor) * factor)
            raise ValueError(
                f"frame {name} {side} is not divisible by patch * 2**(levels - 1) = {factor}: "
                f"resize the video to {near}, or use a smaller patch or fewer levels"
            )
    if width % 8:
        raise ValueError(f"width is {width}, must be a multiple of 8: use {max(8, round(width / 8) * 8)}")


def told_levels(level: ContextLevel, context_frames: int, frame_levels: bool) -> Array:
    """What a network is told of its context's noise: `[b, 1]`, with `frame_levels` `[b, context_frames]`.

    Raises:
        ValueError: if levels of single frames come to a network that takes one for all, or are not as many as frames.
    """
    if level.ndim == 1:
        return jnp.broadcast_to(level[:, None], (level.shape[0], context_frames if frame_levels else 1))
    if not frame_levels:
        raise ValueError(
            f"level is {list(level.shape)}, one for each context frame, but this network is told one for the whole "
            f"context: build it with frame_levels=True"
        )
    if level.shape[1] != context_frames:
        raise ValueError(
            f"level is {list(level.shape)}, but the context has {context_frames} frames: give one level a frame, or "
            f"one a row"
        )
    return level


def stacked_scalars(levels: Array, condition: Array | None, *more: Array) -> Array:
    """Puts `[b, n]` levels, `[b]` scalars and a `[b, d]` condition side by side: `[b, n + d + len(more)]`."""
    columns = [levels, *[m[:, None] for m in more]]
    return jnp.concatenate(columns if condition is None else [*columns, condition], axis=1)


@remembers_source
def frame_unet(
    *,
    shape: tuple[int, int, int],
    context_frames: int,
    chunk_frames: int,
    condition_width: int = 0,
    patch: int = 4,
    width: int = 48,
    levels: int = 2,
    blocks: int = 1,
    bounded: bool = True,
    frame_levels: bool = False,
) -> Network:
    """A network for `Predictor`: `apply(params, context, level, condition) -> frames`, bounded to [-1, 1].

    `level` is `[b]`; with `frame_levels` the network takes a level for each context frame, `[b, context_frames]`, and
    a `[b]` one holds for all of them.
    """

    def build(rngs: nnx.Rngs) -> ConvUNet:
        return ConvUNet(
            shape=shape,
            frames_in=context_frames,
            frames_out=chunk_frames,
            scalars=(context_frames if frame_levels else 1) + condition_width,
            patch=patch,
            width=width,
            levels=levels,
            blocks=blocks,
            bounded=bounded,
            rngs=rngs,
        )

    network = functional(build)

    def apply(params: Params, context: Frames, level: ContextLevel, condition: Array | None) -> Frames:
        told = told_levels(level, context_frames, frame_levels)
        return network.apply(params, context, stacked_scalars(told, condition))

    return Network(init=network.init, apply=apply)


@remembers_source
def velocity_unet(
    *,
    shape: tuple[int, int, int],
    context_frames: int,
    chunk_frames: int,
    condition_width: int = 0,
    patch: int = 4,
    width: int = 48,
    levels: int = 2,
    blocks: int = 1,
    bounded: bool = True,
    frame_levels: bool = False,
) -> Network:
    """A network for `RectifiedFlow`: `apply(params, noisy, sigma, context, level, condition) -> frames`.

    `bounded` suits the data head (`generators.rectified_flow.data_head`), whose output is a clean frame; the
    velocity head needs an unbounded one. `level` and `frame_levels` are as in `frame_unet`.
    """

    def build(rngs: nnx.Rngs) -> ConvUNet:
        return ConvUNet(
            shape=shape,
            frames_in=context_frames + chunk_frames,
            frames_out=chunk_frames,
            scalars=(context_frames if frame_levels else 1) + 1 + condition_width,
            patch=patch,
            width=width,
            levels=levels,
            blocks=blocks,
            bounded=bounded,
            rngs=rngs,
        )

    network = functional(build)

    def apply(
        params: Params, noisy: Frames, sigma: Array, context: Frames, level: ContextLevel, condition: Array | None
    ) -> Frames:
        frames = jnp.concatenate([context, noisy], axis=1)
        told = told_levels(level, context_frames, frame_levels)
        return network.apply(params, frames, stacked_scalars(told, condition, sigma.mean(axis=1)))

    return Network(init=network.init, apply=apply)
