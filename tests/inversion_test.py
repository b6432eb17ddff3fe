import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from mia_jax import recognizer
from mia_jax.attack import (
    filters,
    gradients,
    inversion,
    invert,
    losses,
    make_cases,
    restart_keys,
    seeds,
)
from mia_jax.attack.cases import Case
from mia_jax.attack.generators import eigenfaces
from mia_jax.attack.inversion import Attack, StoppingRule
from mia_jax.attack.objectives import Objective, classification, clip_pixels
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.recognizer.views import STILL, ViewRange
from mia_jax.runtime.errors import UserError

SHAPE, CLASSES = (4, 5, 1), 3
PIXELS = 20
# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


class Settings(NamedTuple):
    """The parts of an attack that a test chooses."""

    optimizer: optax.GradientTransformation
    iterations: int
    loss: Callable = losses.infomax
    decode: Callable = identity
    project: Callable = clip_pixels
    penalty: Callable = no_penalty
    views: ViewRange = STILL
    views_per_iteration: int = 1
    stop: StoppingRule | None = None
    gradient: Callable = gradients.exact
    filter: Callable = filters.none


def made(apply_fn, settings):
    """Puts an attack together whose starting points are given with the cases."""
    return Attack(
        space=Space(None, settings.decode, settings.penalty, settings.project),
        objective=classification(
            apply_fn, settings.loss, settings.views, settings.views_per_iteration
        ),
        optimizer=settings.optimizer,
        iterations=settings.iterations,
        gradient=settings.gradient,
        filter=settings.filter,
        stop=settings.stop,
    )


@functools.partial(jit, static_argnames=("apply_fn", "settings"))
def attack(apply_fn, params, start, targets, keys, settings):
    return invert(params, Case(targets, keys, start=start), made(apply_fn, settings))


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def uniform(seed, *shape, low=0.0, high=1.0):
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def keys(count):
    return jax.random.split(jax.random.key(0), count)


def flat(images):
    return images.reshape(images.shape[0], -1)


def linear(weights, images):
    return flat(images) @ weights


STEEPNESS = np.array([11, 2, 4])


def nearest(prototypes, images):
    """Scores by the distance to a prototype of each class, so steeply that steps overshoot."""
    return -STEEPNESS * jnp.sum((flat(images)[:, None] - prototypes) ** 2, -1)


def negative_score(logits, target):
    """A loss that is not of the package."""
    return -logits[target]


def layered(params, images):
    """A small smooth network."""
    hidden, output = params
    return jnp.tanh(flat(images) @ hidden) @ output


LAYERS = (normal(1, PIXELS, 8), 2 * normal(2, 8, CLASSES))


def softmax(logits):
    exponentials = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def infomax_by_hand(logits, target):
    """Returns the loss, and its gradient with respect to the logits."""
    confidences = softmax(logits)
    return -np.log(confidences[target]), confidences - np.eye(CLASSES)[target]


def negative_score_by_hand(logits, target):
    return -logits[target], -np.eye(CLASSES)[target]


def least_squares_by_hand(logits, target):
    confidences = softmax(logits)
    difference = confidences - np.eye(CLASSES)[target]
    jacobian = np.diag(confidences) - np.outer(confidences, confidences)
    return np.sum(difference**2), jacobian @ (2 * difference)


def linear_by_hand(weights, point):
    """Returns the logits, and their derivatives `[classes, pixels]`."""
    return point @ weights, weights.T


def nearest_by_hand(prototypes, point):
    away = point - prototypes
    return -STEEPNESS * np.sum(away**2, -1), -2 * STEEPNESS[:, None] * away


def descend_by_hand(model, params, loss, seed, target, rate, iterations):
    """Iterates x <- clip(x - rate * gradient): the points, their losses and confidences."""
    params, point = params.astype(np.float64), np.clip(seed.astype(np.float64).ravel(), 0, 1)
    points, values, scores = [], [], []
    for _ in range(iterations + 1):
        logits, derivatives = model(params, point)
        value, gradient = loss(logits, target)
        points.append(point.reshape(SHAPE))
        values.append(value)
        scores.append(softmax(logits)[target])
        point = np.clip(point - rate * gradient @ derivatives, 0, 1)
    return np.array(points), np.array(values), np.array(scores)


class FixedRateTest(parameterized.TestCase):
    """Equations 6 to 10, computed with numpy from derivatives that were written down by hand."""

    @parameterized.named_parameters(
        ("infomax", linear, losses.infomax, linear_by_hand, infomax_by_hand, 0.1, 20),
        ("least", linear, losses.least_squares, linear_by_hand, least_squares_by_hand, 0.2, 12),
        ("overshoots", nearest, negative_score, nearest_by_hand, negative_score_by_hand, 0.1, 9),
    )
    def test_every_result(self, apply_fn, loss, model_by_hand, loss_by_hand, rate, iterations):
        restarts = 6
        params = 1.5 * normal(0, PIXELS, CLASSES) if apply_fn is linear else uniform(0, 3, PIXELS)
        start = uniform(1, restarts, *SHAPE, low=-0.1, high=1.1)
        targets = np.arange(restarts) % CLASSES
        found = attack(
            apply_fn,
            params,
            start,
            targets,
            keys(restarts),
            Settings(optax.sgd(rate), iterations, loss),
        )
        found = jax.tree.map(np.asarray, found)
        close = functools.partial(np.testing.assert_allclose, rtol=2e-3, atol=2e-4)
        best_iterations = set()
        for restart in range(restarts):
            points, values, scores = descend_by_hand(
                model_by_hand,
                params,
                loss_by_hand,
                start[restart],
                targets[restart],
                rate,
                iterations,
            )
            best = values[:-1].argmin()
            best_iterations.add(int(best))
            returned = best if values[best] < values[-1] else -1
            close(found.seeds[restart], points[0])
            close(found.loss_trace[restart], values[:-1])
            close(found.last[restart], points[-1])
            close(found.last_loss[restart], values[-1])
            close(found.best[restart], points[best])
            close(found.best_loss[restart], values[best])
            close(found.images[restart], points[returned])
            close(found.target_score[restart], scores[returned])
            self.assertEqual(found.returned_best[restart], returned != -1)
            for threshold, reached in (
                (0.9, found.iterations_to_90),
                (0.99, found.iterations_to_99),
            ):
                hits = np.flatnonzero(scores >= threshold)
                self.assertEqual(reached[restart], hits[0] if len(hits) else -1)
            self.assertEqual(found.iterations[restart], iterations)
        # The projection had something to do, and the bookkeeping saw both cases.
        self.assertTrue(((found.last == 0) | (found.last == 1)).any())
        if apply_fn is nearest:
            self.assertContainsSubset({1, iterations - 1}, best_iterations)
            self.assertEqual(set(found.returned_best), {True, False})
        else:
            self.assertFalse(found.returned_best.any())
            self.assertGreater(found.iterations_to_90.max(), 0)
            self.assertGreater(len(set(found.iterations_to_99)), 1)

    def test_penalty_in_closed_form(self):
        """Toward gray and nothing else, each step leaves (1 - 2 * rate) of the distance."""
        start = uniform(0, 2, *SHAPE)
        settings = Settings(
            optax.sgd(0.1),
            iterations=7,
            loss=lambda logits, target: 0.0 * logits[target],
            penalty=lambda point, image: (
                jnp.sum((point - 0.5) ** 2) / 2 + jnp.sum((image - 0.5) ** 2) / 2
            ),
        )
        found = attack(
            linear, normal(0, PIXELS, CLASSES), start, jnp.zeros(2, int), keys(2), settings
        )
        np.testing.assert_allclose(found.last, 0.5 + 0.8**7 * (start - 0.5), rtol=1e-4)
        expected = np.sum((0.5 - start) ** 2, (1, 2, 3))[:, None] * 0.64 ** np.arange(8)
        np.testing.assert_allclose(found.loss_trace, expected[:, :-1], rtol=1e-4)
        np.testing.assert_allclose(found.last_loss, expected[:, -1], rtol=1e-4)

    def test_a_descent_that_diverges_returns_its_best(self):
        rate = lambda step: jnp.where(step < 3, 0.05, jnp.nan)  # noqa: E731
        found = attack(
            linear,
            normal(0, PIXELS, CLASSES),
            uniform(0, 2, *SHAPE),
            jnp.array([0, 1]),
            keys(2),
            Settings(optax.sgd(rate), iterations=6),
        )
        self.assertTrue(np.isnan(found.last).all())
        np.testing.assert_array_equal(found.returned_best, [True, True])
        np.testing.assert_array_equal(found.images, found.best)
        np.testing.assert_array_less(found.best_loss, found.loss_trace[:, 0])
        self.assertTrue(np.isfinite(found.target_score).all())


class GradientTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("infomax_of_the_recognizer", "recognizer", losses.infomax, STILL),
        ("least_squares", "layered", losses.least_squares, STILL),
        ("max_margin", "layered", losses.max_margin, STILL),
        (
            "infomax_in_views",
            "layered",
            losses.infomax,
            ViewRange(rotation=20, scale=0.2, shift=0.1, flip=0.5, brightness=0.1),
        ),
    )
    def test_agrees_with_central_differences(self, model, loss, views):
        step, rate, directions = 1e-5, 1e-3, 6
        with jax.enable_x64(True):
            if model == "recognizer":
                shape, apply_fn = (16, 16, 1), recognizer.logits
                params = jax.eval_shape(lambda: recognizer.init(jax.random.key(0), 3, shape))
                params = jax.tree.map(
                    lambda leaf: (
                        normal(3, *leaf.shape).astype(float)
                        * np.sqrt(2 / max(np.prod(leaf.shape[:-1]), 100))
                    ),
                    params,
                )
            else:
                shape, apply_fn = SHAPE, layered
                params = tuple(np.asarray(layer, float) for layer in LAYERS)
            image = np.random.default_rng(0).uniform(0.2, 0.8, shape)
            ways = np.random.default_rng(1).normal(size=(directions, *shape))
            # One key for all, so that all see the same views.
            found = attack(
                apply_fn,
                params,
                np.concatenate([image[None], image + step * ways, image - step * ways]),
                np.full(2 * directions + 1, 2),
                jnp.tile(jax.random.key(5), 2 * directions + 1),
                Settings(
                    optax.sgd(rate),
                    iterations=1,
                    loss=loss,
                    project=lambda point: point,
                    views=views,
                    views_per_iteration=3,
                ),
            )
            self.assertEqual(found.images.dtype, "float64")
            gradient = (image - np.asarray(found.last[0])) / rate
            ahead, behind = np.split(np.asarray(found.loss_trace[1:, 0]), 2)
        derivatives = np.tensordot(ways, gradient, 3)
        self.assertGreater(np.abs(derivatives).max(), 1e-3)
        np.testing.assert_allclose(derivatives, (ahead - behind) / (2 * step), rtol=1e-5, atol=1e-7)
        self.assertEqual(jnp.zeros(()).dtype, "float32")


class RestartsTest(parameterized.TestCase):
    def test_a_restart_depends_on_its_own_identity_and_number_only(self):
        auxiliary = uniform(0, 6, *SHAPE)
        settings = Settings(
            optax.adam(0.05),
            iterations=6,
            views=ViewRange(brightness=0.3),
            views_per_iteration=2,
        )

        @jit
        def run(identities, restarts):
            own = jax.vmap(
                lambda identity, restart: restart_keys(jax.random.key(3), identity, restart[None])[
                    0
                ]
            )(identities, restarts)
            start = functools.partial(seeds.uniform_noise, auxiliary=auxiliary)
            how = made(layered, settings)
            return invert(
                LAYERS, Case(identities, own), how._replace(space=how.space._replace(start=start))
            )

        def at(*pairs):
            return jax.tree.map(np.asarray, run(*np.transpose(pairs)))

        pairs = [(0, 0), (0, 1), (0, 2), (2, 0), (2, 1), (2, 2)]
        together = at(*pairs)
        others = at((2, 2), (1, 1), (0, 1), (0, 9), (1, 0), (2, 1))
        alone = [at(pair) for pair in pairs]
        for field, values in together._asdict().items():
            close = functools.partial(
                np.testing.assert_allclose, rtol=1e-4, atol=1e-5, err_msg=field
            )
            close(values, np.concatenate([getattr(one, field) for one in alone]))
            close(values[[5, 1, 4]], getattr(others, field)[[0, 2, 5]])
        self.assertLen(np.unique(flat(together.last), axis=0), 6)

    def test_keys(self):
        key = jax.random.key(3)
        every = {
            identity: np.asarray(jax.random.key_data(restart_keys(key, identity, jnp.arange(4))))
            for identity in (0, 1, 2)
        }
        self.assertLen(np.unique(np.concatenate(list(every.values())), axis=0), 12)
        later = restart_keys(key, jnp.array(2), jnp.array([3, 1]))
        np.testing.assert_array_equal(jax.random.key_data(later), every[2][[3, 1]])
        other = restart_keys(jax.random.key(4), 2, jnp.arange(4))
        self.assertFalse((jax.random.key_data(other) == every[2]).all(1).any())


class ConfidenceReachedTest(parameterized.TestCase):
    @parameterized.parameters(1, 2, 3, 4)
    def test_the_last_iterate_counts(self, iterations):
        """One pixel p scores sigmoid(9 * p); each update adds 0.1 to it, up to 0.5."""
        found = attack(
            lambda params, images: flat(images)[:, :1] * np.array([9.0, 0.0], np.float32),
            None,
            np.array([0.05, 0.0]).reshape(2, 1, 1, 1),
            np.zeros(2, int),
            keys(2),
            Settings(
                optax.sgd(0.1 / 9),
                iterations,
                negative_score,
                project=lambda x: jnp.minimum(x, 0.5),
            ),
        )
        # sigmoid(9 * p) reaches 0.9 at p = 0.244 and 0.99 at p = 0.511, which is never.
        expected = np.array([2, 3])
        np.testing.assert_array_equal(
            found.iterations_to_90, np.where(expected <= iterations, expected, -1)
        )
        np.testing.assert_array_equal(found.iterations_to_99, [-1, -1])

    def test_the_last_iterate_is_shown_as_it_is(self):
        """On the way the model sees mirror images only, which it takes for another class."""
        image = np.array([1.0, 0.0]).reshape(1, 1, 2, 1)
        found = attack(
            lambda params, images: flat(images) * 9,
            None,
            image,
            np.zeros(1, int),
            keys(1),
            Settings(optax.sgd(0.0), 5, views=ViewRange(flip=1.0)),
        )
        np.testing.assert_array_equal(found.iterations_to_90, [5])


class StoppingTest(parameterized.TestCase):
    ITERATIONS = 40
    ADAM = optax.adam(0.02)  # One object, so that tests share what was compiled.

    def run_layered(self, stop, rows=(0, 1, 2, 3, 4), **how):
        rows = np.array(rows)
        settings = Settings(
            **{"optimizer": self.ADAM, "iterations": self.ITERATIONS, "stop": stop, **how}
        )
        found = attack(
            layered,
            LAYERS,
            uniform(4, 5, *SHAPE)[rows],
            np.array([0, 1, 2, 0, 1])[rows],
            keys(5)[rows],
            settings,
        )
        return jax.tree.map(np.asarray, found)

    @parameterized.parameters(
        (StoppingRule(patience=1000), {}),
        (StoppingRule(score=1.0), {"views": ViewRange(brightness=0.3), "views_per_iteration": 2}),
    )
    def test_a_rule_that_never_fires_changes_nothing(self, rule, how):
        without, found = self.run_layered(None, **how), self.run_layered(rule, **how)
        for field, values in without._asdict().items():
            np.testing.assert_allclose(
                getattr(found, field), values, rtol=1e-5, atol=1e-6, err_msg=field
            )
            self.assertEqual(getattr(found, field).dtype, values.dtype)
        np.testing.assert_array_equal(found.iterations, [self.ITERATIONS] * 5)

    @parameterized.named_parameters(
        ("plateau", StoppingRule(patience=2), {"optimizer": optax.adam(0.1)}),
        (
            "views",
            StoppingRule(score=0.95, patience=3),
            {"views": ViewRange(brightness=0.2), "views_per_iteration": 2},
        ),
    )
    def test_a_finished_restart_is_what_as_many_iterations_give(self, rule, how):
        together = self.run_layered(rule, **how)
        # Some stop while others go on.
        self.assertGreater(len(set(together.iterations)), 1)
        row = int(together.iterations.argmin())
        taken = int(together.iterations[row])
        self.assertBetween(taken, 1, self.ITERATIONS - 1)
        alone = self.run_layered(rule, [row], **how)
        counted = self.run_layered(None, [row], **{**how, "iterations": taken})
        for field, values in together._asdict().items():
            close = functools.partial(
                np.testing.assert_allclose, values[row], rtol=1e-4, atol=1e-5, err_msg=field
            )
            close(getattr(alone, field)[0])
            if field != "loss_trace":
                close(getattr(counted, field)[0])
        np.testing.assert_allclose(
            together.loss_trace[row, :taken], counted.loss_trace[0], rtol=1e-4, atol=1e-5
        )
        self.assertEqual(together.loss_trace.shape, (5, self.ITERATIONS))
        np.testing.assert_array_equal(
            np.isnan(together.loss_trace),
            np.arange(self.ITERATIONS) >= together.iterations[:, None],
        )

    def test_the_iteration_that_reaches_the_score_is_the_last(self):
        rule = StoppingRule(score=0.9)
        found, without = self.run_layered(rule), self.run_layered(None)
        self.assertGreater(without.iterations_to_90.max(), 1)
        # An iterate is scored in the iteration after the update that made it.
        expected = np.where(
            without.iterations_to_90 >= 0,
            np.minimum(without.iterations_to_90 + 1, self.ITERATIONS),
            self.ITERATIONS,
        )
        np.testing.assert_array_equal(found.iterations, expected)
        np.testing.assert_array_equal(found.iterations_to_90, without.iterations_to_90)

    @parameterized.parameters(1, 3)
    def test_a_plateau(self, patience):
        rate = lambda step: jnp.where(step < 4, 0.01, 0.0)  # noqa: E731
        found = self.run_layered(StoppingRule(patience=patience), optimizer=optax.sgd(rate))
        # Four updates lower the loss, so iterations 0 to 4 improve on what was before.
        np.testing.assert_array_equal(found.iterations, [5 + patience] * 5)
        np.testing.assert_array_less(np.diff(found.loss_trace[:, :5]), 0)

    def test_a_loss_of_nan_is_a_plateau(self):
        found = self.run_layered(
            StoppingRule(score=1.0, patience=3), penalty=lambda point, image: jnp.nan
        )
        np.testing.assert_array_equal(found.iterations, [3] * 5)

    @parameterized.parameters((None, 15), (StoppingRule(score=0.9), 4))
    def test_the_loop_ends_when_all_are_finished(self, rule, expected):
        """As in `ConfidenceReachedTest`: 0.9 is reached after 2 and 3 updates."""
        calls = []

        def apply_fn(params, images):
            jax.debug.callback(lambda: calls.append(None))
            return flat(images)[:, :1] * np.array([9.0, 0.0], np.float32)

        found = attack(
            apply_fn,
            None,
            np.array([0.05, 0.0]).reshape(2, 1, 1, 1),
            np.zeros(2, int),
            keys(2),
            Settings(optax.sgd(0.1 / 9), 15, negative_score, stop=rule),
        )
        jax.effects_barrier()
        self.assertEqual(found.iterations.max(), expected)
        self.assertLen(calls, expected + 2)  # Two to show the clones as they are.
        np.testing.assert_array_equal(found.iterations, [3, 4] if rule else [15, 15])

    @parameterized.parameters(
        ({}, "needs a score, a patience or a window"),
        ({"score": 0.0}, "score must be above 0 and at most 1, but is 0.0"),
        ({"score": 1.01}, "score must .* is 1.01"),
        ({"score": float("nan")}, "score must .* is nan"),
        ({"patience": 0}, "patience must be at least 1 iteration, but is 0"),
        ({"score": 0.9, "patience": -2}, "patience must .* is -2"),
    )
    def test_refuses_a_rule_that_means_nothing(self, limits, message):
        with self.assertRaisesRegex(ValueError, message):
            StoppingRule(**limits)


class ModelsAndSpacesTest(parameterized.TestCase):
    @parameterized.named_parameters(
        (
            "dict",
            lambda p, x: flat(x) @ p["kernel"] + p["bias"],
            lambda w, b: {"kernel": w, "bias": b},
        ),
        ("tuple", lambda p, x: flat(x) @ p[0] + p[1], lambda w, b: (w, b)),
        ("none", lambda p, x: flat(x) @ normal(0, PIXELS, CLASSES), lambda w, b: None),
    )
    def test_any_function_is_attacked(self, apply_fn, pack):
        params = pack(normal(0, PIXELS, CLASSES), normal(1, CLASSES))
        start, targets = uniform(2, 3, *SHAPE), np.arange(3)
        found = attack(
            apply_fn, params, start, targets, keys(3), Settings(optax.sgd(0.1), iterations=20)
        )
        before = jax.nn.softmax(apply_fn(params, start))
        before = before[np.arange(3), targets]
        after = jax.nn.softmax(apply_fn(params, np.asarray(found.images)))[np.arange(3), targets]
        np.testing.assert_allclose(found.target_score, after, rtol=1e-4)
        np.testing.assert_array_less(before, after)
        self.assertLess(before.min(), 0.2)
        self.assertGreater(after.min(), 0.9)
        self.assertBetween(found.images.min(), 0, 1)
        self.assertBetween(found.images.max(), 0, 1)

    def test_searching_eigenfaces_is_attacking_the_model_of_coefficients(self):
        faces = eigenfaces.fit(uniform(0, 6, *SHAPE), 5)
        decode = functools.partial(eigenfaces.decode, faces)
        start, targets = uniform(1, 3, 5, low=0.3, high=0.7), np.arange(3)
        how = {"optimizer": optax.adam(0.01), "iterations": 15, "project": lambda point: point}
        through = attack(
            layered,
            LAYERS,
            start,
            targets,
            keys(3),
            Settings(
                decode=decode,
                penalty=lambda point, image: jnp.sum(point**2) + jnp.sum(image**3),
                **how,
            ),
        )
        direct = attack(
            lambda params, points: layered(params, jax.vmap(decode)(points)),
            LAYERS,
            start,
            targets,
            keys(3),
            Settings(
                penalty=lambda point, _: jnp.sum(point**2) + jnp.sum(decode(point) ** 3), **how
            ),
        )
        np.testing.assert_allclose(through.loss_trace, direct.loss_trace, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(through.iterations_to_90, direct.iterations_to_90)
        # Those are coefficients, and were not clipped.
        self.assertBetween(direct.last.min(), 0.01, 0.99)
        self.assertBetween(direct.last.max(), 0.01, 0.99)
        for field in ("last", "best", "seeds"):
            np.testing.assert_allclose(
                getattr(through, field),
                np.clip(jax.vmap(decode)(getattr(direct, field)), 0, 1),
                rtol=1e-4,
                atol=1e-5,
            )

    def test_views_are_random_in_each_iteration_and_restart(self):
        standing = Settings(optax.sgd(0.0), iterations=5, views=ViewRange(brightness=0.5))
        found = attack(
            layered,
            LAYERS,
            np.stack([uniform(0, *SHAPE)] * 3),
            np.zeros(3, int),
            keys(2)[jnp.array([0, 0, 1])],
            standing,
        )
        trace = np.asarray(found.loss_trace)
        np.testing.assert_allclose(trace[0], trace[1], rtol=1e-5)
        self.assertGreater(np.diff(np.sort(trace[1:].ravel())).min(), 1e-4)
        np.testing.assert_allclose(found.last_loss, found.last_loss[0], rtol=1e-5)

    def test_the_model_sees_views_on_the_way_and_the_image_itself_in_the_end(self):
        """With a certain flip, the way is that of a model that mirrors its images."""
        mirrored = lambda params, images: layered(params, images[:, :, ::-1])  # noqa: E731
        start, targets = uniform(1, 3, *SHAPE), np.arange(3)
        how = {"optimizer": optax.sgd(0.05), "iterations": 8}
        flipped = attack(
            layered,
            LAYERS,
            start,
            targets,
            keys(3),
            Settings(views=ViewRange(flip=1.0), views_per_iteration=2, **how),
        )
        plain = attack(mirrored, LAYERS, start, targets, keys(3), Settings(**how))
        for field in ("loss_trace", "last"):
            np.testing.assert_allclose(
                getattr(flipped, field), getattr(plain, field), rtol=1e-4, atol=1e-5
            )
        rows = np.arange(3), targets
        for field in ("last", "best"):
            logits = layered(LAYERS, np.asarray(getattr(flipped, field)))
            np.testing.assert_allclose(
                getattr(flipped, f"{field}_loss"), -jax.nn.log_softmax(logits)[rows], rtol=1e-4
            )
        scores = jax.nn.softmax(layered(LAYERS, np.asarray(flipped.images)))[rows]
        np.testing.assert_allclose(flipped.target_score, scores, rtol=1e-4)


class CostTest(parameterized.TestCase):
    @parameterized.parameters(
        (STILL, 1, 1),
        (STILL, 4, 1),
        (ViewRange(shift=0.1), 1, 1),
        (ViewRange(shift=0.1), 4, 4),
    )
    def test_as_many_images_as_views_are_shown(self, views, count, images):
        seen = set()

        def apply_fn(params, images):
            seen.add(images.shape[0])
            return linear(params, images)

        settings = Settings(optax.sgd(0.1), iterations=7, views=views, views_per_iteration=count)
        cases = Case(jnp.zeros(2, int), keys(2), start=uniform(0, 2, *SHAPE))
        weights = normal(0, PIXELS, CLASSES)
        jax.eval_shape(lambda cases: invert(weights, cases, made(apply_fn, settings)), cases)
        self.assertEqual(seen, {1, images})  # One where the clone is shown as it is.


def halves(point):
    """An image of a pytree of two points, either of which could not be an image alone."""
    return clip_pixels(jnp.concatenate([point["top"], point["rest"][0]]) + 0.5)


class DivergedTest(parameterized.TestCase):
    @parameterized.parameters(
        ((3.0, 4.0, 5.0), (0.1, 0.2, 9.0), False),  # Most came down.
        ((3.0, 4.0, 5.0), (7.0, 8.0, 0.0), True),
        ((3.0, 4.0, 5.0), (3.0, 4.0, 5.0), False),
        ((3.0, 4.0, 5.0), (np.nan, np.nan, 0.0), True),
        ((3.0,), (np.inf,), True),
    )
    def test_by_the_medians(self, first, last, expected):
        self.assertEqual(inversion.diverged(np.array(first), np.array(last)), expected)

    @parameterized.parameters((0.9, False), (2.1, True))
    def test_a_parabola_has_a_largest_rate(self, rate, expected):
        """Plain descent of x²/2 takes x to (1 - rate) x: it diverges above a rate of 2."""
        parabola = Objective(lambda _, unit, image, *rest: (jnp.sum(image**2) / 2, jnp.zeros(2)))
        space = Space(lambda key: jnp.ones((2, 2, 1)), identity, no_penalty, identity)
        cases = make_cases(jax.random.key(0), 0, jnp.arange(3))
        found = invert(None, cases, Attack(space, parabola, optax.sgd(rate), 20))
        self.assertEqual(inversion.diverged(found.loss_trace[:, 0], found.last_loss), expected)


class CompositionTest(parameterized.TestCase):
    """What is passed in is used, whatever it is."""

    WEIGHTS = normal(0, PIXELS, CLASSES)

    def run_linear(self, start, **how):
        settings = Settings(**{"optimizer": optax.sgd(0.1), "iterations": 6} | how)
        targets = np.arange(3)
        return attack(linear, self.WEIGHTS, start, targets, keys(3), settings)

    def test_points_may_be_any_pytree_and_are_not_clipped(self):
        image = uniform(1, 3, *SHAPE)
        point = {"top": image[:, :1] - 0.5, "rest": (image[:, 1:] - 0.5,)}
        # Below 0 in places, where a projection onto images would stop it.
        self.assertLess(point["top"].min(), 0)
        free = {"project": identity, "optimizer": optax.adam(0.01)}
        split = self.run_linear(point, decode=halves, **free)
        whole = self.run_linear(image, decode=clip_pixels, **free)
        for field in ("loss_trace", "last", "best", "images", "seeds"):
            np.testing.assert_allclose(
                getattr(split, field), getattr(whole, field), rtol=1e-5, atol=1e-6
            )

    def test_a_filter_knows_the_iteration_and_has_the_last_word(self):
        """Adds 1/8 before the third update's point is used, and nothing else."""

        def push(point, step):
            return point + jnp.where(step.iteration == 3, step.iterations / 32, 0.0)

        start = uniform(1, 3, *SHAPE, low=0.2, high=0.3)
        standing = {"optimizer": optax.sgd(0.0), "iterations": 4}
        found = self.run_linear(start, filter=push, **standing)
        np.testing.assert_allclose(found.last, start + 0.125, rtol=1e-6)
        before, after = (
            -jax.nn.log_softmax(flat(image) @ self.WEIGHTS)[np.arange(3), np.arange(3)]
            for image in (start, start + 0.125)
        )
        np.testing.assert_allclose(
            found.loss_trace, np.stack([before, before, before, after], 1), rtol=1e-4
        )

    def test_a_restart_starts_from_the_draw_that_the_objective_likes_best(self):
        """The penalty has no say, and a case's own start is not drawn."""
        space = Space(
            start=lambda key: jax.random.uniform(key, SHAPE),
            decode=identity,
            penalty=lambda point, image: 100 * jnp.sum(point),
            project=clip_pixels,
        )
        wanted = np.random.default_rng(0).uniform(size=SHAPE)
        distance = lambda params, unit, image, case, key: (  # noqa: E731
            jnp.sum((image - params) ** 2),
            jnp.zeros(CLASSES),
        )
        attack = Attack(space, Objective(distance), optax.sgd(0.0), 1, draws=7)
        cases = make_cases(jax.random.key(0), 1, jnp.arange(3))
        with self.assertRaisesRegex(UserError, "attack.objective is a function: make it"):
            invert(wanted, cases, attack._replace(objective=distance))
        found = invert(wanted, cases, attack)
        for key, seed in zip(cases.key, found.seeds, strict=True):
            keys = jax.random.split(jax.random.split(key)[0], 7)
            drawn = np.stack([space.start(each) for each in keys])
            away = ((drawn - wanted) ** 2).sum((1, 2, 3))
            np.testing.assert_array_equal(seed, drawn[away.argmin()])
        own = cases._replace(start=jnp.zeros((3, *SHAPE)))
        np.testing.assert_array_equal(invert(wanted, own, attack).seeds, 0)

    def test_a_gradient_function_of_losses_alone(self):
        """Central differences never differentiate the model, and descend as the exact gradient."""

        def differences(loss, point, key):
            ways = jnp.eye(PIXELS).reshape(PIXELS, *SHAPE)

            def slope(way):
                ahead, behind = (loss(point + step * way, key)[0] for step in (0.01, -0.01))
                return (ahead - behind) / 0.02

            return loss(point, key), jnp.tensordot(jax.vmap(slope)(ways), ways, 1)

        start = uniform(1, 3, *SHAPE, low=0.3, high=0.7)
        exact, found = self.run_linear(start), self.run_linear(start, gradient=differences)
        np.testing.assert_allclose(found.loss_trace, exact.loss_trace, rtol=1e-2)

    @parameterized.named_parameters(
        ("lbfgs", optax.lbfgs()),
        ("polyak", optax.polyak_sgd(max_learning_rate=0.05)),
        ("backtracking", optax.chain(optax.sgd(0.5), optax.scale_by_backtracking_linesearch(5))),
        (
            "plateau",
            optax.chain(optax.adam(0.05), optax.contrib.reduce_on_plateau(patience=2)),
        ),
        ("schedule_free", optax.contrib.schedule_free_adamw(0.05)),
        ("momentum", optax.sgd(0.02, momentum=0.9)),
    )
    def test_any_optimizer_descends(self, optimizer):
        found = self.run_linear(uniform(1, 3, *SHAPE, low=0.4, high=0.6), optimizer=optimizer)
        np.testing.assert_array_less(found.last_loss, found.loss_trace[:, 0])

    def test_an_optimizer_that_asks_for_more_is_refused(self):
        with self.assertRaisesRegex(
            UserError, "optimizer cannot be used.*value, grad and value_fn"
        ):
            self.run_linear(
                uniform(1, 3, *SHAPE),
                optimizer=optax.GradientTransformationExtraArgs(
                    lambda point: (), lambda grads, state, point, *, hessian, **_: (grads, state)
                ),
            )

    def test_known_pixels_stay_and_are_shown_to_the_model(self):
        start, known = uniform(1, 3, *SHAPE), uniform(2, 3, *SHAPE)
        mask = uniform(3, 3, *SHAPE[:2], 1) > 0.5
        how = made(linear, Settings(optax.sgd(0.1), 6))
        cases = Case(np.arange(3), keys(3), known, mask, start)
        found = invert(self.WEIGHTS, cases, how)
        where = np.broadcast_to(mask, known.shape)
        for images in (found.images, found.seeds, found.best, found.last):
            np.testing.assert_array_equal(np.asarray(images)[where], known[where])
        self.assertTrue((np.asarray(found.last)[~where] != start[~where]).any())
        # The same as descending from the known pixels with the rest alone.
        shown = jnp.where(mask, known, start)
        logits = flat(shown) @ self.WEIGHTS
        np.testing.assert_allclose(
            found.loss_trace[:, 0],
            -jax.nn.log_softmax(logits)[np.arange(3), np.arange(3)],
            rtol=1e-5,
        )

    def test_arrays_within_an_attack_are_arguments(self):
        """Another prior of the same shape is not compiled anew, and is not taken for the first."""
        traced = []

        def apply_fn(params, images):
            traced.append(images.shape)
            return linear(params, images)

        optimizer = optax.sgd(0.1)

        def decode(mean, point):
            return clip_pixels(mean + point)

        def run(mean):
            space = Space(None, jax.tree_util.Partial(decode, mean), no_penalty, identity)
            objective = classification(apply_fn, losses.infomax)
            cases = Case(np.arange(3), keys(3), start=np.zeros((3, *SHAPE), np.float32))
            return invert(self.WEIGHTS, cases, Attack(space, objective, optimizer, 3))

        first = run(jnp.full(SHAPE, 0.2))
        before = len(traced)
        second = run(jnp.full(SHAPE, 0.7))
        self.assertLen(traced, before + 1)  # The check of the classes looks at the shapes.
        np.testing.assert_allclose(first.seeds, 0.2, rtol=1e-6)
        np.testing.assert_allclose(second.seeds, 0.7, rtol=1e-6)


class CasesTest(parameterized.TestCase):
    WEIGHTS = normal(0, PIXELS, CLASSES)
    HOW = made(linear, Settings(optax.sgd(0.1), 2))

    def refuse(self, message, target, key=None, **rest):
        target = np.asarray(target)
        count = target.size
        cases = Case(
            target,
            keys(count) if key is None else key,
            start=uniform(0, count, *SHAPE),
            **rest,
        )
        with self.assertRaisesRegex(UserError, message):
            invert(self.WEIGHTS, cases, self.HOW)

    @parameterized.parameters(3, 4, 100, -1)
    def test_a_class_that_does_not_exist(self, target):
        self.refuse(
            f"target={target} is not one of the model's 3 classes: give 0 to 2", [0, target]
        )

    @parameterized.parameters(3, -1)
    def test_under_jit_a_class_that_does_not_exist_is_loud(self, target):
        run = jit(lambda cases: invert(self.WEIGHTS, cases, self.HOW))
        found = run(Case(np.array([0, target]), keys(2), start=uniform(0, 2, *SHAPE)))
        np.testing.assert_array_equal(np.isnan(found.target_score), [False, True])
        np.testing.assert_array_equal(np.isnan(found.loss_trace[:, 0]), [False, True])

    def test_a_scalar_target(self):
        self.refuse(r"\[restarts\] integers, but is int.. of shape \(\)", 1)

    def test_a_target_that_is_no_integer(self):
        self.refuse(r"\[restarts\] integers, but is float", [1.0])

    def test_different_lengths(self):
        self.refuse("of one length.* 2 and", [0, 1], keys(3))

    def test_a_mask_without_an_image(self):
        self.refuse("known and cases.mask belong together", [0], mask=np.ones((1, *SHAPE), bool))

    def test_known_pixels_of_another_shape(self):
        image = np.zeros((1, 4, 6, 1), np.float32)
        message = r"known must be .restarts, 4, 5, 1., but is .restarts, 4, 6, 1."
        self.refuse(message, [0], known=image, mask=image > 0)

    def test_one_person_s_cases(self):
        known, mask = uniform(0, *SHAPE), uniform(1, *SHAPE) > 0.5
        cases = make_cases(jax.random.key(3), 2, jnp.arange(4), known, mask)
        np.testing.assert_array_equal(cases.target, [2] * 4)
        np.testing.assert_array_equal(
            jax.random.key_data(cases.key),
            jax.random.key_data(restart_keys(jax.random.key(3), 2, jnp.arange(4))),
        )
        np.testing.assert_array_equal(cases.known, np.stack([known] * 4))
        np.testing.assert_array_equal(cases.mask, np.stack([mask] * 4))


if __name__ == "__main__":
    absltest.main()
