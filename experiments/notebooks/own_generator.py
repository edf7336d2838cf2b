# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Recycle your own generator
#
# Your network in Flax NNX, your clips as arrays, and a condition. Replace the cells with your own code one by one.

# %%
import sys

if "google.colab" in sys.modules:  # elsewhere the library is installed already
    # %pip install --quiet "recycle_jax[judge]"
    pass

# %% [markdown]
# Sizes. Lower them to look around quickly.

# %% tags=["parameters"]
updates, recycling_updates, batch_size, width = 1000, 1700, 32, 64
frames = 256

# %% [markdown]
# ## Clips with a condition
#
# A list of arrays `[t, h, w, c]`, uint8 or floats in [-1, 1], is enough for clips without a condition. With one, write
# a source: `batch` returns clips and one condition a clip. Here stripes drift to the left or to the right, and the
# direction is the condition.

# %%
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

import recycle_jax as rj


@dataclasses.dataclass(frozen=True)
class Stripes:
    """Stripes that drift; the same clips for the same step."""

    seed: int = 0
    shape: tuple[int, int, int] = (16, 16, 1)
    domains: tuple[str, ...] = ("left", "right")
    deterministic: bool = True

    def batch(self, step, rows, frames):
        """`rows` clips of `frames` frames."""
        rng = np.random.default_rng([self.seed, step])
        direction = np.arange(rows) % 2
        speed = rng.uniform(0.1, 0.3, rows) * (2 * direction - 1)
        phase = rng.uniform(0, 2 * np.pi, rows)[:, None] + speed[:, None] * np.arange(frames)
        line = np.sin(phase[:, :, None] + 2 * np.pi * np.arange(16) / 16)
        clip = np.broadcast_to(line[:, :, None, :, None], (rows, frames, 16, 16, 1))
        condition = jax.nn.one_hot(jnp.asarray(direction), 2)
        return rj.Batch(clip=jnp.asarray(clip, jnp.float32), domain=jnp.asarray(direction), condition=condition)


clips, held_out = Stripes(), Stripes(seed=1)

# %% [markdown]
# ## The network
#
# It lies in a file, because a saved generator remembers where to import its network from. It gets the context
# `[b, 2, h, w, c]` and the condition, and returns the next frame.

# %%
# %%writefile my_network.py
import jax
import jax.numpy as jnp
from flax import nnx


class NextFrame(nnx.Module):
    """Two convolutions, scaled and shifted by the condition."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.first = nnx.Conv(2, width, (5, 5), padding="CIRCULAR", rngs=rngs)
        self.told = nnx.Linear(2, 2 * width, rngs=rngs)
        self.last = nnx.Conv(width, 1, (5, 5), padding="CIRCULAR", rngs=rngs)

    def __call__(self, context, condition):
        stacked = jnp.moveaxis(context[..., 0], 1, -1)
        scale, shift = jnp.split(self.told(condition)[:, None, None, :], 2, axis=-1)
        hidden = jax.nn.gelu(self.first(stacked) * (1.0 + scale) + shift)
        return jnp.tanh(self.last(hidden))[:, None]


# %%
from my_network import NextFrame

generator = rj.Predictor(network=rj.generators.from_nnx(NextFrame, width=width), context_frames=2)

# %% [markdown]
# ## Train and recycle
#
# If you have parameters already, leave `rj.train` out, pass yours to `rj.recycle`, and give it the learning rate at
# which their training ended.

# %%
params = rj.train(generator, clips, updates=updates, batch_size=batch_size)
result = rj.recycle(generator, params, clips, updates=recycling_updates, batch_size=batch_size)
result

# %% [markdown]
# The share of generated histories that the reference accepted. Near zero means that the bank stays empty; see the page
# of symptoms in the documentation.

# %%
result.log[-1]

# %% [markdown]
# ## Roll out, save, load

# %%
real = held_out.batch(0, 4, 2)
video = rj.rollout(result.generator, result.params, real.clip, frames=frames, condition=real.condition)
print("mean square of the last frame, 0.5 for a stripe that is still there:", float(jnp.mean(video[:, -1] ** 2)))

rj.save(result.generator, result.params, "my_generator")
generator, params = rj.load("my_generator")
