"""A small critic of windows: one number that says how real a piece of video looks.

All frames of a window are stacked on the channel axis, so that motion and the frames' order can be seen; each layer
halves the frame; the mean over what is left makes the number. There is no normalisation, through which a gradient
penalty would have to look.
"""

import jax
from flax import nnx
from jax import Array

from recycle_jax.models.base import Network, functional
from recycle_jax.models.conv import patchify
from recycle_jax.typing import Frames, Rows


class WindowCritic(nnx.Module):
    """`window -> score`, see the module docstring."""

    def __init__(self, *, channels: int, frames: int, widths: tuple[int, ...], rngs: nnx.Rngs):
        """Builds the network for windows of `frames` frames of `channels` channels."""
        sizes = (frames * channels, *widths)
        self.layers = nnx.List(
            [nnx.Conv(a, b, (3, 3), strides=2, rngs=rngs) for a, b in zip(sizes, widths, strict=False)]
        )
        self.head = nnx.Linear(widths[-1], 1, rngs=rngs)

    def __call__(self, window: Frames) -> Rows:
        """`[b, frames, h, w, channels]` float32 to `[b]`."""
        x: Array = patchify(window, 1)
        for layer in self.layers:
            x = jax.nn.leaky_relu(layer(x), 0.2)
        return self.head(x.mean(axis=(1, 2)))[:, 0]


def window_critic(*, channels: int, frames: int, widths: tuple[int, ...] = (32, 64)) -> Network:
    """A network for `experiments.comparison.baselines.adversarial`: `apply(params, window) -> score`.

    Args:
        channels: of a frame.
        frames: of a window: context, and what is generated after it.
        widths: channels of each layer.

    Raises:
        ValueError: if there is no layer.
    """
    if not widths:
        raise ValueError("widths is empty, but a critic needs at least one layer: give its channels, as in (32, 64)")
    return functional(lambda rngs: WindowCritic(channels=channels, frames=frames, widths=widths, rngs=rngs))
