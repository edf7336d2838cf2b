"""Your own network in a generator: an NNX module or a plain function becomes a `Network`.

A *call* says how your network is used, given everything that a generator knows:

    Predictor      call(net, context, level, condition)                 -> the next chunk
    RectifiedFlow  call(net, noisy, sigma, context, level, condition)   -> a velocity, or a clean chunk

(`head` tells which), where `net` is your module or function with its parameters bound. `from_context` and
`from_noisy` are the plain ones; a network that takes actions or a noise level has its own, in one line:

    generator = Predictor(network=module_network(build, from_context), context_frames=2)
    flow = RectifiedFlow(network=function_network(f, fixed(weights), from_noisy), context_frames=2,
                         head=velocity_head)
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from recycle_jax.flow_matching import TIME_SCALE
from recycle_jax.models.base import Network, functional
from recycle_jax.typing import ContextLevel, Frames, Params, PRNGKey, PyTree, Sigma

Net = Callable[..., Array]


def from_context(net: Net, context: Frames, level: ContextLevel, condition: PyTree) -> Frames:
    """`net(context)`: a predictor that knows nothing but its history."""
    del level, condition
    return net(context)


def from_noisy(
    net: Net, noisy: Frames, sigma: Sigma, context: Frames, level: ContextLevel, condition: PyTree
) -> Frames:
    """`net(noisy, time, context)` with `time` `[b]` in [0, 1000], the same for all frames of the chunk."""
    del level, condition
    return net(noisy, TIME_SCALE * jnp.mean(sigma, axis=1), context)


def module_network(build: Callable[[nnx.Rngs], nnx.Module], call: Callable[..., Array]) -> Network:
    """A network of your own NNX module.

    Args:
        build: makes the module; depends on nothing but its `rngs`.
        call: how it is used, see the module docstring.

    Raises:
        ValueError: if the module keeps anything but parameters.
    """
    module = nnx.eval_shape(lambda: build(nnx.Rngs(0)))
    for path, variable in nnx.to_flat_state(nnx.state(module)):
        if not isinstance(variable, nnx.Param):
            raise ValueError(
                f"{type(module).__name__} keeps {'.'.join(map(str, path))}, a {type(variable).__name__}, but "
                f"generators carry parameters only: use layers without dropout and running statistics "
                f"(GroupNorm for BatchNorm)"
            )
    network = functional(build)
    return function_network(network.apply, network.init, call)


def function_network(
    function: Callable[..., Array], init: Callable[[PRNGKey], Params], call: Callable[..., Array]
) -> Network:
    """A network of a plain function `function(params, *inputs)`.

    Args:
        function: pure and traceable by JAX.
        init: `key -> params`; `fixed(params)` for weights that you have.
        call: how it is used, see the module docstring.

    Returns:
        A network whose output is checked to have the first input's rows and frame size.
    """

    def apply(params: Params, first: Frames, *rest: Any) -> Frames:
        out = call(functools.partial(function, params), first, *rest)
        if out.ndim != 5 or (out.shape[0], out.shape[2:]) != (first.shape[0], first.shape[2:]):
            raise ValueError(
                f"the network made {out.shape} of {first.shape}; a chunk is [b, chunk_frames, h, w, c] with "
                f"the b, h, w, c of its input: reshape it in the call"
            )
        return out

    return Network(init=init, apply=apply)


def fixed(params: Params) -> Callable[[PRNGKey], Params]:
    """An `init` that gives these weights, as fresh arrays: training donates, and would delete your own."""

    def init(key: PRNGKey) -> Params:
        del key
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)

    return init
