"""Pictures as observers get them: all of one size, one format and one length in bytes.

A file must not tell what it shows: photographs and clones go through the same steps, nothing is
compressed, and wherever a picture is sent its last bits differ, by a key that follows from the
secret. So no two files are equal, and nobody can take the difference away by a name. Whoever
compares pixels still sees that two files are of one picture, as eyes do.
"""

import hashlib
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 192
PRACTICE = 4  # Drawn faces: one to recognize, and three to choose among.


def uniform(image: np.ndarray) -> np.ndarray:
    """Brings a picture to the size of all.

    Args:
      image: `[height, width, channels]` in [0, 1], 1 or 3 channels.

    Returns:
      `[SIDE, SIDE, channels]` of 8 bits.
    """
    scaled = np.clip(np.nan_to_num(np.asarray(image)), 0, 1) * 255 + 0.5
    resized = _picture(scaled.astype(np.uint8)).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(resized).reshape(SIDE, SIDE, -1)


def encode(pixels: np.ndarray, key: bytes) -> bytes:
    """Writes a picture as a file whose length depends on nothing but its shape.

    Args:
      pixels: `[SIDE, SIDE, channels]` of 8 bits.
      key: Of the place where it is sent (`Links.noise`); another one changes some values by one.

    Returns:
      An uncompressed PNG file without any comment or date.
    """
    seed = int.from_bytes(hashlib.sha256(key).digest()[:16])
    noise = np.random.default_rng(seed).integers(-1, 2, pixels.shape, np.int16)
    buffer = io.BytesIO()
    disturbed = np.clip(pixels + noise, 0, 255).astype(np.uint8)
    _picture(disturbed).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def practice(channels: int) -> list[np.ndarray]:
    """Draws faces of nobody, for practice.

    Args:
      channels: Of all pictures.

    Returns:
      `PRACTICE` pictures: the first is the second out of focus.
    """
    drawn = [_face(*kind) for kind in ((60, 18, -6), (44, 8, 0), (72, 12, 8))]
    shown = [drawn[0].filter(ImageFilter.GaussianBlur(6)), *drawn]
    gray = [np.asarray(each)[..., None] for each in shown]
    return [np.repeat(each, channels, axis=-1) for each in gray]


def _face(half: int, hair: int, mouth: int) -> Image.Image:
    """Draws a face of some width, with more or less hair, and a mouth that smiles or not."""
    image = Image.new("L", (SIDE, SIDE), 205)
    draw = ImageDraw.Draw(image)
    middle = SIDE // 2
    draw.ellipse((middle - half - 6, 26 - hair, middle + half + 6, 120), fill=70)
    draw.ellipse((middle - half, 40, middle + half, 172), fill=165)
    for side in (-1, 1):
        eye = middle + side * half // 2
        draw.ellipse((eye - 9, 88, eye + 9, 100), fill=245)
        draw.ellipse((eye - 4, 89, eye + 4, 99), fill=30)
        draw.line((eye - 12, 80, eye + 12, 80 - abs(mouth) // 2), fill=60, width=4)
    draw.line((middle, 98, middle - 5, 122, middle + 5, 122), fill=110, width=4)
    bend = [(middle + x, 146 - mouth * x * x // 400) for x in range(-24, 25)]
    draw.line(bend, fill=70, width=5)
    return image


def _picture(pixels: np.ndarray) -> Image.Image:
    """Wraps `[height, width, channels]` of 8 bits, 1 or 3 channels."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
