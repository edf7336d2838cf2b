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
# # Stop a video generator from drifting
#
# A small generator is trained on real history, runs on its own output and drifts. Then it is trained on its own errors
# (*error recycling*), and lasts. The whole notebook takes some minutes on two CPU cores and less on an accelerator.

# %%
import sys

if "google.colab" in sys.modules:  # elsewhere the library is installed already
    # %pip install --quiet "recycle_jax[judge]"
    pass

# %% [markdown]
# Sizes. Lower them to look around quickly.

# %% tags=["parameters"]
size, updates, recycling_updates, batch_size = 16, 2000, 3400, 32
frames, rollouts = 512, 64

# %% [markdown]
# ## Clips
#
# A bouncing ball, simulated. Any `rj.data` source or a list of arrays `[t, h, w, c]` would do.

# %%
import matplotlib.pyplot as plt
import numpy as np

import recycle_jax as rj

clips = rj.data.WorldClips(world=rj.data.BouncingBalls(size=size))
held_out = rj.data.WorldClips(world=rj.data.BouncingBalls(size=size), seed=1)


def show(rows, step):
    """Every `step`-th frame of some videos, one a row."""
    figure, axes = plt.subplots(len(rows), 8, figsize=(12, 1.6 * len(rows)), squeeze=False)
    for (title, video), line in zip(rows.items(), axes, strict=True):
        line[0].set_title(title, loc="left")
        for i, axis in enumerate(line):
            axis.imshow(np.clip((np.asarray(video[min(i * step, len(video) - 1)]) + 1) / 2, 0, 1))
            axis.axis("off")
    plt.show()


show({"real": held_out.batch(0, 1, 32).clip[0]}, step=4)

# %% [markdown]
# ## Train on real history

# %%
network = rj.models.frame_unet(shape=clips.shape, context_frames=2, chunk_frames=1)
generator = rj.Predictor(network=network, context_frames=2)
params = rj.train(generator, clips, updates=updates, batch_size=batch_size)

# %% [markdown]
# ## Recycle
#
# Rounds of rollout, comparison and correction. `result.params` is the moving average of the parameters.

# %%
result = rj.recycle(generator, params, clips, updates=recycling_updates, batch_size=batch_size)
result

# %% [markdown]
# ## Look
#
# The same start, continued by both.

# %%
start = held_out.batch(0, 1, 2).clip
before = rj.rollout(generator, params, start, frames=frames)
after = rj.rollout(result.generator, result.params, start, frames=frames)
show({"before": before[0], "after": after[0]}, step=max(1, frames // 8))

# %% [markdown]
# ## Measure
#
# After how many frames do rollouts leave the range of real video? Read the motion beside it: a still picture can stay
# inside every band.

# %%
rj.horizon(
    result.generator,
    result.params,
    held_out,
    frames=frames,
    rollouts=rollouts,
    name="recycled",
    others={"before": (generator, params)},
)

# %% [markdown]
# ## Keep it
#
# An mp4 file of any length in constant memory, and a folder that `rj.load` opens in another program.

# %%
print(rj.stream(result.generator, result.params, start, frames=frames, to="long.mp4"))
rj.save(result.generator, result.params, "my_generator")
