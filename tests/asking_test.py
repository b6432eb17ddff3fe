"""Calls that fail: which are repeated, after how long, and with how many images."""

import io
import time
import types
import urllib.error

import numpy as np
import pytest

from mia_jax.runtime import asking
from mia_jax.runtime.asking import Budget, Caller, Unanswered

IMAGES = np.arange(10 * 4, dtype=np.float32).reshape(10, 2, 2, 1)


class Counter:
    """An account in memory."""

    def __init__(self, most=1000):
        self.left, self.spent, self.settled = most, 0, []

    def refusal(self, images):
        return f"{self.left} are left, and {images} are to be shown"

    def take(self, images):
        self.left, self.spent = self.left - images, self.spent + images

    def settle(self, images, answers):
        self.settled.append((len(images), answers is not None))


def http(status, **headers):
    """The error of urllib."""
    return urllib.error.HTTPError("http://model", status, "no", headers, io.BytesIO())


def with_response(status):
    """An error as of requests or httpx."""
    error = RuntimeError("no")
    error.response = types.SimpleNamespace(status_code=status, headers={})
    return error


class Model:
    """Sums the pixels; its first calls raise, or every call of too many images."""

    def __init__(self, *failures, most=1000):
        self.failures, self.most, self.calls = [*failures], most, []

    def __call__(self, images):
        self.calls.append(len(images))
        if self.failures:
            raise self.failures.pop(0)
        if len(images) > self.most:
            raise http(413)
        return images.reshape(len(images), -1).sum(1, keepdims=True)


def ask(model, account=None, **limits):
    caller = Caller(model, Budget(0, **limits), lambda answer, count: answer)
    return caller.ask(IMAGES, account or Counter())


@pytest.mark.parametrize(
    "failure", [http(429), http(503), http(408), with_response(500), ConnectionError("reset")]
)
def test_what_may_pass_another_time_is_repeated(failure):
    model, account = Model(failure, failure), Counter()
    found = ask(model, account, batch=4, retries=2, wait=0)
    np.testing.assert_array_equal(found[:, 0], IMAGES.reshape(10, -1).sum(1))
    assert model.calls == [4, 4, 4, 4, 2]
    assert account.spent == sum(model.calls)
    assert account.settled == [(4, False), (4, False), (4, True), (4, True), (2, True)]


@pytest.mark.parametrize("failure", [http(401), http(404), http(422), with_response(403)])
def test_what_cannot_pass_is_not_repeated(failure):
    model = Model(failure)
    with pytest.raises(Unanswered, match="no usable answer after 10 queries: it raises"):
        ask(model, retries=5, wait=0)
    assert model.calls == [10]


@pytest.mark.parametrize(
    ("most", "calls"), [(4, [10, 5, 3, 3, 3, 1]), (1, [10, 5, 3, 2] + [1] * 10)]
)
def test_too_many_images_are_halved_for_good_whatever_the_retries(most, calls):
    model, account = Model(most=most), Counter()
    found = ask(model, account, retries=0)
    np.testing.assert_array_equal(found[:, 0], IMAGES.reshape(10, -1).sum(1))
    assert model.calls == calls
    assert account.spent == sum(calls)


def test_one_image_that_is_too_large_ends_it():
    with pytest.raises(Unanswered, match="HTTP Error 413"):
        ask(Model(most=0), batch=1, retries=3, wait=0)


def test_the_model_says_how_long_to_wait():
    began = time.monotonic()
    ask(Model(http(429, **{"Retry-After": "0.3"})), retries=1, wait=0)
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("value", ["soon", "Wed, 21 Oct 2026 07:28:00 GMT", "-5"])
def test_a_wait_that_is_no_number_of_seconds_is_not_waited(value):
    assert ask(Model(http(429, **{"Retry-After": value})), retries=1, wait=0).shape == (10, 1)


def test_an_account_that_is_at_its_end_says_so_and_what_failed():
    account = Counter(12)
    with pytest.raises(
        Unanswered, match=r"2 are left, and 10 .* the last answer .* HTTP Error 500"
    ):
        ask(Model(http(500)), account, retries=3, wait=0)
    assert account.spent == 10


@pytest.mark.parametrize(
    ("error", "status"), [(http(429), 429), (with_response(503), 503), (ValueError("429"), None)]
)
def test_status(error, status):
    assert asking.status_of(error) == status
