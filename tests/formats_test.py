"""Tests of how numbers are written."""

# ruff: noqa: RUF001, RUF003 (ranges have en dashes)

import pytest

from mia_jax.report import formats


@pytest.mark.parametrize(
    ("ends", "options", "text"),
    [
        ((0.863, 0.966), {"as_percent": True}, "86.3–96.6%"),
        ((0.71, 0.79), {"digits": 2}, "0.71–0.79"),
        ((0.99981, 0.99997), {}, ""),  # "1.000–1.000" would say that it is certain.
        ((0.00001, 0.0002), {}, ""),
        ((0.7961, 1.0), {"as_percent": True}, "79.6–100.0%"),
        ((-1.25, 2.5), {"digits": 1}, "−1.2–2.5"),
        (None, {}, ""),
    ],
)
def test_an_interval_has_two_ends_or_is_left_out(ends, options, text):
    assert formats.interval(ends, **options) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0.000"), (0.0001, "<0.001"), (-2.0, "−2.000")]
)
def test_numbers_have_as_many_digits_as_asked(value, text):
    assert formats.number(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (312, "5 min 12 s"),
        (3790, "1 h 03 min"),
        (None, "–"),
    ],
)
def test_durations(seconds, text):
    assert formats.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", '""'),
        ("paper", "paper"),
        (True, "true"),
        (0.25, "0.25"),
        (["s7", "s3"], "s7, s3"),
        ("/home/someone/people/gallery", "gallery"),  # A report tells no place.
        ("runs/model.onnx", "model.onnx"),
        (["/home/someone/judge.py"], "judge.py"),
        ((128, 128, 1), "128, 128, 1"),
        ([], "–"),
    ],
)
def test_settings(value, text):
    assert formats.setting(value) == text
