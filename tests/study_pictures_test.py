"""Tests of pictures as observers get them: a file tells nothing of what it shows."""

import io

import numpy as np
import pytest
from PIL import Image

from mia_jax.study import links, pictures


@pytest.mark.parametrize("channels", [1, 3])
def test_all_files_have_one_size_format_and_length(channels):
    rng = np.random.default_rng(0)
    shown = [
        np.zeros((16, 16, channels)),
        rng.random((64, 64, channels)),
        np.full((200, 200, channels), np.nan),
        np.full((16, 16, channels), 7.0),
    ]
    files = [
        pictures.encode(pictures.uniform(each), f"name{i}".encode()) for i, each in enumerate(shown)
    ]
    files += [pictures.encode(each, b"practice") for each in pictures.practice(channels)]
    assert len({len(file) for file in files}) == 1
    for file in files:
        with Image.open(io.BytesIO(file)) as image:
            assert (image.format, image.size) == ("PNG", (192, 192))
            assert image.mode == ("L" if channels == 1 else "RGB")
            assert image.info == {}


def test_the_same_picture_is_another_file_each_time_and_looks_the_same():
    pixels = pictures.uniform(np.random.default_rng(0).random((32, 32, 1)))
    one, other = (pictures.encode(pixels, name) for name in (b"one", b"other"))
    assert one != other and one == pictures.encode(pixels, b"one")
    for file in (one, other):
        seen = np.asarray(Image.open(io.BytesIO(file))).astype(int)
        assert np.abs(seen - pixels[..., 0]).max() <= 1


def test_whoever_knows_a_picture_s_name_does_not_know_its_noise():
    """The noise of a place is the study's own: with another secret the file is another."""
    pixels = pictures.uniform(np.random.default_rng(0).random((32, 32, 1)))
    one, other = (links.Links(letter * links.SECRET_BYTES) for letter in (b"a", b"b"))
    files = {pictures.encode(pixels, each.noise("1-left")) for each in (one, other)}
    files |= {pictures.encode(pixels, b"1-left"), pictures.encode(pixels, one.noise("1-right"))}
    assert len(files) == 4
