"""Tests that people are the same however folders, labels and templates spell their names."""

import pytest

from mia_jax.runtime import names
from mia_jax.runtime.errors import UserError


@pytest.mark.parametrize(
    "name",
    ["Zoë", "Zoe\u0308", "\ufeffZoë", " Zoë ", "Zoë\t", "Zo\u200be\u0308", "Zoë".encode()],
)
def test_a_name_is_written_in_one_way(name):
    assert names.normalize(name) == "Zoë"


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(UserError, match=r"the name b'\\xff' is no UTF-8"):
        names.normalize(b"\xff")


def test_names_that_two_have_are_refused():
    names.check_unique(["a", "b"], "x")
    with pytest.raises(UserError, match="--labels=x names b twice"):
        names.check_unique(["a", "b", "b"], "--labels=x")
    with pytest.raises(UserError, match=r"x has no name for number 1, counted from 0"):
        names.check_unique(["a", ""], "x")


def test_whoever_stays_unmatched_is_named_with_the_nearest():
    assert names.unmatched(["Ann", "Bob Jones", "Xu", "ZOË"], ["Ann", "Bob_Jones", "Zoë"]) == [
        "Bob Jones (nearest: Bob_Jones)",
        "Xu",
        "ZOË (nearest: Zoë)",
    ]
