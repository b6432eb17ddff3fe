"""The search against a recognizer that is served over HTTP, and fails now and then."""

import functools
import time

import flask
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from service import client, serve

from mia_jax.attack import losses, make_cases
from mia_jax.attack.black_box import StoppedSearch, answered, search
from mia_jax.attack.inversion import Attack
from mia_jax.attack.objectives import classification, clip_pixels
from mia_jax.attack.oracle import Budget
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.attack.strategies import differences

SHAPE, PIXELS = (2, 2, 1), 4
WEIGHTS = np.random.default_rng(0).normal(size=(PIXELS, 3))


class Service:
    """A linear softmax; its n-th answer may be another."""

    def __init__(self, **others):
        self.others = {int(number[1:]): answer for number, answer in others.items()}
        self.calls, self.images = 0, 0

    def __call__(self, images):
        self.calls, self.images = self.calls + 1, self.images + len(images)
        if self.calls in self.others:
            return self.others[self.calls](images)
        exponentials = np.exp(images.reshape(len(images), -1) @ WEIGHTS)
        return exponentials / exponentials.sum(1, keepdims=True)


def late(images):
    time.sleep(20)
    return np.ones((len(images), 3)) / 3


def fails(images):
    flask.abort(500)


def not_a_number(images):
    return np.full((len(images), 3), np.nan)


def run(service, retries):
    space = Space(lambda key: jnp.full(SHAPE, 0.5), identity, no_penalty, clip_pixels)
    attack = Attack(space, classification(answered, losses.infomax), None, 5)
    cases = make_cases(jax.random.key(0), 1, jnp.arange(2))
    budget = Budget(1000, batch=8, retries=retries, wait=0.01, timeout=3)
    with serve(service) as address:
        predict = functools.partial(client(), address)
        return search(predict, cases, attack, differences.central(optax.sgd(0.3)), budget)


class ServiceTest(parameterized.TestCase):
    def test_failures_are_asked_again(self):
        perfect, bad = Service(), Service(_2=late, _5=fails, _6=not_a_number)
        expected, found = run(perfect, 0), run(bad, 2)
        np.testing.assert_allclose(found.clones.images, expected.clones.images, atol=1e-6)
        queries = 2 * (1 + 5 * 2 * PIXELS + 1)
        self.assertEqual((expected.queries, perfect.images), (queries, queries))
        self.assertEqual((found.queries, bad.images), (queries + 3 * 8, queries + 3 * 8))

    @parameterized.parameters(
        (late, "took longer than 3 seconds"),
        (fails, "raises HTTPError: HTTP Error 500: INTERNAL SERVER ERROR"),
        (not_a_number, "confidences that are NaN or infinite"),
    )
    def test_a_failure_ends_the_search_with_what_was_found(self, answer, sentence):
        service = Service(_4=answer)
        with self.assertRaisesRegex(StoppedSearch, f"after 26 queries: .*{sentence}") as raised:
            run(service, 0)
        found = raised.exception.found
        self.assertEqual((found.queries, service.images), (26, 26))
        seeds = np.asarray(found.clones.seeds[:1])
        np.testing.assert_array_less(found.clones.best_loss, -np.log(Service()(seeds)[0, 1]) - 1e-4)


if __name__ == "__main__":
    absltest.main()
