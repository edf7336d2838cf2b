"""From an NNX module to two pure functions.

NNX defines networks and nothing else: a module is split once, and what travels through `jax.jit`, `lax.scan`,
optax and orbax afterwards is a plain dict of arrays.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from recycle_jax.typing import Params, PRNGKey


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A network as two pure functions.

    Attributes:
        init: `key -> params`.
        apply: `(params, *inputs) -> output`.
    """

    init: Callable[[PRNGKey], Params]
    apply: Callable[..., Any]


def functional(build: Callable[[nnx.Rngs], nnx.Module]) -> Network:
    """Splits the module that `build` makes into a `Network`; `build` must only depend on its `rngs`."""
    graphdef, _ = nnx.split(nnx.eval_shape(lambda: build(nnx.Rngs(0))), graph=False)

    def init(key: PRNGKey) -> Params:
        return nnx.to_pure_dict(nnx.split(build(nnx.Rngs(key)), graph=False)[1])

    def apply(params: Params, *inputs: Any) -> Any:
        return nnx.merge(graphdef, params)(*inputs)

    return Network(init=jax.jit(init), apply=apply)


def parameter_count(params: Params) -> int:
    """The number of scalars in a pytree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
