"""Pictures in [0, 1] become what a model takes."""

import json

import jax
import numpy as np
import pytest

from mia_jax.faces.alignment import ALIGNMENTS
from mia_jax.recognizer import preprocessing
from mia_jax.recognizer.preprocessing import Preprocessing
from mia_jax.runtime.errors import UserError

IMAGES = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Preprocessing((8, 8)), IMAGES),
        (Preprocessing((8, 8), "BGR"), IMAGES[..., ::-1]),
        (Preprocessing((8, 8), "gray"), (IMAGES @ [0.299, 0.587, 0.114])[..., None]),
        (
            Preprocessing((8, 8), range=255, mean=(127.5,), deviation=(128,)),
            (IMAGES * 255 - 127.5) / 128,
        ),
        (
            Preprocessing((8, 8), "BGR", mean=(0.1, 0.2, 0.3), deviation=(1, 2, 4)),
            (IMAGES[..., ::-1] - [0.1, 0.2, 0.3]) / [1, 2, 4],
        ),
        (Preprocessing((4, 4), crop=0.5), IMAGES[:, 2:6, 2:6]),
        (Preprocessing((8, 4)), IMAGES[:, :, 2:6]),
    ],
)
def test_pictures_are_prepared(how, expected):
    given = preprocessing.prepare(how, IMAGES)
    np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5)


def test_gray_photographs_become_three_channels():
    gray = IMAGES[..., :1]
    given = preprocessing.prepare(Preprocessing((8, 8)), gray)
    np.testing.assert_array_equal(given, np.repeat(gray, 3, axis=-1))


def test_another_size_is_a_mean_of_pixels_with_a_gradient():
    how = Preprocessing((4, 4))
    given = preprocessing.prepare(how, np.full((1, 8, 8, 3), 0.3, np.float32))
    np.testing.assert_allclose(given, 0.3, rtol=1e-5)
    gradient = jax.grad(lambda x: preprocessing.prepare(how, x).sum())(IMAGES)
    np.testing.assert_allclose(gradient.sum(), 2 * 4 * 4 * 3, rtol=1e-4)


def test_the_usual_mistakes_are_listed_once():
    how = Preprocessing((8, 8), "BGR", range=255.0)
    found = preprocessing.alternatives(how)
    assert how not in found.values()
    assert len(set(map(str, found.values()))) == len(found)
    assert found["RGB"].range == 255 and found["RGB in [0, 1]"].range == 1
    assert found["in [-1, 1]"].channels == "BGR"
    assert set(preprocessing.alternatives(Preprocessing((8, 8), "gray"))) == {
        "in [0, 255]",
        "in [-1, 1]",
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"channels": "RGBA"}, "channels=RGBA is no order: give RGB, BGR, gray"),
        ({"size": (0, 4)}, "is no size in pixels"),
        ({"range": 0.0}, "range=0.0 is no value of white"),
        ({"deviation": (0.0,)}, "cannot be divided by"),
        ({"mean": (1.0, 2.0)}, "give one number, or 3"),
        ({"crop": 1.5}, "crop=1.5 is no part of a side"),
        ({"crop": 0.9, "align": ALIGNMENTS["arcface112"]}, "crop=0.9 does not go with align"),
        (
            {"size": (112, 96), "align": ALIGNMENTS["arcface112"]},
            "align is of 112x112 pixels, and the model's size is 112x96: give size and points",
        ),
        ({"size": (10**9, 10**9)}, "asks for pictures of 1e[+]09 pixels: a side has at most 4096"),
        ({"crop": 1e-320}, "asks for pictures of inf pixels"),
    ],
)
def test_values_out_of_range_are_refused(values, words):
    with pytest.raises(UserError, match=words):
        Preprocessing(**{"size": (8, 8), **values})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[1]", "holds no object"),
        ("{", "is no JSON"),
        ('{"size": "big"}', "size='big' is of another type"),
        ('{"channels": 3}', "channels=3 is of another type"),
        ('{"align": 112}', "how.json: align=112 is unknown: give arcface112, none, or an object"),
        ('{"align": {"size": [8, 8]}}', "how.json: align=.* is unknown"),
        ('{"crops": 1}', "crops is unknown: give some of size, channels, range"),
    ],
)
def test_a_file_that_says_nothing_clear_is_refused(content, words, tmp_path):
    path = tmp_path / "how.json"
    path.write_text(content)
    with pytest.raises(UserError, match=words):
        preprocessing.read(path)


def test_a_file_may_say_little(tmp_path):
    path = tmp_path / "how.json"
    path.write_text('{"size": 112, "mean": [1, 2, 3], "range": 255}')
    how = Preprocessing(**preprocessing.read(path))
    assert (how.size, how.mean, how.range, how.channels) == ((112, 112), (1, 2, 3), 255, "RGB")


@pytest.mark.parametrize(
    "said", ["arcface112", {"size": [112, 112], "points": ALIGNMENTS["arcface112"].points}]
)
def test_a_file_may_say_where_faces_are(said, tmp_path):
    path = tmp_path / "how.json"
    path.write_text(json.dumps({"size": 160, "align": said}))
    assert Preprocessing(**preprocessing.read(path)).align == ALIGNMENTS["arcface112"]


def test_alignment_is_tried_where_its_chips_fit_and_none_was_said():
    how = Preprocessing((64, 64), crop=0.8)
    (name, other), *more = preprocessing.aligned(how).items()
    assert (name, more) == ("aligned (--align=arcface112)", [])
    assert (other.align, other.crop) == (ALIGNMENTS["arcface112"], 1)
    assert preprocessing.aligned(other) == preprocessing.aligned(Preprocessing((112, 96))) == {}
