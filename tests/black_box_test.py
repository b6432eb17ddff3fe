"""The search, against models that are NumPy and nothing else."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from mia_jax.attack import losses, make_cases
from mia_jax.attack.black_box import StoppedSearch, answered, search
from mia_jax.attack.inversion import Attack, StoppingRule, invert
from mia_jax.attack.objectives import classification, clip_pixels
from mia_jax.attack.oracle import Budget, Oracle, Unanswered, from_labels
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.attack.strategies import differences
from mia_jax.attack.strategies.strategy import Candidates, Strategy, leading
from mia_jax.runtime.errors import UserError

SHAPE, CLASSES, PIXELS = (2, 3, 1), 3, 6
WEIGHTS = np.random.default_rng(0).normal(size=(PIXELS, CLASSES)).astype(np.float32)
AMPLE = Budget(queries=100_000)


def softmax(logits):
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)


class Model:
    """A linear softmax without JAX, which remembers every call."""

    def __init__(self, answer=None):
        self.calls = []
        self.answer = answer or (lambda images: softmax(images.reshape(len(images), -1) @ WEIGHTS))

    def __call__(self, images):
        assert type(images) is np.ndarray and images.dtype == np.float32
        assert images.shape[1:] == SHAPE and images.min() >= 0 and images.max() <= 1
        self.calls.append(len(images))
        return self.answer(images)

    @property
    def queries(self):
        return sum(self.calls)


def start(key):
    return jax.random.uniform(key, SHAPE, minval=0.3, maxval=0.7)


PIXEL_SPACE = Space(start, identity, no_penalty, clip_pixels)


def attack(iterations, apply_fn=answered, loss=losses.infomax, space=PIXEL_SPACE, stop=None):
    objective = classification(apply_fn, loss)
    return Attack(space, objective, optax.sgd(0.2), iterations, stop=stop)


def cases(restarts=3, target=1, **known):
    return make_cases(jax.random.key(0), target, jnp.arange(restarts), **known)


DESCENT = differences.central(optax.sgd(0.2), 0.01)


class SearchTest(parameterized.TestCase):
    @parameterized.parameters((losses.infomax, 5), (losses.top_margin, 5))
    def test_central_differences_descend_as_the_gradient_does(self, loss, rounds):
        """A model that is asked for confidences gives away its gradient."""
        model = Model()
        found = search(model, cases(), attack(rounds, loss=loss), DESCENT, AMPLE)
        white = invert(
            WEIGHTS,
            cases(),
            attack(rounds, lambda weights, images: images.reshape(len(images), -1) @ weights, loss),
        )
        for field in ("seeds", "last", "last_loss", "target_score"):
            np.testing.assert_allclose(
                getattr(found.clones, field), getattr(white, field), atol=2e-3, err_msg=field
            )
        # The start, both sides of every pixel in every round, the end.
        self.assertEqual(found.queries, 3 * (1 + rounds * 2 * PIXELS + 1))
        self.assertEqual(found.queries, model.queries)
        np.testing.assert_array_equal(found.asked, [found.queries // 3] * 3)
        self.assertLessEqual(max(model.calls), AMPLE.batch)

    def test_what_is_returned_is_what_the_model_saw(self):
        model = Model()
        found = search(model, cases(), attack(4), DESCENT, AMPLE).clones
        confidences = model(np.asarray(found.images))
        np.testing.assert_allclose(found.target_score, confidences[:, 1], rtol=1e-4)
        best = model(np.asarray(found.best))
        np.testing.assert_allclose(found.best_loss, -np.log(best[:, 1]), rtol=1e-4)
        self.assertEqual(found.loss_trace.shape, (3, 4))
        np.testing.assert_array_less(np.diff(found.loss_trace, axis=1), 0)
        np.testing.assert_array_equal(found.iterations, [4, 4, 4])

    def test_a_restart_depends_on_itself_only(self):
        together = search(Model(), cases(4), attack(2), DESCENT, AMPLE).clones
        alone = jax.tree.map(lambda array: array[2:3], cases(4))
        one = search(Model(), alone, attack(2), DESCENT, Budget(1000, batch=5)).clones
        for field in ("images", "loss_trace", "target_score"):
            np.testing.assert_allclose(
                getattr(one, field), getattr(together, field)[2:3], rtol=1e-4, atol=1e-5
            )

    def test_known_pixels_stay(self):
        known, mask = np.full(SHAPE, 0.25, np.float32), np.zeros(SHAPE, bool)
        mask[0] = True
        found = search(Model(), cases(known=known, mask=mask), attack(3), DESCENT, AMPLE).clones
        np.testing.assert_array_equal(found.images[:, 0], np.full((3, 3, 1), 0.25))
        self.assertFalse((np.asarray(found.images[:, 1]) == 0.25).any())

    def test_leading_leaves_the_rest(self):
        model = Model()
        found = search(model, cases(), attack(3), leading(DESCENT, 2), AMPLE)
        moved = np.asarray(found.clones.last - found.clones.seeds).reshape(3, -1) != 0
        np.testing.assert_array_equal(moved, [[True, True] + [False] * 4] * 3)
        self.assertEqual(model.queries, 3 * (1 + 3 * 2 * 2 + 1))

    def test_points_of_several_arrays(self):
        space = Space(
            start=lambda key: {"gray": jax.random.uniform(key), "rest": jnp.zeros(5)},
            decode=lambda point: jnp.full(SHAPE, point["gray"]) + point["rest"].sum(),
            penalty=lambda point, image: jnp.sum(point["rest"] ** 2),
            project=lambda point: {**point, "rest": jnp.clip(point["rest"], -0.1, 0.1)},
        )
        found = search(Model(), cases(), attack(2, space=space), DESCENT, AMPLE)
        self.assertEqual(found.queries, 3 * (1 + 2 * 12 + 1))

    def test_labels(self):
        def labels(images):
            return images.reshape(len(images), -1).argmax(1) % CLASSES

        confidences = from_labels(labels, CLASSES)(np.eye(PIXELS).reshape(-1, *SHAPE))
        np.testing.assert_array_equal(confidences, np.tile(np.eye(CLASSES), (2, 1)))


class EndTest(parameterized.TestCase):
    ROUND = 3 * 2 * PIXELS

    @parameterized.parameters(0, 1, ROUND - 1)
    def test_a_round_that_does_not_fit_is_not_begun(self, more):
        model = Model()
        budget = Budget(3 + 2 * self.ROUND + 3 + more)
        found = search(model, cases(), attack(50), DESCENT, budget)
        self.assertEqual(model.queries, 3 + 2 * self.ROUND + 3)
        np.testing.assert_array_equal(found.clones.iterations, [2, 2, 2])
        self.assertTrue(np.isnan(found.clones.loss_trace[:, 2:]).all())

    def test_a_budget_without_a_round_is_refused_before_anything_is_asked(self):
        model = Model()
        with self.assertRaisesRegex(UserError, "queries=41 hold no round: 3 restarts take 42"):
            search(model, cases(), attack(50), DESCENT, Budget(41))
        self.assertEmpty(model.calls)

    def test_a_finished_restart_asks_no_more(self):
        model = Model()
        found = search(model, cases(6), attack(40, stop=StoppingRule(0.8)), DESCENT, AMPLE)
        self.assertGreater(len(set(found.clones.iterations.tolist())), 1)
        np.testing.assert_array_equal(found.asked, 2 + 2 * PIXELS * found.clones.iterations)
        self.assertEqual(int(found.asked.sum()), model.queries)
        np.testing.assert_array_less(0.75, found.clones.target_score)

    @parameterized.parameters(
        # The first round is better than the start, the others are as the first.
        (StoppingRule(patience=3), 4),
        (StoppingRule(window=3), 4),
    )
    def test_no_progress(self, rule, rounds):
        stay = differences.central(optax.sgd(0.0), 0.01)
        found = search(Model(), cases(), attack(40, stop=rule), stay, AMPLE)
        np.testing.assert_array_equal(found.clones.iterations, [rounds] * 3)

    def test_a_strategy_that_wants_nothing_ends(self):
        def ask(key, state):
            return Candidates(jnp.full((2, PIXELS), 0.5), jnp.arange(2) < 2 - state), state

        counting = Strategy(
            lambda key, point: jnp.array(0), ask, lambda state, told: state + 1,
            lambda state: jnp.full(PIXELS, 0.5),
        )  # fmt: skip
        model = Model()
        found = search(model, cases(2), attack(9), counting, AMPLE)
        np.testing.assert_array_equal(found.asked, [1 + 2 + 1 + 1] * 2)
        np.testing.assert_array_equal(found.clones.iterations, [2, 2])

    def test_when_a_score_was_reached(self):
        target = softmax(np.array([[0.0, 3.0, 0.0]], np.float32))  # 0.909
        model = Model(
            lambda images: np.tile(target if len(model.calls) > 2 else [[0.5, 0.3, 0.2]],
                                   (len(images), 1))
        )  # fmt: skip
        found = search(model, cases(1), attack(3), DESCENT, AMPLE).clones
        self.assertEqual((found.iterations_to_90.item(), found.iterations_to_99.item()), (2, -1))


def rows(values):
    return lambda images: np.tile(np.array(values, np.float32), (len(images), 1))


def refuse(images):
    raise ConnectionError("503\nService unavailable")


class BrokenAnswerTest(parameterized.TestCase):
    """Each kind of broken answer ends a search with its sentence, and what was found is kept."""

    @parameterized.named_parameters(
        ("raises", refuse, "it raises ConnectionError: 503 Service unavailable"),
        ("late", lambda images: time.sleep(20), "it took longer than 2 seconds"),
        ("nan", rows([np.nan, 1, 0]), "confidences that are NaN or infinite"),
        ("infinite", rows([np.inf, 1, 0]), "confidences that are NaN or infinite"),
        ("rows", lambda images: np.ones((2, 3)) / 3, r"returns \(2, 3\) for 18 images: \[18, 3\]"),
        ("flat", lambda images: np.ones(len(images)), r"returns \(18,\) for 18 images"),
        ("classes", rows([0.5, 0.5]), r"returns \(18, 2\) for 18 images: \[18, 3\] is needed"),
        ("logits", rows([-1, 1, 1]), "confidences as low as -1, and no probability is below 0"),
        ("sums", rows([0.5, 0.5, 0.5]), "confidences that sum to 1.5 instead of 1"),
        ("zeros", rows([0, 0, 0]), "confidences that sum to 0 instead of 1"),
        ("text", lambda images: "busy", "it returns str, not an array of numbers"),
        ("ragged", lambda images: [[1, 0, 0], [1]], "it returns list, not an array of numbers"),
        ("nothing", lambda images: None, r"it returns \(\) for 18 images"),
    )
    def test_sentence(self, broken, sentence):
        model = Model()
        whole = model.answer
        model.answer = lambda images: (broken if len(model.calls) == 6 else whole)(images)
        budget = Budget(1000, batch=18, timeout=2)
        with self.assertRaisesRegex(StoppedSearch, sentence) as raised:
            search(model, cases(), attack(9), DESCENT, budget)
        self.assertRegex(str(raised.exception), "gave no usable answer after 93 queries")
        self.assertNotIn("\n", str(raised.exception))
        # Three starts and five batches of 18, of which the last was no use.
        found = raised.exception.found
        self.assertEqual((found.queries, model.queries), (3 + 5 * 18, 3 + 5 * 18))
        self.assertEqual(int(found.asked.sum()), 3 + 4 * 18)
        clones = found.clones
        self.assertTrue(np.isnan(clones.last_loss).all() and clones.returned_best.all())
        confidences = softmax(np.asarray(clones.images).reshape(3, -1) @ WEIGHTS)
        np.testing.assert_allclose(clones.target_score, confidences[:, 1], rtol=1e-4)
        np.testing.assert_array_less(clones.best_loss, -np.log(
            softmax(np.asarray(clones.seeds).reshape(3, -1) @ WEIGHTS)[:, 1]))  # fmt: skip

    def test_nothing_was_found_yet(self):
        with self.assertRaises(StoppedSearch) as raised:
            search(refuse, cases(), attack(9), DESCENT, AMPLE)
        found = raised.exception.found
        np.testing.assert_array_equal(found.clones.images, found.clones.seeds)
        self.assertTrue(np.isnan(found.clones.target_score).all())

    def test_a_class_that_the_model_does_not_have(self):
        with self.assertRaisesRegex(UserError, "target=5 is not one of the model's 3 classes"):
            search(Model(), cases(target=5), attack(9), DESCENT, AMPLE)

    def test_an_attack_on_a_model_is_refused(self):
        model = Model()
        how = attack(9, lambda weights, images: images.reshape(len(images), -1) @ weights["w"])
        with self.assertRaisesRegex(UserError, "make its recipe of black_box.answered"):
            search(model, cases(), how, DESCENT, AMPLE)
        self.assertEmpty(model.calls)


class OracleTest(parameterized.TestCase):
    IMAGES = np.zeros((10, *SHAPE), np.float32)

    def test_batches(self):
        model = Model()
        oracle = Oracle(model, Budget(10, batch=4))
        self.assertEqual(oracle.ask(self.IMAGES).shape, (10, 3))
        self.assertEqual((model.calls, oracle.queries, oracle.left), ([4, 4, 2], 10, 0))
        with self.assertRaisesRegex(Unanswered, "budget of 10 queries leaves 0, but 1 images"):
            oracle.ask(self.IMAGES[:1])
        self.assertEqual(model.queries, 10)

    @parameterized.parameters((2, 3), (1, 2))
    def test_retries(self, retries, calls):
        model = Model()
        whole = model.answer
        model.answer = lambda images: (refuse if len(model.calls) < 3 else whole)(images)
        oracle = Oracle(model, Budget(100, retries=retries, wait=0))
        if retries == 2:
            self.assertEqual(oracle.ask(self.IMAGES).shape, (10, 3))
        else:
            with self.assertRaisesRegex(Unanswered, "no usable answer 2 times after 20 queries"):
                oracle.ask(self.IMAGES)
        self.assertEqual((model.calls, oracle.queries), ([10] * calls, 10 * calls))

    def test_retries_stay_within_the_budget(self):
        model = Model(refuse)
        oracle = Oracle(model, Budget(25, retries=9, wait=0))
        with self.assertRaisesRegex(Unanswered, "leaves 5, .*, and the last answer .* Connection"):
            oracle.ask(self.IMAGES)
        self.assertEqual(model.queries, 20)

    def test_waiting_doubles(self):
        oracle = Oracle(Model(refuse), Budget(100, retries=2, wait=0.05))
        began = time.monotonic()
        with self.assertRaises(Unanswered):
            oracle.ask(self.IMAGES)
        self.assertGreaterEqual(time.monotonic() - began, 0.15)

    def test_rate(self):
        model = Model()
        oracle = Oracle(model, Budget(100, batch=2, rate=20))
        began = time.monotonic()
        oracle.ask(self.IMAGES)
        # Five calls of two images: four pauses of a tenth of a second.
        self.assertBetween(time.monotonic() - began, 0.39, 3)

    @parameterized.parameters(
        ({"queries": 0}, "queries=0 must be at least 1"),
        ({"batch": 0}, "batch=0 must be at least 1"),
        ({"retries": -1}, "retries=-1 must be at least 0"),
        ({"rate": 0}, "rate=0 must be above 0, or None"),
        ({"timeout": float("nan")}, "timeout=nan must be above 0, or None"),
    )
    def test_refuses_a_budget_that_means_nothing(self, limits, message):
        with self.assertRaisesRegex(UserError, message):
            Oracle(Model(), Budget(**{"queries": 10, **limits}))

    @parameterized.parameters(
        (lambda images: np.zeros(3, int), r"returns int64 of shape \(3,\) for 10 images"),
        (lambda images: np.zeros(len(images)), r"returns float64 of shape \(10,\)"),
        (lambda images: np.full(len(images), 3), "the label 3, but there are 3 classes"),
    )
    def test_broken_labels(self, labels, message):
        with self.assertRaisesRegex(Unanswered, message):
            Oracle(from_labels(labels, CLASSES), Budget(100)).ask(self.IMAGES)


if __name__ == "__main__":
    absltest.main()
