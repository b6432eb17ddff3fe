"""Faces come to where a recognizer has them, whatever their size, turn and place before."""

import numpy as np
import pytest
from PIL import Image

from mia_jax.faces import alignment
from mia_jax.faces.alignment import ALIGNMENTS, Alignment
from mia_jax.recognizer import preprocessing
from mia_jax.recognizer.preprocessing import Preprocessing
from mia_jax.runtime.errors import UserError

USUAL = ALIGNMENTS["arcface112"]
POINTS = [list(point) for point in USUAL.points]
NARROW = Alignment((112, 96), tuple((x - 8, y) for x, y in USUAL.points))


def moved(points, scale, degrees, shift):
    """Turns, scales and shifts points, as complex numbers."""
    found = scale * np.exp(1j * np.deg2rad(degrees)) * (points[:, 0] + 1j * points[:, 1])
    return np.stack([found.real, found.imag], axis=1) + shift


@pytest.mark.parametrize(
    ("scale", "degrees", "shift"), [(1, 0, (0, 0)), (3.5, 25, (40, -7)), (0.2, -170, (1, 2))]
)
def test_a_known_move_is_found_again(scale, degrees, shift):
    points = np.random.default_rng(0).normal(size=(5, 2))
    found = alignment.similarity(points, moved(points, scale, degrees, shift))
    turn = np.deg2rad(degrees)
    expected = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    np.testing.assert_allclose(found[:2, :2], expected, atol=1e-9)
    np.testing.assert_allclose(found[:2, 2], shift, atol=1e-9)


def test_points_that_cannot_all_be_met_are_met_in_least_squares():
    generator = np.random.default_rng(1)
    points, others = generator.normal(size=(2, 5, 2))
    one, other = (each @ [1, 1j] for each in (points, others))
    # The closed form over complex numbers: a line through pairs of points.
    centered = one - one.mean()
    factor = np.vdot(centered, other - other.mean()) / np.vdot(centered, centered)
    expected = factor * centered + other.mean()
    found = (np.c_[points, np.ones(5)] @ alignment.similarity(points, others)[:2].T) @ [1, 1j]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def drawn(points, deviation, size, mode):
    """A picture with a spot at each point."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    squares = [(columns - x) ** 2 + (rows - y) ** 2 for x, y in points]
    spots = 255 * np.exp(-np.min(squares, axis=0) / (2 * deviation**2))
    image = Image.fromarray(spots.astype(np.float32))
    return image if mode == "F" else image.convert("L").convert(mode)


def spot_near(pixels, point):
    """The middle of the spot around a point."""
    columns, rows = np.meshgrid(*(np.arange(length) for length in pixels.shape[::-1]))
    near = np.hypot(columns - point[0], rows - point[1]) < pixels.shape[0] / 20
    weights = np.where(near, pixels, 0)
    return [(weights * each).sum() / weights.sum() for each in (columns, rows)]


@pytest.mark.parametrize("own", [USUAL, NARROW])
@pytest.mark.parametrize(("side", "mode"), [(112, "L"), (112, "F"), (224, "RGB"), (64, "L")])
@pytest.mark.parametrize(("scale", "degrees"), [(0.7, 10), (1, 0), (4.3, -30)])
def test_spots_come_to_where_the_points_have_to_be(own, side, mode, scale, degrees):
    points = moved(np.array(own.points) - 56, scale, degrees, (330, 290))
    image = drawn(points, 1.8 * scale, (640, 600), mode)
    square = alignment.align(image, points, own, side)
    assert (square.size, square.mode) == ((side, side), mode)
    pixels = np.asarray(square.convert("F") if mode != "RGB" else square.convert("L"), float)
    for point in own.points_at(side):
        np.testing.assert_allclose(spot_near(pixels, point), point, atol=0.25)


def test_the_model_is_shown_the_chip_that_it_wants():
    points = moved(np.array(NARROW.points), 2, 0, (20, 30))
    square = alignment.align(drawn(points, 4, (300, 300), "L"), points, NARROW, 112)
    images = np.asarray(square, np.float32)[None, ..., None] / 255
    how = Preprocessing((112, 96), "gray", align=NARROW)
    chip = np.asarray(preprocessing.prepare(how, images))[0, ..., 0]
    assert chip.shape == (112, 96)
    for point in NARROW.points:
        np.testing.assert_allclose(spot_near(chip, point), point, atol=0.25)


def test_a_face_that_shrinks_is_not_aliased():
    stripes = np.zeros((1120, 1120), np.uint8)
    stripes[:, ::2] = 255
    points = 10 * np.array(USUAL.points)
    shrunk = np.asarray(alignment.align(Image.fromarray(stripes), points, USUAL, 112), float)
    np.testing.assert_allclose(shrunk[5:-5, 5:-5], 127.5, atol=3)


def test_what_lies_outside_of_the_photograph_is_black():
    white = Image.new("RGB", (112, 112), "white")
    found = np.asarray(alignment.align(white, np.array(USUAL.points) - [0, 60], USUAL, 112))
    assert (found[:58] == 0).all() and (found[62:] == 255).all()


@pytest.mark.parametrize("value", ["arcface112", {"size": [112, 112], "points": POINTS}])
def test_the_usual_chips_have_a_name(value):
    assert alignment.parse(value) == USUAL


def test_chips_stay_as_they_are():
    assert alignment.parse("none") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("arcface", r"align=arcface is unknown: give arcface112, none, or an object"),
        (112, "align=112 is unknown"),
        (None, "align=None is unknown"),
        ({"size": [112, 112]}, r"unknown: give arcface112, none, or an object such as"),
        ({"size": 112, "points": POINTS}, "holds no size and points"),
        ({"size": [112, 112], "points": [1, 2]}, "holds no size and points"),
        ({"size": [112, 112], "points": [["a", 2]] * 5}, "holds no size and points"),
        ({"size": [112, 112], "points": [[float("nan"), 2]] * 5}, "holds no size and points"),
        ({"size": [112.5, 112], "points": POINTS}, "no size in whole pixels"),
        ({"size": [0, 112], "points": POINTS}, "no size in pixels"),
        ({"size": [112, 112], "points": POINTS[:4]}, "are not five pairs of x and y"),
        ({"size": [64, 64], "points": POINTS}, r"point \(73.5318, 51.5014\) lies outside of the"),
        ({"size": [112, 112], "points": POINTS[::-1]}, "in another order than left eye"),
        ({"size": [112, 112], "points": [POINTS[1], POINTS[0], *POINTS[2:]]}, "another order"),
    ],
)
def test_what_is_no_alignment_is_refused(value, words):
    with pytest.raises(UserError, match=words):
        alignment.parse(value)
