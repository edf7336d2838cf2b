"""Noise on the history at generation time: a remedy for generators that were trained to live with it.

A network that was trained on noised histories and told their level l (noise augmentation, Diffusion Forcing) takes a
told history for what it is worth: it corrects what looks like noise of that strength instead of copying it. At
generation time two knobs follow,

    context~ = context + added eps,     the network is told `told`

and three uses of them are known:

    told = added = 0     GameNGen, arXiv 2408.14837: trained with noise, run without
    told > 0, added = 0  Diffusion Forcing, arXiv 2407.01392: generated frames count as slightly noisy
    told, added > 0      Dreamer 4 (`tau_ctx` = 0.1): a history that is a little noisy, and told to be

The noise is new at every step and only the network sees it: what the rollout keeps is clean of it.
"""

import dataclasses
import functools
from typing import Any, cast

import jax.numpy as jnp
from jax import Array

from recycle_jax import rng
from recycle_jax.generators.base import Generator, anchors_of, slide
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, PyTree, RowKeys


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextNoise(Wrapper):
    """A generator whose steps see a noised history; it is trained as the one inside.

    Attributes:
        inner: who generates; where `told` is not 0, a `Predictor`, a `RectifiedFlow` or another dataclass with a
            `network` whose last two inputs are level and condition.
        told: level that the network is told, in [0, 1]: a standard deviation in frame units, as in training.
        added: standard deviation of the white noise that is put on the history, in frame units.
    """

    told: float = 0.0
    added: float = 0.0

    def __post_init__(self) -> None:
        for name in ("told", "added"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(
                    f"{name} is {getattr(self, name)}, must lie in [0, 1]: it is a standard deviation in frame units"
                )
        if anchors_of(self.inner):
            raise ValueError(
                f"inner keeps {anchors_of(self.inner)} anchors, which would slide away: put Anchored around this"
            )
        if self.told and not isinstance(getattr(self.inner, "network", None), Network):
            raise TypeError(
                f"told is {self.told}, but {type(self.inner).__name__} has no network to be told: put ContextNoise "
                f"around the generator inside it"
            )

    def step(self, params: Params, carry: Frames, keys: RowKeys, condition: PyTree) -> tuple[Frames, Frames]:
        """One chunk from a noised context, and the context without noise slid on by it."""
        seen = carry
        if self.added:
            keys, of_noise = rng.split_rows(keys, 2)
            seen = carry + self.added * rng.normal_rows(of_noise, carry.shape[1:])
        generator = self._telling
        _, chunk = generator.step(params, generator.begin(params, seen, condition), keys, condition)
        return slide(carry, chunk), chunk

    @functools.cached_property
    def _telling(self) -> Generator:
        if not self.told:
            return self.inner
        inner = cast(Any, self.inner)
        return dataclasses.replace(inner, network=telling(inner.network, self.told))


def telling(network: Network, told: float) -> Network:
    """A network that is told the level `told`, whatever its caller says; its last inputs are level and condition."""

    def apply(params: Params, *inputs: Any) -> Array:
        *first, level, condition = inputs
        return network.apply(params, *first, jnp.full_like(level, told), condition)

    return Network(init=network.init, apply=apply)
