"""Your own Flax Linen module in a generator; `generators.adapt` says what a call is, and has NNX and plain functions.

network = from_linen(MyUNet(), jnp.zeros((1, 2, 64, 64, 3)))
generator = Predictor(network=network, context_frames=2)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import errors
from flax import linen as nn
from jax import Array

from recycle_jax.generators.adapt import from_function, plain_call
from recycle_jax.models.base import Network, remembers_source
from recycle_jax.typing import Params, PRNGKey


@remembers_source
def from_linen(module: nn.Module, *inputs: Any, call: Callable[..., Array] = plain_call) -> Network:
    """A network of your own Linen module.

    Args:
        module: with a `__call__`, parameters and nothing else.
        inputs: what the call hands to the module, arrays or `jax.ShapeDtypeStruct`; only shapes and dtypes matter.
        call: how it is used, see `generators.adapt`.

    Raises:
        ValueError: if the module keeps anything but parameters, or needs random numbers in a forward pass.
    """
    shapes = jax.eval_shape(lambda: tuple(jnp.zeros(one.shape, one.dtype) for one in inputs))
    variables = jax.eval_shape(module.init, jax.random.key(0), *shapes)
    for collection in sorted(set(variables) - {"params"}):
        raise _refusal(module, f"keeps {collection}")
    try:
        jax.eval_shape(module.apply, variables, *shapes)
    except errors.InvalidRngError as error:
        raise _refusal(module, "draws random numbers") from error

    def init(key: PRNGKey) -> Params:
        zeros = (jnp.zeros(one.shape, one.dtype) for one in shapes)
        return nn.meta.unbox(module.init(key, *zeros).get("params", {}))

    def apply(params: Params, *given: Any) -> Any:
        return module.apply({"params": params}, *given)

    return from_function(apply, jax.jit(init), call)


def _refusal(module: nn.Module, what: str) -> ValueError:
    return ValueError(
        f"{type(module).__name__} {what}, but generators carry parameters only: use layers without dropout and "
        f"running statistics (GroupNorm for BatchNorm), or switch them to deterministic"
    )
