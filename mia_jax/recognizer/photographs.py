"""Photographs of the people whom a recognizer learns, arranged in batches.

Between `faces.protocol`, which says whose photographs train which recognizer, and `training`.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import grain
import jax
import numpy as np

from mia_jax.faces.protocol import Split
from mia_jax.faces.sources import Faces, Images
from mia_jax.runtime import sharding
from mia_jax.runtime.errors import UserError


class Photographs(NamedTuple):
    """Some of the photographs and their classes.

    Attributes:
      images: All photographs, in memory or streamed.
      indices: `[n]`: which of them.
      labels: `[n]` int32: the class of each.
    """

    images: Images
    indices: np.ndarray
    labels: np.ndarray


class Batches(NamedTuple):
    """The batches of a training.

    Attributes:
      read: From the number of the step, from 0, to `(images, labels)`, sharded over the mesh.
      epoch: Steps in which each photograph is shown once, rounded.
    """

    read: Callable[[int], tuple[jax.Array, jax.Array]]
    epoch: int


def pick(loaded: Faces, names: Sequence[str], split: Split) -> Photographs:
    """Picks some photographs of a recognizer's people.

    Args:
      loaded: All faces.
      names: The people, in the order of the classes.
      split: Which photographs of each person.

    Returns:
      Their photographs, labeled by the place of the person.
    """
    positions = [loaded.indices_of(name)[list(split[name])] for name in names]
    labels = np.repeat(np.arange(len(positions), dtype=np.int32), [len(part) for part in positions])
    return Photographs(loaded.images, np.concatenate(positions), labels)


def batches(
    photographs: Photographs, batch_size: int, seed: int, mesh: jax.sharding.Mesh
) -> Batches:
    """Arranges photographs in shuffled batches, another order in each epoch.

    The batch depends on the number of the step only, so a resumed training sees what an
    uninterrupted one would, and any number of devices sees the same. Photographs in memory are kept
    on the devices; others are read when their batch is, by each process those of its own devices.

    Args:
      photographs: The training photographs.
      batch_size: Photographs in a batch; where there are fewer, as many as divide over the devices.
      seed: Of the order.
      mesh: The devices.

    Returns:
      The batches, and how many make an epoch.

    Raises:
      UserError: If the batch does not divide over the devices.
    """
    images, indices = photographs.images, photographs.indices
    width = sharding.width(mesh)
    size = min(batch_size, len(indices) // width * width)
    if size < 1:
        raise UserError(
            f"{len(indices)} photographs are too few to train on {width} devices: use fewer devices"
        )
    if size % width:
        raise UserError(
            f"batch_size={batch_size} does not divide over {width} devices: give a multiple of that"
        )
    source = grain.MapDataset.source(np.arange(len(indices))).seed(seed).shuffle().repeat()
    order = source.batch(size)
    epoch = max(round(len(indices) / size), 1)

    if isinstance(images, np.ndarray):
        on_devices = sharding.replicate(mesh, (images[indices], photographs.labels))

        def chosen_on_devices(step: int) -> tuple[jax.Array, jax.Array]:
            return _choose(*on_devices, sharding.spread(mesh, np.asarray(order[step])))

        return Batches(chosen_on_devices, epoch)

    share = size // jax.process_count()
    own = order.map(lambda rows: rows[jax.process_index() * share :][:share])

    def chosen(step: int) -> tuple[jax.Array, jax.Array]:
        rows = np.asarray(own[step])
        read = (images[indices[rows]], photographs.labels[rows])
        return sharding.spread_parts(mesh, read)

    return Batches(chosen, epoch)


@jax.jit
def _choose(images: jax.Array, labels: jax.Array, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Picks a batch from photographs on the devices."""
    return images[rows], labels[rows]
