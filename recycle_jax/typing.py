"""The names of the arrays that pass between rooms, in one place.

Axis names: ``b`` batch rows, ``t`` frames, ``h w c`` a frame, ``s`` logical shards. Frames and latents are
channels-last floats in [-1, 1] once on a device. Nothing here checks anything at run time: the test-suite
switches the checker on with ``--jaxtyping-packages``.
"""

from typing import Any

from jax import Array
from jaxtyping import Bool, Float, Int, Key, Num

Frame = Float[Array, "h w c"]
Clip = Float[Array, "t h w c"]
Frames = Float[Array, "b t h w c"]
Sigma = Float[Array, "b t"]
Rows = Float[Array, " b"]
ContextLevel = Float[Array, " b"] | Float[Array, "b context"]
"""How noisy a network is told that its context is: one level for all of it, or one for each of its frames."""
RowInts = Int[Array, " b"]
RowFlags = Bool[Array, " b"]
PRNGKey = Key[Array, ""]
RowKeys = Key[Array, " b"]
Scalar = Num[Array, ""]
Params = Any
"""A pytree of float32 arrays, as `flax.nnx.to_pure_dict` gives it."""
PyTree = Any
