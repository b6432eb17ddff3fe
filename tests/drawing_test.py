import types

import pytest

from experiments import drawing


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        ([1], "a"),
        ([3, 1, 2], "bca"),
        ([6, 5, 4, 3, 2, 1], "fedcba"),
        ([7, 6, 5, 4, 3, 2, 1], "gfecba"),
        ([2, 9, 4, 1, 5, 8, 3, 7, 6], "dagh" + "fb"),
    ],
)
def test_the_best_never_stand_without_the_worst(ranks, expected):
    people = {
        name: types.SimpleNamespace(exposure_rank=rank)
        for name, rank in zip("abcdefghi", ranks, strict=False)
    }
    assert drawing.ends(people) == list(expected)
