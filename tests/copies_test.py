"""Tests that copies are found whatever was done to them, and different photographs never are."""

import functools
import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from mia_jax import faces
from mia_jax.faces import copies, images

SIDE = 64


@functools.cache
def orl(side=SIDE):
    return faces.load_orl(image_size=side)


def recompressed(picture, quality):
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file)


def cropped(picture, kept, right=0.0):
    side = picture.width
    edge = (1 - kept) / 2
    box = [side * each for each in (edge + right, edge, 1 - edge + right, 1 - edge)]
    return picture.resize(picture.size, Image.Resampling.BICUBIC, box)


WAYS = {
    "exact": lambda picture: picture,
    "resized": lambda picture: picture.resize((40, 40), Image.Resampling.LANCZOS),
    "recompressed": lambda picture: recompressed(picture, 30),
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "brightened": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "flattened": lambda picture: ImageEnhance.Contrast(picture).enhance(0.6),
    "in color": lambda picture: Image.merge("RGB", [picture] * 3),
    "cropped": lambda picture: cropped(picture, 0.97),
    "cropped, moved and mirrored": lambda picture: cropped(
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 0.97, 0.01
    ),
    "resized, recompressed and brightened": lambda picture: ImageEnhance.Brightness(
        recompressed(picture.resize((48, 48), Image.Resampling.BICUBIC), 60)
    ).enhance(1.2),
}


@pytest.mark.parametrize("way", WAYS)
def test_copies_are_found_whatever_was_done_to_them(way):
    loaded = orl()
    places = np.arange(3, 400, 20)
    pictures = [WAYS[way](images.picture(loaded.images[place])) for place in places]
    made = np.stack([images.pixels(images.square(each, SIDE), 3) for each in pictures])
    found = copies.find(made, loaded.images)
    assert len(found) >= 0.9 * len(places)
    np.testing.assert_array_equal(places[found[:, 0]], found[:, 1])


@pytest.mark.parametrize("side", [32, 64, 128])
def test_different_photographs_are_none_though_they_are_of_one_person_and_very_alike(side):
    loaded = orl(side)
    for number in (0, 3):
        suspects = np.arange(400) % 10 == number
        assert not len(copies.find(loaded.images[suspects], loaded.images[~suspects]))


def test_photographs_of_one_person_are_not_compared_where_it_is_said_who_is_who():
    loaded = orl()
    everybody = loaded.identities
    assert not len(copies.find(loaded.images, loaded.images, (everybody, everybody)))
    swapped = loaded.images.copy()
    swapped[7] = swapped[395, :, ::-1]
    found = copies.find(swapped, swapped, (everybody, everybody))
    np.testing.assert_array_equal(found, [[7, 395], [395, 7]])


def test_a_picture_of_nothing_is_no_copy():
    flat = np.full((2, 16, 16, 1), 0.5, np.float32)
    assert copies.find(flat, flat).shape == (0, 2)
    assert copies.find(flat[:0], flat).shape == (0, 2)
