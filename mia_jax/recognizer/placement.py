"""How a recognizer is divided over devices: rules for `sharding.place`.

In training each device convolves its part of the batch, and holds its part of the fully connected
layers (A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014): so
the 20 MB of their gradients never travel, only the activations do. A residual network has no such
layers: all of it is on every device. In the attack each device has a recognizer of its own; only a
last layer with very many classes is split over several.
"""

from collections.abc import Callable

from jax.sharding import PartitionSpec

from mia_jax.recognizer import resnet
from mia_jax.recognizer.network import UNITS
from mia_jax.runtime.sharding import CLASSES, ITEMS

_BY_CLASSES = {
    (layer, name): PartitionSpec(*dimensions)
    for layer in ("L7", resnet.LAST)
    for name, dimensions in (("kernel", (None, CLASSES)), ("bias", (CLASSES,)))
}
# L5 and L6 are divided by outputs, L7 by inputs: activations are put together before L5 and L6, and
# the logits are added up.
_BY_UNITS = {
    ("L5", "kernel"): PartitionSpec(None, ITEMS),
    ("L5", "bias"): PartitionSpec(ITEMS),
    ("L6", "kernel"): PartitionSpec(None, ITEMS),
    ("L6", "bias"): PartitionSpec(ITEMS),
    ("L7", "kernel"): PartitionSpec(ITEMS),
}


def split_classes(path: tuple[str, ...]) -> PartitionSpec:
    """Splits the last layer over the axis "classes", and copies all else to every device.

    Args:
      path: The names on the way to an array of a recognizer, ending in layer and name.

    Returns:
      How its dimensions are divided.
    """
    return _BY_CLASSES.get(_last_two(path), PartitionSpec())


def split_units(width: int) -> Callable[[tuple[str, ...]], PartitionSpec]:
    """Divides the fully connected layers over the axis "items", and copies all else.

    Args:
      width: Devices on that axis. Where their number does not divide the layers' units, every
        device gets all of them.

    Returns:
      The rule, for a recognizer or a state of training with the optimizer's moments.
    """
    divided = {} if UNITS % width else _BY_UNITS
    return lambda path: divided.get(_last_two(path), PartitionSpec())


def _last_two(path: tuple[str, ...]) -> tuple[str, str]:
    """Returns layer and name, wherever in a larger tree they are."""
    *_, layer, name = ("", "", *path)
    return layer, name
