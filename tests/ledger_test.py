"""What a model was asked is counted and remembered, whatever ends the process that asks."""

import signal
import sqlite3

import binaries
import numpy as np
import pytest

from mia_jax.runtime.asking import Budget, Caller, Unanswered
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.ledger import REPEATED, Ledger, Line

IMAGES = np.random.default_rng(0).random((6, 2, 2, 1)).astype(np.float32)


def test_nobody_else_may_read_what_was_answered(tmp_path):
    Ledger(tmp_path / "new" / "asked.sqlite")
    for path in (tmp_path / "new").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0


class Model:
    """Sums the pixels, and may fail."""

    def __init__(self):
        self.calls, self.failing = [], 0

    def __call__(self, images):
        self.calls.append(len(images))
        if self.failing:
            self.failing -= 1
            raise ConnectionError("reset")
        return images.reshape(len(images), -1).sum(1, keepdims=True)

    @property
    def shown(self):
        return sum(self.calls)


def line(path, model, purpose="attack", name="a", **limits):
    caller = Caller(model, Budget(0, wait=0, **limits), lambda answer, count: answer)
    return Line(caller, Ledger(path), name, purpose, "give more")


def open_with(path, **budgets):
    ledger = Ledger(path)
    for purpose, images in budgets.items():
        ledger.allow(purpose, images)
    return ledger


def test_the_same_image_is_shown_once_by_whatever_purpose_and_process(tmp_path):
    path, model = tmp_path / "asked.sqlite", Model()
    open_with(path, admission=10, attack=10)
    first = line(path, model, "admission").ask(IMAGES[[0, 1, 0, 0]])
    again = line(path, model, "attack").ask(IMAGES[[1, 0, 2]])
    np.testing.assert_array_equal(first[[1, 0]], again[:2])
    np.testing.assert_array_equal(again[:, 0], IMAGES[[1, 0, 2]].reshape(3, -1).sum(1))
    assert model.calls == [2, 1]
    found = Ledger(path).asked()
    assert {name: count.shown for name, count in found.purposes.items()} == {
        "admission": 2,
        "attack": 1,
    }
    assert (found.shown, found.allowed) == (model.shown, 20)


def test_another_model_or_shape_is_another_image(tmp_path):
    path, model = tmp_path / "asked.sqlite", Model()
    open_with(path, attack=10)
    line(path, model).ask(IMAGES[:1])
    line(path, model, name="b").ask(IMAGES[:1])
    line(path, model).ask(IMAGES[:1].reshape(1, 1, 4, 1))
    assert model.calls == [1, 1, 1]


def test_a_budget_is_that_of_its_purpose_and_what_was_answered_is_kept(tmp_path):
    path, model = tmp_path / "asked.sqlite", Model()
    open_with(path, attack=4, evaluation=100)
    with pytest.raises(Unanswered, match="budget of 4 pictures for the attack leaves 0, but 2"):
        line(path, model, batch=2).ask(IMAGES)
    assert model.calls == [2, 2]
    assert line(path, model, batch=2).ask(IMAGES[:4]).shape == (4, 1)
    assert model.calls == [2, 2]
    with pytest.raises(Unanswered, match="for the admission leaves 0"):
        line(path, model, "admission").ask(IMAGES[5:])


def test_calls_that_fail_have_a_budget_of_their_own_and_then_take_from_the_purpose(tmp_path):
    path, model = tmp_path / "asked.sqlite", Model()
    open_with(path, attack=12, **{REPEATED: 9})
    model.failing = 2
    line(path, model, retries=3).ask(IMAGES)
    purposes = Ledger(path).asked().purposes
    assert (purposes[REPEATED].shown, purposes["attack"].shown) == (9, 6 + 3)
    assert Ledger(path).asked().shown == model.shown == 18
    model.failing = 9
    with pytest.raises(Unanswered, match="leaves 3, but 6 are to be shown"):
        line(path, model, retries=3).ask(IMAGES + 1)
    assert Ledger(path).asked().shown == model.shown <= Ledger(path).asked().allowed


KILLED = """
import pathlib, sys, time
sys.path[:0] = sys.argv[2:]
import ledger_test, numpy as np
path = pathlib.Path(sys.argv[1])
ledger_test.open_with(path, attack=20, repeated=8)
def slow(images):
    if images[0, 0, 0, 0] == ledger_test.IMAGES[4, 0, 0, 0]:
        print("shown", flush=True, file=sys.stderr)
        time.sleep(600)
    return np.zeros((len(images), 3))
ledger_test.line(path, slow, batch=2).ask(ledger_test.IMAGES)
"""


def test_a_process_that_is_killed_while_it_asks_has_counted_what_it_showed(tmp_path):
    path, model = tmp_path / "asked.sqlite", Model()
    paths = [str(binaries.ROOT), str(binaries.ROOT / "tests")]
    process = binaries.Running(KILLED, str(path), *paths)
    process.wait_for("shown")
    process.signal(signal.SIGKILL)
    process.end()
    purposes = Ledger(path).asked().purposes
    assert (purposes["attack"].shown, purposes[REPEATED].shown) == (4, 2)
    assert line(path, model).ask(IMAGES[:4]).shape == (4, 3)  # What it was answered is kept.
    assert not model.calls


@pytest.mark.parametrize("content", [b"no database at all, but a text" * 100, None])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "asked.sqlite"
    if content is None:
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE purposes (a)")
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"asked.sqlite cannot be read .* delete it"):
        Ledger(path)
    assert path.exists()
