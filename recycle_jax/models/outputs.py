"""What a network's raw output stands for, as a function around a `Network`.

    mean_kept(network)      frames with the mean of the newest one: what is there only moves

It makes frames: in a flow it is for `data_head`, not for velocities. A network's last three inputs are context, level
and condition, those of a predictor and those of a flow.
"""

from typing import Any

from jax import Array

from recycle_jax.models.base import Network
from recycle_jax.typing import Params


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
