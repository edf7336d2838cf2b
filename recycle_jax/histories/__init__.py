"""History policies: what a training step sees as history. `recycle()` is the recipe."""

from recycle_jax.histories.recipe import recycle as recycle
