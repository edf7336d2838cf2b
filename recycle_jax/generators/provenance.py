"""A generator that tells its network whether the history is real video or its own work.

Real history and generated history ask for different things: what follows real frames is best said exactly, what follows
generated ones must also mend them, and one answer to both is a compromise that costs one-step quality. Whoever rolls
out knows which of the two a history is, so the network can be told, in the place where it is told of noise:

    level = noise                 while all frames of the history are real
    level = noise + own           as soon as one of them was generated                                    (1)

`own` lies outside the noise that the network is trained with, so that the two can be told apart. Cases of a bank are
replayed under (1) (`histories.replay`), harvests go on under (1), and a rollout from a real start makes its first step
as it was taught by real video. Known relatives: the age or step of a rollout as a condition; here two values are
enough, since the history itself shows how far it has gone. What it brings and costs is measured in
`experiments/NOTES.md`: less one-step loss, and shorter rollouts where exact targets had held a neutral direction.
"""

import dataclasses
from typing import Any, cast

import jax.numpy as jnp
from flax import struct

from recycle_jax.generators.base import Generator, anchors_of, slide
from recycle_jax.generators.wrapper import Wrapper
from recycle_jax.models.base import Network
from recycle_jax.typing import Frames, Params, PyTree, RowFlags, RowKeys, Rows


@struct.dataclass(kw_only=True)
class Told:
    """What a rollout carries.

    Attributes:
        context: `[b, context, h, w, c]` history.
        level: `[b]` what (1) adds to the level: 0 or `own`.
    """

    context: Frames
    level: Rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Provenance(Wrapper):
    """A generator whose network is told of its own frames; it is trained as the one inside.

    Attributes:
        inner: who generates: a `Predictor`, a `RectifiedFlow` or another dataclass with a `network` whose last two
            inputs are level and condition. It begins anew at every step; put no wrapper around this one that does so
            too, since every history would then count as real.
        own_level: `own` of (1), in (0, 1].
    """

    own_level: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.own_level <= 1.0:
            raise ValueError(
                f"own_level is {self.own_level}, must lie in (0, 1]: the network is told levels of up to 1, and 0 "
                f"would say that the history is real"
            )
        if not can_be_told(self.inner):
            raise TypeError(
                f"{type(self.inner).__name__} has no network of its own to be told: put Provenance around a generator "
                f"with a network, such as Predictor or RectifiedFlow"
            )

    def begin(self, params: Params, context: Frames, condition: PyTree) -> Told:
        """Starts on real video."""
        return self.go_on(params, context, condition, jnp.zeros(context.shape[0], bool))

    def go_on(self, params: Params, context: Frames, condition: PyTree, own: RowFlags) -> Told:
        """Starts on history of which the rows `own` `[b]` hold generated frames."""
        del params, condition
        return Told(context=context, level=self.own_level * own.astype(jnp.float32))

    def step(self, params: Params, carry: Told, keys: RowKeys, condition: PyTree) -> tuple[Told, Frames]:
        """One chunk, after which the history is the generator's own."""
        inner = cast(Any, self.inner)
        generator = dataclasses.replace(inner, network=_told(inner.network, carry.level))
        start = generator.begin(params, carry.context, condition)
        _, chunk = generator.step(params, start, keys, condition)
        return Told(context=slide(carry.context, chunk), level=jnp.full_like(carry.level, self.own_level)), chunk


def can_be_told(generator: Generator) -> bool:
    """Whether a generator has a network of its own, and a context whose frames all move on."""
    return isinstance(getattr(generator, "network", None), Network) and not anchors_of(generator)


def _told(network: Network, more: Rows) -> Network:
    """A network that is told `more` besides what its caller says; its last inputs are level and condition."""

    def apply(params: Params, *inputs: Any) -> Any:
        *first, level, condition = inputs
        return network.apply(params, *first, level + more.reshape(-1, *[1] * (level.ndim - 1)), condition)

    return Network(init=network.init, apply=apply)
