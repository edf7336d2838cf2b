"""What a network's raw output stands for, as functions around a `Network`: they compose.

    clipped(residual(frame_unet(..., bounded=False)))     newest frame plus a change, kept in [-1, 1]
    mean_kept(residual(...))                              a change that adds up to nothing: what is there only moves
    sigmoid(frame_unet(..., bounded=False))               bounded, reaching neither end

`models.conv` has `bounded` besides, which reaches both ends. All of them make frames: in a flow they are for
`data_head`, not for velocities. A network's last three inputs are context, level and condition, those of a predictor
and those of a flow.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from recycle_jax.models.base import Network
from recycle_jax.typing import Params


def residual(network: Network) -> Network:
    """Every frame of the chunk is the newest frame of the context plus the network's output."""

    def apply(params: Params, *inputs: Any) -> Array:
        context = inputs[-3]
        return context[:, -1:] + network.apply(params, *inputs)

    return Network(init=network.init, apply=apply)


def mean_kept(network: Network) -> Network:
    """Every frame of the chunk has the mean over space of the newest frame of the context, channel by channel.

    For data whose mean is conserved. An error of the mean is neutral: nothing in a history says that there is one, so
    that no training on own mistakes can teach a network to take it back, and a step's bias is added up for ever.
    """

    def apply(params: Params, *inputs: Any) -> Array:
        frames, newest = network.apply(params, *inputs), inputs[-3][:, -1:]
        space = (-3, -2)
        return frames + (newest.mean(space, keepdims=True) - frames.mean(space, keepdims=True))

    return Network(init=network.init, apply=apply)


def clipped(network: Network) -> Network:
    """The output clipped to [-1, 1]: exact inside, without gradient outside."""

    def apply(params: Params, *inputs: Any) -> Array:
        return jnp.clip(network.apply(params, *inputs), -1.0, 1.0)

    return Network(init=network.init, apply=apply)


def sigmoid(network: Network) -> Network:
    """The output through a logistic function stretched onto (-1, 1)."""

    def apply(params: Params, *inputs: Any) -> Array:
        return 2.0 * jax.nn.sigmoid(network.apply(params, *inputs)) - 1.0

    return Network(init=network.init, apply=apply)
