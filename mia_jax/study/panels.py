"""Panels: a picture beside photographs of a person, for judges that answer yes or no.

The folder of panels can be given to anybody who may see the photographs, a person or a model: names
and order say nothing, the key stays at home. Panels of real photographs, of the person and of
others, tell how well the judge sees.

Source: the layout and the question are those of S. Ho et al., "Revisiting model inversion
evaluation", arXiv 2505.03519, whose choice of photographs had no seed.
"""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mia_jax.evidence import panels
from mia_jax.evidence.panels import Panel
from mia_jax.faces.protocol import shuffled
from mia_jax.runtime.errors import UserError
from mia_jax.study import pictures

QUESTION = (
    "Does Image A depict the same individual as the images in Set B? Take face aging, lighting, "
    "different hair styles, and wearing or not wearing of eyeglasses or other accessories into "
    "account. Only answer yes or no."
)
BESIDE = 4  # Photographs in set B; fewer where a person has fewer.
_CONTROLS = 4  # Panels of each person's photographs, and as many of others', at most.
_GAP, _EDGE, _LABEL = 64, 8, 32


class Faces(NamedTuple):
    """One person's pictures, all `[n, height, width, channels]` in [0, 1].

    Attributes:
      clones: Clones of the person.
      training: Photographs that trained the target, to stand beside.
      test: Photographs that did not.
    """

    clones: np.ndarray
    training: np.ndarray
    test: np.ndarray


class Drawn(NamedTuple):
    """A panel.

    Attributes:
      panel: What it is.
      image: A PNG file.
    """

    panel: Panel
    image: bytes


def draw_all(faces: dict[str, Faces], seed: int) -> dict[str, Drawn]:
    """Draws all panels.

    Args:
      faces: The pictures of each person.
      seed: Of every choice.

    Returns:
      The panels by name, in an order that says nothing.

    Raises:
      UserError: If there are fewer than two people.
    """
    if len(faces) < 2:
        raise UserError(f"panels need two people at least, not {len(faces)}")
    listed: list[tuple[Panel, np.ndarray]] = []
    for person, own in faces.items():
        strangers = np.concatenate([each.test for name, each in faces.items() if name != person])
        same = _some(own.test, seed, person, "same")
        different = _some(strangers, seed, person, "different")
        for kind, images in zip(panels.KINDS, (own.clones, same, different), strict=True):
            listed += [(Panel(kind, person), image) for image in images]
    order = shuffled(seed, range(len(listed)), "panels")
    found: dict[str, Drawn] = {}
    for number, place in enumerate(order, 1):
        panel, image = listed[place]
        training = faces[panel.person].training
        chosen = shuffled(seed, range(len(training)), "beside", str(place))[:BESIDE]
        found[f"panel-{number:04}"] = Drawn(panel, draw(image, training[chosen]))
    return found


def _some(images: np.ndarray, seed: int, *context: str) -> np.ndarray:
    """Chooses a few of many pictures."""
    return images[shuffled(seed, range(len(images)), *context)[:_CONTROLS]]


def draw(image: np.ndarray, beside: Sequence[np.ndarray] | np.ndarray) -> bytes:
    """Draws a panel.

    Args:
      image: `[height, width, channels]` in [0, 1]: image A.
      beside: Pictures like it: set B.

    Returns:
      An uncompressed PNG file, always of the same size for as many pictures.
    """
    side = pictures.SIDE
    width = 2 * _EDGE + side + _GAP + BESIDE * side + (BESIDE - 1) * _EDGE
    canvas = Image.new("RGB", (width, side + _LABEL + _EDGE), "white")
    pen = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(20)
    start = _EDGE + side + _GAP
    places = [_EDGE, *(start + place * (side + _EDGE) for place in range(len(beside)))]
    pen.text((_EDGE, 3), "Image A", "black", font)
    pen.text((start, 3), "Set of images B", "black", font)
    for left, each in zip(places, (image, *beside), strict=True):
        pixels = pictures.uniform(each)
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        canvas.paste(picture.convert("RGB"), (left, _LABEL))
    buffer = io.BytesIO()
    canvas.save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()
