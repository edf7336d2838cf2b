"""Arrays and devices: the one place that knows a mesh.

There is one mesh axis, over which batches and the error bank are split; parameters are copied to every
device. One path serves 1 to N devices: `make_mesh`, placing with `place`, and programs wrapped by
`shard_over_data`, inside which a function sees its local rows and local shards of the bank. Nothing else in
the package names a mesh axis. Rollouts and evaluation go through `split_over_devices`.

With several hosts (`jax.distributed`) the mesh spans all of them, the devices of a host side by side, so that a host
holds one range of the rows (`local_rows`). A host array is never handed to `jax.device_put` with such a mesh, which
would gather it from all hosts to compare; each host passes the part that its own devices hold.

`shard_map` runs with `check_vma=False`: its check refuses a user's `lax.scan` whose carry starts replicated,
and makes the gradient of a replicated parameter a sum over devices unasked. So *take the gradient of the
local loss, then call `mean_over_data`*, once; it is the only collective of a training step.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from recycle_jax.typing import Params, PRNGKey, PyTree

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
    mesh = jax.make_mesh((len(chosen),), (_DATA,), axis_types=(AxisType.Auto,), devices=chosen)
    if not _spans_hosts(mesh):
        return mesh
    by_host = sorted(mesh.devices.flat, key=lambda device: device.process_index)
    return Mesh(np.array(by_host), (_DATA,), axis_types=(AxisType.Auto,))


def named(mesh: Mesh, role: PartitionSpec) -> NamedSharding:
    """The sharding of a role on a mesh, as `jax.device_put`, `jax.jit` and checkpoints want it."""
    return NamedSharding(mesh, role)


def place(tree: PyTree, mesh: Mesh, role: PartitionSpec, *, copy: bool = False) -> PyTree:
    """Puts every leaf of a tree on the mesh in a role, also from another mesh.

    Args:
        tree: numpy or JAX arrays, typed keys included; on several hosts every host passes the same whole arrays, or
            arrays that lie on all of them already.
        mesh: from `make_mesh`.
        role: one of `ROLES`.
        copy: whether the result shares no memory with the tree, so that it may be donated.

    Raises:
        ValueError: if a leaf's leading axis cannot be split over the devices.
    """
    if len(role):
        for leaf in jax.tree.leaves(tree):
            check_split(leaf.shape[0], mesh)
    sharding = named(mesh, role)
    if not _spans_hosts(mesh):
        return jax.device_put(tree, sharding, may_alias=False if copy else None)
    return jax.tree.map(lambda leaf: _across_hosts(leaf, mesh, role, copy), tree)


def place_local(tree: PyTree, mesh: Mesh, rows: int) -> PyTree:
    """Puts a batch on the mesh of which each host made its `local_rows` only; in role `rows`.

    Args:
        tree: leaves `[len(local_rows(mesh, rows)), ...]`.
        mesh: from `make_mesh`.
        rows: rows of all hosts together.
    """
    if not _spans_hosts(mesh):
        return place(tree, mesh, ROLES.rows)
    sharding = named(mesh, ROLES.rows)
    return jax.tree.map(lambda leaf: _from_parts(leaf, sharding, (rows, *leaf.shape[1:])), tree)


def local_rows(mesh: Mesh, rows: int) -> range:
    """The global numbers of the rows that this host's devices hold, of `rows` on the whole mesh.

    Raises:
        ValueError: if the rows cannot be split over the devices, or none of them is this host's.
    """
    check_split(rows, mesh)
    mine = [i for i, device in enumerate(mesh.devices.flat) if device.process_index == jax.process_index()]
    if not mine:
        raise ValueError(f"no device of the mesh belongs to host {jax.process_index()}: make it of all devices")
    each = rows // mesh.size
    return range(mine[0] * each, (mine[-1] + 1) * each)


def fetch(tree: PyTree) -> PyTree:
    """Every leaf as a numpy array, on every host, wherever its parts lie; all hosts call it together."""
    return jax.tree.map(_fetched, tree)


def is_first_host() -> bool:
    """Whether this host writes logs, results, reports and videos; true where there is only one."""
    return jax.process_index() == 0


def largest_on_hosts(number: int) -> int:
    """The largest of what the hosts pass; every host must ask at the same step."""
    if jax.process_count() == 1:
        return number
    return int(np.max(multihost_utils.process_allgather(np.asarray(number, np.int32))))


def check_split(size: int, mesh: Mesh) -> None:
    """Raises a ValueError if a leading axis of this size cannot be split over the devices of the mesh."""
    if size % mesh.size:
        raise ValueError(
            f"a leading axis of {size} cannot be split over {mesh.size} devices: use {_nearest(size, mesh.size)}, or "
            "fewer devices"
        )


def require_multiples(sizes: Mapping[str, tuple[int, int]], mesh: Mesh) -> None:
    """Checks settings before anything is paid for.

    Args:
        sizes: name of a setting -> its value, and the number of which it must be a multiple.
        mesh: where it is to be split.

    Raises:
        ValueError: naming every setting that does not fit, with the nearest values that do.
    """
    wrong = [
        f"{name} is {size}, must be a multiple of {unit}: use {_nearest(size, unit)}"
        for name, (size, unit) in sizes.items()
        if size % unit
    ]
    if wrong:
        raise ValueError(f"{'; '.join(wrong)} (to be split over {mesh.size} device{'s' if mesh.size > 1 else ''})")


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


def split_over_devices(
    f: Callable[[Params, PyTree, PRNGKey, Array], PyTree], mesh: Mesh
) -> Callable[[Params, PyTree, PRNGKey], PyTree]:
    """A compiled function of rows that every device runs on its share of them: for rollouts and evaluation.

    Any number of rows will do: they are padded to a multiple of the devices, and results are cut back. Compiled once
    for each shape, so keep what is returned.

    Args:
        f: `(params, rows, key, first) -> results`. Rows must not depend on each other. `first` (int32 scalar) is the
            global number of the first row here: fold it in (`rng.row_keys`), and a row is the same on any mesh. In
            every result one axis must be that of the rows; which one is found by tracing.
        mesh: from `make_mesh`.

    Returns:
        `(params, rows, key) -> results`, whose arguments may lie anywhere. Results are split over the devices, or lie
        on each of them where their rows cannot be split or there are several hosts.

    Raises:
        ValueError: when called, if leaves of `rows` differ in length or a result has no axis of rows.
    """
    whole = _spans_hosts(mesh)

    @functools.partial(jax.jit, static_argnames="count")
    def program(params: Params, rows: PyTree, key: PRNGKey, count: int) -> PyTree:
        local = jax.tree.leaves(rows)[0].shape[0] // mesh.size
        axes = _row_axes(f, params, rows, key, local)
        specs = jax.tree.map(lambda axis: PartitionSpec(*[None] * axis, _DATA), axes)

        def body(params: Params, rows: PyTree, key: PRNGKey) -> PyTree:
            return f(params, rows, key, first_row(local))

        in_roles = (ROLES.params, ROLES.rows, ROLES.params)
        out = shard_over_data(body, mesh, in_roles, specs)(params, rows, key)
        if count % mesh.size == 0 and not whole:
            return out
        cut = jax.tree.map(lambda leaf, axis: lax.slice_in_dim(leaf, 0, count, axis=axis), out, axes)
        return lax.with_sharding_constraint(cut, named(mesh, ROLES.params))

    def call(params: Params, rows: PyTree, key: PRNGKey) -> PyTree:
        counts = {leaf.shape[0] for leaf in jax.tree.leaves(rows)}
        if len(counts) != 1:
            raise ValueError(f"rows have leading axes of {sorted(counts)}: give every leaf one entry a row")
        (count,) = counts
        params, key = place((params, key), mesh, ROLES.params)
        return program(params, place(padded(rows, mesh), mesh, ROLES.rows), key, count=count)

    return call


def _row_axes(f: Callable[..., PyTree], params: Params, rows: PyTree, key: PRNGKey, count: int) -> PyTree:
    """The axis of the rows in every result of `f`: the one that grows with them."""

    def shapes(count: int) -> PyTree:
        cut = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((count, *leaf.shape[1:]), leaf.dtype), rows)
        return jax.eval_shape(f, params, cut, key, jax.ShapeDtypeStruct((), jnp.int32))

    def axis(few: Any, more: Any) -> int:
        for i, (a, b) in enumerate(zip(few.shape, more.shape, strict=True)):
            if a != b:
                return i
        raise ValueError(f"a result of shape {few.shape} has no axis of rows: reduce over rows after the call")

    return jax.tree.map(axis, shapes(count), shapes(count + 1))


def padded(rows: PyTree, mesh: Mesh) -> PyTree:
    """Rows with the last one repeated, up to a multiple of the devices: whatever rows hold, they stay valid."""
    return jax.tree.map(lambda leaf: _padded(leaf, -leaf.shape[0] % mesh.size), rows)


def _padded(leaf: Any, more: int) -> Any:
    if not more:
        return leaf
    if isinstance(leaf, np.ndarray):
        return np.concatenate([leaf, np.repeat(leaf[-1:], more, axis=0)])
    return jnp.concatenate([leaf, *[leaf[-1:]] * more])


def _nearest(size: int, unit: int) -> str:
    below = size // unit * unit
    return f"{below} or {below + unit}" if below else f"{unit}"


def _spans_hosts(mesh: Mesh) -> bool:
    return any(device.process_index != jax.process_index() for device in mesh.devices.flat)


def _across_hosts(leaf: Any, mesh: Mesh, role: PartitionSpec, copy: bool) -> Array:
    sharding = named(mesh, role)
    if _is_key(leaf):
        data = _across_hosts(jax.random.key_data(leaf), mesh, role, copy)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    if isinstance(leaf, Array) and not leaf.is_fully_addressable:
        same = leaf.sharding.is_equivalent_to(sharding, leaf.ndim)
        return leaf if same and not copy else _copier(sharding)(leaf)
    array = np.asarray(leaf)
    if len(role):
        rows = local_rows(mesh, array.shape[0])
        return _from_parts(array[rows.start : rows.stop], sharding, array.shape)
    return _from_parts(array, sharding, array.shape)


def _from_parts(leaf: Any, sharding: NamedSharding, shape: tuple[int, ...]) -> Array:
    """A global array of which this host holds `leaf`."""
    if _is_key(leaf):
        data = jax.random.key_data(leaf)
        data = _from_parts(data, sharding, (*shape, *data.shape[len(shape) :]))
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    return jax.make_array_from_process_local_data(sharding, np.asarray(leaf), shape)


@functools.cache
def _copier(sharding: NamedSharding) -> Callable[[Array], Array]:
    return jax.jit(jnp.copy, out_shardings=sharding)


def _fetched(leaf: Any) -> np.ndarray:
    if not isinstance(leaf, Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.asarray(leaf)
    return np.asarray(multihost_utils.process_allgather(leaf, tiled=True))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
