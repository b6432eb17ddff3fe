"""One mesh for everything: items of work, or photographs of a batch, spread over its devices.

The attack needs no talk between devices: every device runs whole chunks of restarts, each of the
same size, whatever the number of devices. So a restart's clone is the same on one device as on a
thousand. In training each device takes its part of the batch. Which arrays of a model are divided,
and how, is the model's to say: `place` takes its rule.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mia_jax.runtime.errors import UserError

ITEMS, CLASSES = "items", "classes"


def make_mesh(
    class_shards: int = 1,
    devices: Sequence[jax.Device] | None = None,
    items: int | None = None,
) -> Mesh:
    """Arranges the devices of all processes.

    Args:
      class_shards: Over how many devices the recognizer's last layer is split, class by class; the
        other devices take other work.
      devices: Which devices; all by default.
      items: How many items of work there are, if it is known. One process then leaves out devices
        without which the work takes no more rounds: idle ones of a CPU would take its time.

    Returns:
      A mesh with the axes "items" and "classes".

    Raises:
      UserError: If the devices do not divide into such groups.
    """
    found = list(devices or jax.devices())
    if class_shards < 1 or len(found) % class_shards:
        raise UserError(
            f"class_shards={class_shards} does not divide the {len(found)} devices: give one of "
            f"{[n for n in range(1, len(found) + 1) if len(found) % n == 0]}"
        )
    groups = np.array(found).reshape(-1, class_shards)
    if items and jax.process_count() == 1:
        rounds = math.ceil(items / len(groups))
        groups = groups[: math.ceil(items / rounds)]
    return Mesh(groups, (ITEMS, CLASSES))


def width(mesh: Mesh) -> int:
    """Returns how many items of work the mesh does at a time."""
    return mesh.shape[ITEMS]


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Copies arrays to every device.

    Args:
      mesh: From `make_mesh`.
      tree: A pytree, the same in every process; what is no array, such as a function or a number
        of Python's, stays as it is.

    Returns:
      The same, on all devices of the mesh.
    """
    arrays, others = eqx.partition(tree, eqx.is_array)
    everywhere = NamedSharding(mesh, PartitionSpec())

    def put(array: Any) -> Any:
        if not jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key):
            return jax.device_put(array, everywhere)
        # jax puts a typed key on no mesh of several processes, only its numbers.
        numbers = jax.device_put(np.asarray(jax.random.key_data(array)), everywhere)
        return jax.random.wrap_key_data(numbers, impl=jax.random.key_impl(array))

    return eqx.combine(jax.tree.map(put, arrays), others)


def place(mesh: Mesh, tree: Any, rule: Callable[[tuple[str, ...]], PartitionSpec]) -> Any:
    """Puts each array of a pytree where a rule says.

    Args:
      mesh: From `make_mesh`.
      tree: A pytree, the same in every process; what is no array stays as it is.
      rule: From the names on the path to an array, such as ("L7", "kernel"), to how its dimensions
        are divided over the axes of the mesh; `PartitionSpec()` copies it to every device.

    Returns:
      The same on the mesh.

    Raises:
      UserError: If a dimension does not divide.
    """

    def put(path: tuple[Any, ...], leaf: Any) -> Any:
        if not eqx.is_array(leaf):
            return leaf
        names = tuple(jax.tree_util.keystr((key,), simple=True) for key in path)
        spec = rule(names)
        for dimension, axes in enumerate(spec):
            devices = _devices_of(mesh, axes)
            if np.shape(leaf)[dimension] % devices:
                raise UserError(
                    f"{'/'.join(names)} of shape {np.shape(leaf)} does not divide over {devices} "
                    f"devices: give a number that divides {np.shape(leaf)[dimension]}"
                )
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    return jax.tree_util.tree_map_with_path(put, tree)


def _devices_of(mesh: Mesh, axes: str | tuple[str, ...] | None) -> int:
    """Returns over how many devices one dimension is divided."""
    names = (axes,) if isinstance(axes, str) else axes or ()
    return math.prod(mesh.shape[name] for name in names)


def divide_batch(mesh: Mesh, function: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Lets every device of the mesh do its part of a batch; differentiable, for use under `jit`.

    Args:
      mesh: From `make_mesh`.
      function: `(shared, *parts) -> results` where parts and results have a leading axis.

    Returns:
      The same function of a whole batch that divides over the mesh, with `shared` on every device
      and the results divided as the batch is.
    """

    def all_parts(shared: Any, *batch: jax.Array) -> jax.Array:
        specs = (PartitionSpec(), *[PartitionSpec(ITEMS)] * len(batch))
        mapped = jax.shard_map(
            function, mesh=mesh, in_specs=specs, out_specs=PartitionSpec(ITEMS), check_vma=False
        )
        return mapped(shared, *batch)

    return all_parts


def gather(mesh: Mesh, tree: Any) -> Any:
    """Returns arrays of the mesh, whole, on one device of this process.

    Args:
      mesh: From `make_mesh`.
      tree: A pytree of arrays on that mesh. All processes call this.

    Returns:
      The same arrays.
    """
    return here(replicate(mesh, tree))


def item_by_item(mesh: Mesh, function: Callable[..., Any]) -> Callable[..., Any]:
    """Lets every device of the mesh do one item of work.

    Args:
      mesh: From `make_mesh`.
      function: `(shared, *item) -> results`, pytrees of arrays. Among the leaves of `shared` there
        may be functions and other things that are no arrays: they are compiled in.

    Returns:
      A compiled `(shared, *items) -> results` where items and results have a leading axis of
      `width(mesh)`, sharded over the mesh, and `shared` is as `replicate` gives it.
    """

    def all_items(shared: Any, *items: Any) -> Any:
        arrays, others = eqx.partition(shared, eqx.is_array)

        def one(arrays: Any, *items: Any) -> Any:
            item = jax.tree.map(lambda array: array[0], items)
            results = function(eqx.combine(arrays, others), *item)
            return jax.tree.map(lambda array: array[None], results)

        specs = (PartitionSpec(), *[PartitionSpec(ITEMS)] * len(items))
        # Only the items are divided by hand: XLA divides the classes as the weights are.
        mapped = jax.shard_map(
            one,
            mesh=mesh,
            in_specs=specs,
            out_specs=PartitionSpec(ITEMS),
            axis_names={ITEMS},
            check_vma=False,
        )
        return mapped(arrays, *items)

    return eqx.filter_jit(all_items)


def spread(mesh: Mesh, values: np.ndarray) -> jax.Array:
    """Gives every device its own row.

    Args:
      mesh: From `make_mesh`.
      values: `[width, ...]`, the same in every process.

    Returns:
      The values, sharded over the items of the mesh.
    """
    place = NamedSharding(mesh, PartitionSpec(ITEMS))
    return jax.make_array_from_callback(values.shape, place, lambda index: values[index])


def spread_parts(mesh: Mesh, tree: Any) -> Any:
    """Puts together what each process read for its own devices.

    Args:
      mesh: From `make_mesh`.
      tree: A pytree of arrays `[n, ...]`: this process's rows, as many as every other's.

    Returns:
      Arrays `[processes * n, ...]`, sharded over the items of the mesh.
    """
    place = NamedSharding(mesh, PartitionSpec(ITEMS))
    return jax.tree.map(lambda part: jax.make_array_from_process_local_data(place, part), tree)


def here(tree: Any) -> Any:
    """Returns this process's copy of replicated arrays, on one of its devices."""
    return jax.tree.map(
        lambda leaf: leaf.addressable_data(0) if isinstance(leaf, jax.Array) else leaf, tree
    )


def rows_here(tree: Any) -> Iterator[tuple[int, Any]]:
    """Reads the rows that the devices of this process hold.

    Args:
      tree: A pytree of arrays, sharded over the items of the mesh.

    Yields:
      The number of a row, and that row of each array, in host memory.
    """
    leaves, structure = jax.tree.flatten(tree)
    for shards in zip(*[_own_shards(leaf) for leaf in leaves], strict=True):
        row = shards[0].index[0].start or 0
        yield row, jax.tree.unflatten(structure, [np.asarray(s.data)[0] for s in shards])


def _own_shards(array: jax.Array) -> list[Any]:
    """Returns this process's shards of an array, each once, in the order of their rows."""
    shards = [shard for shard in array.addressable_shards if shard.replica_id == 0]
    return sorted(shards, key=lambda shard: shard.index[0].start or 0)


def from_first_process(values: np.ndarray) -> np.ndarray:
    """Lets every process know what the first one does, and waits for all of them.

    Args:
      values: Numbers; the same shape in every process.

    Returns:
      Those of the first process.
    """
    return np.asarray(multihost_utils.broadcast_one_to_all(values))


def wait_for_all(name: str) -> None:
    """Waits until every process has come to the same place.

    Args:
      name: Of the place.
    """
    multihost_utils.sync_global_devices(name)
