"""Photographs as pixels: decoded, turned upright, cropped to the central square, resized.

The first step of the story: every loader brings its photographs through here.
"""

import os
import warnings
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from mia_jax.runtime import bounds
from mia_jax.runtime.errors import UserError

# Formats of photographs. Pillow knows more, and calls other programs for some, as for PostScript.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def read_image(file: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Decodes a photograph of one of `FORMATS` and of any mode, and turns it upright.

    Args:
      file: Path or binary stream.

    Returns:
      An image of mode L, of mode RGB, or, for gray images of more than eight bits, of mode F with
      values in [0, 255]. Transparent parts are laid on white.

    Raises:
      UserError: The file is no image, or of another format, is damaged or truncated, announces so
        many pixels that Pillow suspects a decompression bomb, or has values out of its format's
        range.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow also warns of damage that it repairs.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=FORMATS) as image:
                image.load()
                return plain(ImageOps.exif_transpose(image))
        except Exception as error:  # Damage surfaces as OSError, SyntaxError, struct.error, ...
            raise UserError(f"the file is not a readable image ({error})") from error


def plain(image: Image.Image) -> Image.Image:
    """Converts any mode to L or RGB or, beyond eight bits, to F with values in [0, 255]."""
    if image.mode == "F" or image.mode.startswith("I"):  # I, I;16, I;16B, ...
        highest = 1.0 if image.mode == "F" else 65535.0
        values = np.asarray(image.convert("F"))
        if not ((values >= 0) & (values <= highest)).all():  # Nor is NaN accepted.
            raise ValueError(f"values of mode {image.mode} must be in [0, {highest:g}]")
        return Image.fromarray(values * np.float32(255 / highest))
    gray = image.mode in ("1", "L", "LA")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image.convert("RGBA"))
    return image.convert("L" if gray else "RGB")


def square(image: Image.Image, image_size: int) -> Image.Image:
    """Crops the central square and resizes it; Pillow widens its filter to avoid aliasing."""
    return ImageOps.fit(image, (image_size, image_size), Image.Resampling.BICUBIC)


def pixels(image: Image.Image, channels: int) -> np.ndarray:
    """Converts an image of `plain` to float32 in [0, 1], `[height, width, 1 or channels]`."""
    if channels == 1 and image.mode == "RGB":
        image = image.convert("L")
    values = np.asarray(image, np.float32) / 255
    # The bicubic filter overshoots at edges; Pillow clips only eight-bit images.
    return np.clip(values if values.ndim == 3 else values[..., np.newaxis], 0, 1)


def picture(image: np.ndarray) -> Image.Image:
    """Turns pixels into an image of mode L or RGB: the way back, to eight bits.

    Args:
      image: `[height, width, 1 or 3]`, clipped to [0, 1]; what is no number is black.

    Returns:
      The image.
    """
    levels = np.round(255 * np.nan_to_num(np.clip(image, 0, 1), nan=0.0)).astype(np.uint8)
    return Image.fromarray(levels if levels.shape[-1] == 3 else levels[..., 0])


def check_format(image_size: int, channels: int | None) -> None:
    """Raises UserError unless images of this format can be made."""
    if image_size < 1:
        raise UserError(f"image_size={image_size} is no size in pixels: give 1 or more")
    bounds.check_sides(f"image_size={image_size}", [image_size])
    if channels not in (None, 1, 3):
        raise UserError(
            f"channels={channels} is not possible: give 1 (gray), 3 (RGB) or None (as they are)"
        )
