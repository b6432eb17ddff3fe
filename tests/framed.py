"""The gallery as people have photographs: faces somewhere in white pictures, and who finds them."""

import numpy as np
from gallery import PEOPLE, SIDE, photographs
from PIL import Image

from mia_jax.faces.alignment import ALIGNMENTS

CANVAS = 48
CHIPS = ALIGNMENTS["arcface112"]


def write(root):
    """Writes `gallery` and `public` as `gallery.write` does, each face at a place of its own."""
    generator = np.random.default_rng(0)
    for person, pictures in enumerate(photographs()):
        for number, picture in enumerate(pictures):
            folder = root / "gallery" / f"p{person}" if person < PEOPLE else root / "public"
            folder.mkdir(parents=True, exist_ok=True)
            top, left = generator.integers(0, CANVAS - SIDE, 2)
            canvas = np.full((CANVAS, CANVAS, 3), 255, np.uint8)
            canvas[top : top + SIDE, left : left + SIDE] = picture
            Image.fromarray(canvas).save(folder / f"{person}_{number}.png")
    Image.new("RGB", (CANVAS, CANVAS), "white").save(root / "gallery" / "p2" / "nobody.png")
    return root


def points():
    """Finds what is not white, in place of `landmarks.dlib_points`."""

    def find(photograph):
        rows, columns = np.nonzero((np.asarray(photograph) < 255).any(axis=-1))
        if not len(rows):
            return np.empty((0, 5, 2))
        return CHIPS.points_at(SIDE)[None] + [columns.min(), rows.min()]

    return find
