"""Your own network in a generator: an NNX module or a plain function becomes a `Network`.

A *call* says how your network is used, given everything that a generator knows:

    Predictor      call(net, context, level, condition)                 -> the next chunk
    RectifiedFlow  call(net, noisy, sigma, context, level, condition)   -> a velocity, or a clean chunk

(`head` tells which), where `net` is your module or function with its parameters bound. The default, `plain_call`,
serves networks `net(context)` and `net(noisy, time, context)`, with the condition behind where there is one. A network
that takes the noise level of its context, or its inputs in another order, has a call of its own, in one line:

    generator = Predictor(network=from_nnx(MyNet, width=64), context_frames=2)
    flow = RectifiedFlow(network=from_function(f, fixed(weights)), context_frames=2, head=velocity_head)
    told = Predictor(network=from_nnx(MyNet, lambda net, context, level, _: net(context, level)), context_frames=2)
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from recycle_jax.flow_matching import TIME_SCALE
from recycle_jax.models.base import Network, functional, remembers_source
from recycle_jax.typing import ContextLevel, Frames, Params, PRNGKey, PyTree, Sigma

Net = Callable[..., Array]


def predictor_call(net: Net, context: Frames, level: ContextLevel, condition: PyTree) -> Frames:
    """`net(context)`: a predictor that knows nothing but its history."""
    del level, condition
    return net(context)


def flow_call(net: Net, noisy: Frames, sigma: Sigma, context: Frames, level: ContextLevel, condition: PyTree) -> Frames:
    """`net(noisy, time, context)` with `time` `[b]` in [0, 1000], the same for all frames of the chunk."""
    del level, condition
    return net(noisy, TIME_SCALE * jnp.mean(sigma, axis=1), context)


def plain_call(net: Net, *inputs: Any) -> Frames:
    """`net(context)` of a predictor, `net(noisy, time, context)` of a flow; the condition comes last where given."""
    condition = inputs[-1]
    call = predictor_call if len(inputs) == 3 else flow_call
    if condition is None:
        return call(net, *inputs)
    return call(lambda *given: net(*given, condition), *inputs)


@remembers_source
def from_nnx(build: Callable[..., nnx.Module], call: Callable[..., Array] = plain_call, **options: Any) -> Network:
    """A network of your own NNX module.

    Args:
        build: the module's class, or a function that makes it; called as `build(rngs=rngs, **options)`.
        call: how it is used, see the module docstring.
        options: keyword arguments of `build`, which a saved generator remembers.

    Raises:
        ValueError: if the module keeps anything but parameters.
    """

    def built(rngs: nnx.Rngs) -> nnx.Module:
        return build(rngs=rngs, **options)

    module = nnx.eval_shape(lambda: built(nnx.Rngs(0)))
    for path, variable in nnx.to_flat_state(nnx.state(module)):
        if not isinstance(variable, nnx.Param):
            raise ValueError(
                f"{type(module).__name__} keeps {'.'.join(map(str, path))}, a {type(variable).__name__}, but "
                f"generators carry parameters only: use layers without dropout and running statistics "
                f"(GroupNorm for BatchNorm)"
            )
    network = functional(built)
    return from_function(network.apply, network.init, call)


@remembers_source
def from_function(
    function: Callable[..., Array], init: Callable[[PRNGKey], Params], call: Callable[..., Array] = plain_call
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
