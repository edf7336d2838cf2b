"""Arrays and devices: the one place that knows a mesh.

There is one mesh axis, over which batches and the error bank are split; parameters are copied to every
device. One path serves 1 to N devices: `make_mesh`, placing with `place`, and programs wrapped by
`shard_over_data`, inside which a function sees its local rows and local shards of the bank. Nothing else in
the package names a mesh axis.

`shard_map` runs with `check_vma=False`: its check refuses a user's `lax.scan` whose carry starts replicated,
and makes the gradient of a replicated parameter a sum over devices unasked. So *take the gradient of the
local loss, then call `mean_over_data`*, once; it is the only collective of a training step.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from recycle_jax.typing import PyTree

_DATA = "data"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Roles:
    """What an array is for, and so how it lies on the mesh.

    Attributes:
        params: parameters, optimiser state, scalars: a copy on every device.
        rows: anything with the global batch on its leading axis (clips, per-row keys, slots).
        bank: anything with the logical shards of the error bank on its leading axis.
    """

    params: PartitionSpec = PartitionSpec()
    rows: PartitionSpec = PartitionSpec(_DATA)
    bank: PartitionSpec = PartitionSpec(_DATA)


ROLES = Roles()


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of one axis over the devices (all of them unless given), with axis types chosen explicitly."""
    chosen = jax.devices() if devices is None else list(devices)
    return jax.make_mesh((len(chosen),), (_DATA,), axis_types=(AxisType.Auto,), devices=chosen)


def named(mesh: Mesh, role: PartitionSpec) -> NamedSharding:
    """The sharding of a role on a mesh, as `jax.device_put`, `jax.jit` and checkpoints want it."""
    return NamedSharding(mesh, role)


def place(tree: PyTree, mesh: Mesh, role: PartitionSpec) -> PyTree:
    """Puts every leaf of a tree on the mesh in a role, also from another mesh.

    Raises:
        ValueError: if a leaf's leading axis cannot be split over the devices.
    """
    if len(role):
        for leaf in jax.tree.leaves(tree):
            check_split(leaf.shape[0], mesh)
    return jax.device_put(tree, named(mesh, role))


def check_split(size: int, mesh: Mesh) -> None:
    """Raises a ValueError if a leading axis of this size cannot be split over the devices of the mesh."""
    if size % mesh.size:
        below = size // mesh.size * mesh.size
        nearest = f"{below} or {below + mesh.size}" if below else f"{mesh.size}"
        raise ValueError(
            f"a leading axis of {size} cannot be split over {mesh.size} devices: use {nearest}, or fewer devices"
        )


def shard_over_data(f: Callable[..., Any], mesh: Mesh, in_roles: Any, out_roles: Any) -> Callable[..., Any]:
    """`f` run on every device with its local part of each argument; wrap it in `jax.jit` for use.

    Args:
        f: a function of arrays; rows and shards have their local number on the leading axis.
        mesh: from `make_mesh`.
        in_roles: a tuple with one role (of `ROLES`) for each argument, or a pytree of roles in its place.
        out_roles: roles of the outputs. An output in role `params` must be the same on all devices: reduce it
            with `mean_over_data` or `sum_over_data`.
    """
    return jax.shard_map(f, mesh=mesh, in_specs=in_roles, out_specs=out_roles, check_vma=False)


def mean_over_data(tree: PyTree) -> PyTree:
    """Mean over devices, leaf by leaf, of equally weighted local means; only inside `shard_over_data`."""
    return lax.pmean(tree, _DATA)


def sum_over_data(tree: PyTree) -> PyTree:
    """Sum over devices, leaf by leaf; only inside `shard_over_data`."""
    return lax.psum(tree, _DATA)


def first_row(local: int) -> Array:
    """Global number (int32 scalar) of the first of `local` rows or shards; only inside `shard_over_data`."""
    return lax.axis_index(_DATA).astype(jnp.int32) * local
