"""The weights of dlib's residual network for faces, from dlib's own file.

The file holds layer after layer, each with its name, its geometry and its weights. Every byte is
read as what the network must have there; nothing in the file decides how much is read.

Source: dlib/serialize.h and dlib/dnn/{tensor,layers,core,input,loss}.h in davisking/dlib.
"""

import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.dlib_resnet import BLOCKS, FEATURES, SIDE, STEM, Convolution, Network
from mia_jax.runtime.errors import UserError


def load(path: str | os.PathLike[str]) -> Network:
    """Reads the network.

    Args:
      path: `dlib_face_recognition_resnet_model_v1.dat`.

    Returns:
      The weights, float32.

    Raises:
      UserError: If the file cannot be read, or is another.
    """
    try:
        with pathlib.Path(path).open("rb") as file:
            return _network(_Reader(file))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not dlib's network for faces ({error})") from error


class _Reader:
    """Reads values that dlib wrote, one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        """Reads from the file's beginning."""
        self._file = file

    def _bytes(self, count: int) -> bytes:
        """Reads so many bytes."""
        found = self._file.read(count)
        if len(found) < count:
            raise ValueError("it ends too early")
        return found

    def _check(self, found: object, expected: object) -> None:
        """Refuses what should not be there."""
        if found != expected:
            where = self._file.tell()
            raise ValueError(f"it has {found!r} before byte {where}, where {expected!r} belongs")

    def integer(self) -> int:
        """Reads an integer: its sign and its number of bytes, then these."""
        (control,) = self._bytes(1)
        if control & 0x70 or not 1 <= control & 0x0F <= 8:
            self._check(control, "the length of an integer")
        magnitude = int.from_bytes(self._bytes(control & 0x0F), "little")
        return -magnitude if control & 0x80 else magnitude

    def integers(self, *expected: int) -> None:
        """Reads integers that are known."""
        for each in expected:
            self._check(self.integer(), each)

    def text(self, expected: str) -> None:
        """Reads a text that is known."""
        self.integers(len(expected))
        self._check(self._bytes(len(expected)), expected.encode())

    def real(self) -> float:
        """Reads a float: an integer, and the power of two that it is multiplied by."""
        mantissa, exponent = self.integer(), self.integer()
        if abs(exponent) > 1023:
            self._check(exponent, "the exponent of a float")
        return float(mantissa) * 2.0**exponent

    def tensor(self, *shape: int) -> np.ndarray:
        """Reads a tensor of a known shape `[samples, channels, height, width]`."""
        self.integers(2, *shape)
        count = int(np.prod(shape))
        found = np.frombuffer(self._bytes(4 * count), "<f4").reshape(shape)
        if not np.isfinite(found).all():
            raise ValueError(f"it has weights that are not finite before byte {self._file.tell()}")
        return found

    def end_layer(self) -> None:
        """Reads what dlib keeps of the training of every layer, here nothing."""
        flags = self._bytes(3)
        if not set(flags) <= set(b"01"):
            self._check(flags, "three flags")
        for _ in range(3):
            self.tensor(0, 0, 0, 0)

    def end(self) -> None:
        """Refuses anything that follows."""
        self._check(self._file.read(1), b"")


def _network(file: _Reader) -> Network:
    """Reads all layers, from the first to the last."""
    file.integers(1)
    file.text("loss_metric_2")
    _ = file.real(), file.real()  # The loss's margin and threshold.
    file.integers(*_versions(), 3)
    file.text("input_rgb_image_sized")
    means = np.array([file.real() for _ in range(3)], np.float32)
    file.integers(SIDE, SIDE)
    stem = _convolution(file, 7, 3, STEM, 2, first=True)
    _plain(file, "relu_")
    _plain(file, "max_pool_2", 3, 3, 2, 2, 0, 0)
    blocks, channels = [], STEM
    for features, halves in BLOCKS:
        first = _convolution(file, 3, channels, features, 2 if halves else 1)
        _plain(file, "relu_")
        second = _convolution(file, 3, features, features, 1)
        if halves:
            _plain(file, "avg_pool_2", 2, 2, 2, 2, 0, 0)
        _plain(file, "add_prev_")
        _plain(file, "relu_")
        blocks.append((first, second))
        channels = features
    _plain(file, "avg_pool_2", 0, 0, 1, 1, 0, 0)
    dense = _dense(file, channels)
    file.end()
    return Network(jnp.asarray(means), stem, tuple(blocks), jnp.asarray(dense))


def _versions() -> Iterator[int]:
    """Lists the versions of how layers are written, of all but the first, from the last on.

    A layer that computes has 2; one that marks a place for `add_prev_` has 1.
    """
    yield from (2, 2)  # The dense layer and the mean over positions.
    for _, halves in reversed(BLOCKS):
        yield from (2, 2)  # relu_ and add_prev_.
        if halves:
            yield from (2, 1, 1)  # avg_pool_2, the skip to the block's input, and its end's mark.
        yield from (2, 2, 2, 2, 2, 1)
    yield from (2, 2, 2)  # max_pool_2, relu_ and affine_.


def _plain(file: _Reader, name: str, *geometry: int) -> None:
    """Reads a layer without weights."""
    file.text(name)
    file.integers(*geometry)
    file.end_layer()


def _convolution(
    file: _Reader, size: int, channels: int, features: int, stride: int, first: bool = False
) -> Convolution:
    """Reads a convolution and the scale and shift after it."""
    shape = (features, channels, size, size)
    count = features * channels * size * size
    padding = 0 if stride > 1 else size // 2
    file.text("con_4")
    weights = file.tensor(count + features, 1, 1, 1).ravel()
    file.integers(features, size, size, stride, stride, padding, padding)
    _parts(file, shape, (1, features, 1, 1))
    _rates(file)
    file.end_layer()
    if first:
        file.integers(1)  # Samples for each image.
    file.text("affine_")
    scale, shift = file.tensor(2 * features, 1, 1, 1).reshape(2, features)
    _parts(file, *[(1, features, 1, 1)] * 2)
    file.integers(0)
    file.end_layer()
    kernel = weights[:count].reshape(shape).transpose(2, 3, 1, 0)
    return Convolution(jnp.asarray(kernel * scale), jnp.asarray(weights[count:] * scale + shift))


def _dense(file: _Reader, channels: int) -> np.ndarray:
    """Reads the last layer: `[channels, features]`."""
    file.text("fc_2")
    file.integers(FEATURES, channels)
    weights = file.tensor(channels, FEATURES, 1, 1)
    _parts(file, (channels, FEATURES, 1, 1), (0, 0, 0, 0))
    file.integers(1)  # Without a bias.
    _rates(file)
    file.end_layer()
    return weights[:, :, 0, 0]


def _parts(file: _Reader, *shapes: Sequence[int]) -> None:
    """Reads the shapes of the parts that a layer's weights consist of."""
    for shape in shapes:
        file.integers(1, *shape)


def _rates(file: _Reader) -> None:
    """Reads how fast the layer learned, which does not matter any more."""
    for _ in range(4):
        file.real()
