"""From an NNX module to two pure functions.

NNX defines networks and nothing else: a module is split once, and what travels through `jax.jit`, `lax.scan`,
optax and orbax afterwards is a plain dict of arrays.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec

import jax
from flax import nnx

from recycle_jax.typing import Params, PRNGKey

P = ParamSpec("P")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """The call that makes a network again, from which a saved generator is rebuilt.

    Attributes:
        function: what was called.
        args: positional arguments of the call.
        kwargs: keyword arguments of the call.
    """

    function: Callable[..., "Network"]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Network:
    """A network as two pure functions.

    Attributes:
        init: `key -> params`.
        apply: `(params, *inputs) -> output`.
        source: the call that made it, where that is known; two networks are equal by their functions alone.
    """

    init: Callable[[PRNGKey], Params]
    apply: Callable[..., Any]
    source: Source | None = dataclasses.field(default=None, compare=False, repr=False)


def remembers_source(build: Callable[P, Network]) -> Callable[P, Network]:
    """A function that makes networks, each with the call that made it as its `source`."""

    @functools.wraps(build)
    def made(*args: P.args, **kwargs: P.kwargs) -> Network:
        return dataclasses.replace(build(*args, **kwargs), source=Source(function=made, args=args, kwargs=kwargs))

    return made


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
