"""Diffusion Forcing: every frame has a noise level of its own, those of the history too.

Context frame i becomes ``(1 - sigma_i) x_i + sigma_i eps_i`` with ``sigma_i ~ U(0, most)``, independently of all other
frames and of the chunk, which the generator corrupts as ever; the network is told each ``sigma_i``. So it learns to
continue any mixture of known and uncertain frames, and at generation time it may be told that generated frames are
slightly uncertain (`generators.context_noise`). Source: Chen et al., arXiv 2407.01392.

Differences: there the network denoises all frames and has a loss on each, here it makes a chunk and has its loss there;
the frames of one chunk share one level. For a `Predictor`, whose chunk has no noise level, it is the deterministic
analogue: noise augmentation with a level of its own for each frame.
"""

import dataclasses

import jax

from recycle_jax import flow_matching as fm
from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Drawn, ExamplePolicy, all_clean
from recycle_jax.typing import Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionForcing(ExamplePolicy):
    """An independent noise level for each context frame, told to a network that takes one for each.

    A network that takes one level for the whole context refuses these examples (`models.conv` networks take more with
    `frame_levels=True`).

    Attributes:
        most: strongest level, in (0, 1]; at 1 a frame may be noise and nothing else.
    """

    most: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.most <= 1.0:
            raise ValueError(f"most is {self.most}, must lie in (0, 1]: use TeacherForcing for a history without noise")

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with every context frame noised to its own level."""
        del params, bank
        of_fit, of_level, of_noise = rng.split_rows(keys, 3)
        context = batch.clip[:, : generator.context_frames]
        level = self.most * jax.vmap(lambda key: jax.random.uniform(key, context.shape[1:2], context.dtype))(of_level)
        noised = fm.interpolate(context, rng.normal_rows(of_noise, context.shape[1:]), level)
        return all_clean(clean_example(generator, batch, of_fit, context=noised, level=level))
