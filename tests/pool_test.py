"""Tests that `pool` says at once what it cannot write."""

import pytest
from binaries import refuse


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--runs=a"], "--runs and --output are needed"),
        (["--runs=a/x,b/x", "--output=all.json"], "--runs=a/x,b/x must end in names of their own"),
        (["--runs=a,b", "--output=tests"], "--output=tests is a directory: name a file"),
    ],
)
def test_a_mistake_is_said_before_anything_is_read(given, words):
    assert words in refuse("pool", *given)
