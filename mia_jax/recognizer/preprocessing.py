"""What a model from elsewhere wants its pictures to be: size, order of channels, range, crop.

Everything here takes pictures `[n, height, width, channels]` in [0, 1], as the attack makes them,
and `prepare` turns them into what the model takes; gradients flow through it. Where a face has to
be is said here too, and it is brought there when photographs are read, by `faces.alignment`.
"""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from mia_jax.faces import alignment
from mia_jax.faces.alignment import Alignment
from mia_jax.recognizer.architectures import ApplyFn
from mia_jax.recognizer.importers.model import spell
from mia_jax.runtime import bounds, storage
from mia_jax.runtime.errors import MissingError, UserError

RGB, BGR, GRAY = "RGB", "BGR", "gray"
ORDERS = (RGB, BGR, GRAY)
_LUMA = (0.299, 0.587, 0.114)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """What a model wants its pictures to be.

    Attributes:
      size: Height and width.
      channels: Their order: RGB, BGR or gray.
      range: The value of white, before mean and deviation; black is 0.
      mean: What is subtracted, one number or one for each channel in the model's order.
      deviation: What it is divided by after that, alike.
      crop: The part of the photograph's side that the model sees, in (0, 1]: the middle of it.
      align: Where five points of a face have to be; None where photographs are taken as they are.

    Raises:
      UserError: If a value is out of range, naming it.
    """

    size: tuple[int, int]
    channels: str = RGB
    range: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    crop: float = 1.0
    align: Alignment | None = None

    def __post_init__(self) -> None:
        """Checks the values."""
        if self.channels not in ORDERS:
            raise UserError(f"channels={self.channels} is no order: give {', '.join(ORDERS)}")
        if len(self.size) != 2 or min(self.size) < 1:
            raise UserError(f"size={self.size} is no size in pixels: give height and width")
        for name in ("mean", "deviation"):
            if not all(map(math.isfinite, getattr(self, name))):
                raise UserError(f"{name}={getattr(self, name)} is not finite: give numbers")
        if not 0 < self.range < math.inf:
            raise UserError(f"range={self.range} is no value of white: 1 and 255 are usual")
        for name in ("mean", "deviation"):
            if len(getattr(self, name)) not in (1, self.count):
                raise UserError(
                    f"{name}={getattr(self, name)} does not fit {self.channels}: give one number, "
                    f"or {self.count}"
                )
        if not all(each > 0 for each in self.deviation):
            raise UserError(f"deviation={self.deviation} cannot be divided by: give more than 0")
        if not 0 < self.crop <= 1:
            raise UserError(f"crop={self.crop} is no part of a side: give more than 0, at most 1")
        said = f"size={self.size}, of which crop={self.crop} is seen,"
        bounds.check_sides(said, [max(self.size) / self.crop])
        if self.align and self.crop != 1:
            raise UserError(
                f"crop={self.crop} does not go with align, whose points say what the model sees: "
                "leave it out"
            )
        if self.align and not fits(self.align, self.size):
            raise UserError(
                f"align is of {_sides(self.align.size)} pixels, and the model's size is "
                f"{_sides(self.size)}: give size and points of its own proportions"
            )

    @property
    def count(self) -> int:
        """The number of channels."""
        return 1 if self.channels == GRAY else 3

    @property
    def photograph_side(self) -> int:
        """The side of a square photograph of which the model sees `crop`, at its own size."""
        return round(max(self.size) / self.crop)


def fits(align: Alignment, size: Sequence[int]) -> bool:
    """Tells whether a chip has the proportions of a picture, so that it can be resized to it."""
    return align.size[0] * size[1] == align.size[1] * size[0]


def _sides(size: Sequence[int]) -> str:
    """Spells height and width."""
    return "x".join(map(str, size))


FIELDS = tuple(field.name for field in dataclasses.fields(Preprocessing))


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a small JSON file with some of the fields of a `Preprocessing`.

    Args:
      path: The file, such as {"size": 112, "channels": "BGR", "range": 255, "mean": 127.5}.

    Returns:
      The fields that are there, with numbers turned into tuples and align into an `Alignment`.

    Raises:
      MissingError: If there is no such file.
      UserError: If it is no JSON object, or a field is unknown or of another type.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise MissingError(f"{path} does not exist: name a JSON file that describes the pictures")
    try:
        given = storage.parse_json(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no JSON ({error})") from error
    if not isinstance(given, dict):
        raise UserError(f"{path} holds no object: give some of {', '.join(FIELDS)}")
    for name, value in given.items():
        numbers = value if isinstance(value, list) else [value]
        numeric = all(isinstance(n, int | float) and not isinstance(n, bool) for n in numbers)
        if name not in FIELDS:
            raise UserError(f"{path}: {name} is unknown: give some of {', '.join(FIELDS)}")
        if name != "align" and not (isinstance(value, str) if name == "channels" else numeric):
            raise UserError(f"{path}: {name}={value!r} is of another type than is needed")
    try:
        return fields(given)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def fields(given: Mapping[str, Any]) -> dict[str, Any]:
    """Turns single numbers into the tuples of a `Preprocessing`, and what says align into one.

    Args:
      given: Fields by name; size is a side or two, mean and deviation one number or several, align
        what `alignment.parse` takes.

    Returns:
      The same, to be given to `Preprocessing`.

    Raises:
      UserError: If the size is no whole number of pixels, nor two, or align is none.
    """
    found = dict(given)
    if "align" in found:
        found["align"] = alignment.parse(found["align"])
    for name in ("size", "mean", "deviation"):
        if name in found:
            value = found[name]
            many = tuple(value) if isinstance(value, Sequence) else (value,)
            found[name] = many * 2 if name == "size" and len(many) == 1 else many
    if "size" in found:
        sides = found["size"]
        if len(sides) != 2 or not all(math.isfinite(n) and n >= 1 and n == int(n) for n in sides):
            said = ",".join(f"{n:g}" for n in (given["size"] if len(sides) != 2 else sides))
            raise UserError(
                f"size={said} is no size: give the side in whole pixels, or height and width"
            )
        found["size"] = tuple(int(side) for side in sides)
    return found


def of_model(
    name: str,
    image_shape: Sequence[int | None],
    given: Mapping[str, Any],
    words: Mapping[str, str],
) -> Preprocessing:
    """Puts together what was said of a model's pictures, and what its file says.

    Args:
      name: What to call the model in an error.
      image_shape: Height, width and channels; None for what the model leaves open.
      given: Fields of a `Preprocessing` by name.
      words: Where each of them can be said, by name.

    Returns:
      How its pictures are prepared.

    Raises:
      UserError: If the size is not known, or size or channels are not the model's.
    """
    *sides, channels = image_shape
    wanted = dict(given)
    if None in sides and "size" not in wanted:
        raise UserError(
            f"{name} takes pictures of any size ({spell(image_shape)}): say with {words['size']} "
            "which it was trained on"
        )
    wanted.setdefault("size", tuple(sides))
    if any(own not in (None, said) for own, said in zip(sides, wanted["size"], strict=True)):
        raise UserError(
            f"{words['size']}={'x'.join(map(str, wanted['size']))} is not that of {name}, which "
            f"takes {spell(sides)}"
        )
    wanted.setdefault("channels", GRAY if channels == 1 else RGB)
    how = Preprocessing(**wanted)
    if channels not in (None, how.count):
        raise UserError(
            f"{words['channels']}={how.channels} does not fit {name}, which takes {channels} "
            "channels"
        )
    return how


def prepare(how: Preprocessing, images: jax.Array) -> jax.Array:
    """Turns pictures into what a model takes.

    Args:
      how: What it wants.
      images: `[n, height, width, 1 or 3]` in [0, 1].

    Returns:
      `[n, *how.size, how.count]`.
    """
    x = _resized(_middle(images, how), how.size)
    if x.shape[-1] != how.count:
        gray = how.channels == GRAY
        x = (
            (x * jnp.array(_LUMA, x.dtype)).sum(-1, keepdims=True)
            if gray
            else jnp.repeat(x, 3, axis=-1)
        )
    x = x[..., ::-1] if how.channels == BGR else x
    mean, deviation = (jnp.array(each, x.dtype) for each in (how.mean, how.deviation))
    return (how.range * x - mean) / deviation


def _middle(images: jax.Array, how: Preprocessing) -> jax.Array:
    """Crops the middle, in the proportions that the model wants."""
    height, width = images.shape[1:3]
    scale = how.crop * min(height / how.size[0], width / how.size[1])
    rows, columns = (round(scale * side) for side in how.size)
    top, left = (height - rows) // 2, (width - columns) // 2
    return images[:, top : top + rows, left : left + columns]


def _resized(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes pictures, against aliasing, where they are of another size."""
    if images.shape[1:3] == size:
        return images
    shape = (images.shape[0], *size, images.shape[-1])
    return jax.image.resize(images, shape, "linear", antialias=True)


def preparing(apply_fn: ApplyFn, how: Preprocessing) -> ApplyFn:
    """Lets a model take pictures in [0, 1].

    Args:
      apply_fn: The model, of weights and what `prepare` makes.
      how: What it wants.

    Returns:
      The model, of weights and pictures `[n, height, width, 1 or 3]` in [0, 1].
    """
    return lambda params, images: apply_fn(params, prepare(how, images))


_OTHER = {BGR: RGB, RGB: BGR}
_RANGES = {
    "in [0, 1]": {"range": 1.0, "mean": (0.0,), "deviation": (1.0,)},
    "in [0, 255]": {"range": 255.0, "mean": (0.0,), "deviation": (1.0,)},
    "in [-1, 1]": {"range": 1.0, "mean": (0.5,), "deviation": (0.5,)},
}
_IMAGENET = {"range": 1.0, "mean": (0.485, 0.456, 0.406), "deviation": (0.229, 0.224, 0.225)}


def alternatives(how: Preprocessing) -> dict[str, Preprocessing]:
    """Lists the mistakes that are usual: another order of channels, another range, or both.

    Args:
      how: What was said.

    Returns:
      What may have been meant, by what to call it.
    """
    color = how.channels in _OTHER
    ranges: dict[str, dict[str, Any]] = {"": {}, **_RANGES}
    if color:
        ranges["normalized as for ImageNet"] = dict(_IMAGENET)
    found: dict[str, Preprocessing] = {}
    for order in (how.channels, _OTHER[how.channels]) if color else (how.channels,):
        for name, values in ranges.items():
            other = dataclasses.replace(how, channels=order, **values)
            words = [order] * (order != how.channels) + [name] * bool(name)
            if other != how and other not in found.values():
                found[" ".join(words)] = other
    return found


def aligned(how: Preprocessing) -> dict[str, Preprocessing]:
    """Lists the usual alignments of photographs that were taken as they are.

    Args:
      how: What was said.

    Returns:
      What may have been meant, by what to call it; nothing where an alignment was said, or none has
      the proportions of the model's pictures.
    """
    if how.align:
        return {}
    return {
        f"aligned (--align={name})": dataclasses.replace(how, crop=1.0, align=each)
        for name, each in alignment.ALIGNMENTS.items()
        if fits(each, how.size)
    }
