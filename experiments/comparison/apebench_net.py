"""The network that the suite calls `Conv;26;10;relu`, as one pure function and as a Flax module.

Periodic convolutions of kernel 3, a ReLU after each but the last:

    x <- relu(b + sum_s K_s x(. + s)),  s in {-1, 0, 1}^d

Shifted copies of the field are stacked on the channels and met by one matrix, channels first and rows of the batch
beside the points, which is twice as fast on a CPU core as a convolution of this width. Weights are laid out and drawn
as in pdequinox (`MorePaddingConv`): uniform within `1 / sqrt(inputs * 3^d)`, biases too.
"""

import itertools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from recycle_jax.generators.adapt import from_nnx
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, PyTree, Rows


def conv_net(kernels: Sequence[Array], biases: Sequence[Array], x: Array) -> Array:
    """The network on a batch.

    Args:
        kernels: of every layer, `[outputs, inputs, 3, ..., 3]`; at least three layers, all but two alike.
        biases: of every layer, `[outputs, 1, ..., 1]`.
        x: `[b, c, *points]` fields.

    Returns:
        `[b, c, *points]`.
    """

    @jax.checkpoint
    def hidden(x: Array, layer: tuple[Array, Array]) -> tuple[Array, None]:
        return jax.nn.relu(periodic_conv(*layer, x)), None

    # A loop that keeps only what goes in: unrolled, training through rollouts of five steps takes 1.6 times as long.
    x, _ = hidden(jnp.moveaxis(x, 1, 0), (kernels[0], biases[0]))
    x, _ = jax.lax.scan(hidden, x, (jnp.stack(kernels[1:-1]), jnp.stack(biases[1:-1])))
    return jnp.moveaxis(periodic_conv(kernels[-1], biases[-1], x), 0, 1)


def periodic_conv(kernel: Array, bias: Array, x: Array) -> Array:
    """One layer, `[inputs, b, *points]` to `[outputs, b, *points]`."""
    axes = range(2, x.ndim)
    shifts = itertools.product((1, 0, -1), repeat=len(axes))
    shifted = jnp.concatenate([jnp.roll(x, shift, axes) for shift in shifts])
    outputs = kernel.shape[0]
    matrix = jnp.moveaxis(kernel.reshape(*kernel.shape[:2], -1), 2, 1).reshape(outputs, -1)
    flat = matrix @ shifted.reshape(shifted.shape[0], -1) + bias.reshape(outputs, 1)
    return flat.reshape(outputs, *x.shape[1:])


class ConvNet(nnx.Module):
    """The network with its parameters, for fields of `dims` dimensions."""

    def __init__(self, *, width: int, depth: int, channels: int, dims: int, rngs: nnx.Rngs):
        sizes = [channels, *[width] * depth, channels]
        pairs = list(itertools.pairwise(sizes))
        self.kernels = nnx.List([_uniform(rngs, (o, i, *[3] * dims), i * 3**dims) for i, o in pairs])
        self.biases = nnx.List([_uniform(rngs, (o, *[1] * dims), i * 3**dims) for i, o in pairs])

    def __call__(self, x: Array) -> Array:
        return conv_net([k[...] for k in self.kernels], [b[...] for b in self.biases], x)


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], fan_in: int) -> nnx.Param[Array]:
    most = 1.0 / math.sqrt(fan_in)
    return nnx.Param(jax.random.uniform(rngs.params(), shape, minval=-most, maxval=most))


def frame_network(*, width: int, depth: int, channels: int, dims: int, scale: float, residual: bool = False) -> Network:
    """The network as a predictor's: the next frame from the last one.

    Args:
        width: hidden channels.
        depth: hidden layers.
        channels: of a field.
        dims: of space, 1 or 2; a one-dimensional field is a frame of height 1.
        scale: the network sees frames in field units, `scale` times what it is handed.
        residual: whether its output is the change from the last frame, or the next frame itself.
    """

    def call(net: ConvNet, context: Frames, level: Rows, condition: PyTree) -> Frames:
        del level, condition
        frame = scaled(net, scale, dims, context)
        return context[:, -1:] + frame if residual else frame

    def build(rngs: nnx.Rngs) -> ConvNet:
        return ConvNet(width=width, depth=depth, channels=channels, dims=dims, rngs=rngs)

    return from_nnx(build, call)


def scaled(net: ConvNet, scale: float, dims: int, context: Frames) -> Frames:
    """`[b, t, h, w, c]` to `[b, 1, h, w, c]`."""
    return to_frames(net(to_fields(context[:, -1:], dims)[:, 0] * scale)[:, None]) / scale


def to_frames(fields: Array) -> Frames:
    """Suite's `[b, t, c, *points]` to frames `[b, t, h, w, c]`, h = 1 in one dimension."""
    frames = jnp.moveaxis(fields, 2, -1)
    return frames[:, :, None] if frames.ndim == 4 else frames


def to_fields(frames: Frames, dims: int) -> Array:
    """The inverse of `to_frames`."""
    fields = jnp.moveaxis(frames, -1, 2)
    return fields[:, :, :, 0] if dims == 1 else fields
