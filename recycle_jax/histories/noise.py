"""Noise augmentation: white noise of random strength on the history, its strength told to the network.

``context~ = context + level * eps``, ``level ~ U(0, most)``, level 0 at generation time. Source: GameNGen,
arXiv 2408.14837, section 3.2.1 (there in 10 buckets; here embedded as a number).
"""

import dataclasses

from recycle_jax import rng
from recycle_jax.batch import Batch
from recycle_jax.generators.base import Generator, clean_example
from recycle_jax.histories.base import Drawn, ExamplePolicy, all_clean
from recycle_jax.typing import Frames, Params, PyTree, RowKeys, Rows


def noisy_context(context: Frames, level: Rows, keys: RowKeys) -> Frames:
    """`context + level * eps`."""
    return context + level[:, None, None, None, None] * rng.normal_rows(keys, context.shape[1:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class NoiseAugmentation(ExamplePolicy):
    """Noised context, clean target.

    Attributes:
        most: standard deviation of the strongest noise, in frame units (frames span [-1, 1]).
    """

    most: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.most <= 1.0:
            raise ValueError(f"most is {self.most}, must lie in [0, 1]: it is a standard deviation in frame units")

    def examples(self, params: Params, generator: Generator, bank: PyTree, batch: Batch, keys: RowKeys) -> Drawn:
        """The batch with its history noised."""
        del params, bank
        of_fit, of_level, of_noise = rng.split_rows(keys, 3)
        level = rng.uniform_rows(of_level, 0.0, self.most)
        context = batch.clip[:, : generator.context_frames]
        noised = noisy_context(context, level, of_noise)
        return all_clean(clean_example(generator, batch, of_fit, context=noised, level=level))
