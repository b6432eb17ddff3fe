"""Each strategy on a loss whose minimum is known, and on a class whose boundary is."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized

from mia_jax.attack import losses, make_cases, seeds, spaces
from mia_jax.attack.black_box import answered, search
from mia_jax.attack.generators import mixtures
from mia_jax.attack.inversion import Attack
from mia_jax.attack.objectives import classification
from mia_jax.attack.oracle import Budget, from_labels
from mia_jax.attack.spaces import Space, identity, no_penalty
from mia_jax.attack.strategies import (
    boundary,
    differences,
    evolution,
    gamin,
    mendelian,
    random_steps,
)
from mia_jax.attack.strategies.boundary import Repulsion
from mia_jax.attack.strategies.strategy import Told, leading
from mia_jax.runtime.errors import UserError

SIZE = 4
BEST = np.array([0.6, -0.4, 0.9, -0.2], np.float32)


def start(key):
    return jax.random.normal(key, (SIZE,)) / 2


def decode(point):
    return (0.5 + 0.1 * point).reshape(2, 2, 1)


SPACE = Space(start, decode, no_penalty, identity)
ATTACK = Attack(SPACE, classification(answered, losses.infomax), None, 1)


AT_ONCE = differences.central(optax.sgd(0.5), 0.05)


def points_of(images):
    return 10 * (images.reshape(len(images), -1) - 0.5)


def near_best(images):
    """The confidence that an image is the target is exp(-|point - BEST|^2)."""
    confidence = np.exp(-np.sum((points_of(images) - BEST) ** 2, 1))
    return np.stack([1 - confidence, confidence], 1)


def cases(restarts=2):
    return make_cases(jax.random.key(1), 1, jnp.arange(restarts))


class MinimumTest(parameterized.TestCase):
    @parameterized.named_parameters(
        # The best that was seen is a probe, 0.05 beside the point where the descent stands.
        ("differences", differences.central(optax.sgd(0.2), 0.05), 20, 2 * SIZE, 0.06),
        ("cma_es", evolution.cma_es(12, 0.5), 30, 12, 0.1),
        ("differential", evolution.differential_evolution(16, 0.7, 0.6), 40, 16, 0.15),
        ("genetic", evolution.genetic(24, 0.2), 40, 24, 0.25),
        (
            "random_steps",
            random_steps.along_axes(16, optax.piecewise_constant_schedule(0.5, {10: 0.2})),
            30,
            16,
            0.1,
        ),
    )
    def test_is_found(self, strategy, rounds, candidates, distance):
        attack = ATTACK._replace(iterations=rounds)
        found = search(near_best, cases(), attack, strategy, Budget(10_000))
        self.assertEqual(found.queries, 2 * (1 + rounds * candidates + 1))
        points = points_of(np.asarray(found.clones.images))
        np.testing.assert_array_less(np.linalg.norm(points - BEST, axis=1), distance)
        last = points_of(np.asarray(found.clones.last))
        np.testing.assert_array_less(np.linalg.norm(last - BEST, axis=1), 2 * distance)
        self.assertGreater(np.abs(points[0] - points[1]).max(), 1e-6)

    def test_the_mendelian_variant_finds_it(self):
        attack = ATTACK._replace(iterations=1 + 4 * 40)
        found = search(near_best, cases(6), attack, mendelian.mendelian(12, 0.7), Budget(20_000))
        ends, starts = (
            np.linalg.norm(points_of(np.asarray(images)) - BEST, axis=1)
            for images in (found.clones.images, found.clones.seeds)
        )
        # One bit of a binary number is half of its range: a plant may stay behind such a cliff.
        self.assertLess(np.median(ends), 0.2)
        np.testing.assert_array_less(ends, starts / 2)
        np.testing.assert_array_less(found.asked, 2 + 12 + 40 * (2 + 1 + 1 + 1) * 12 + 1)
        codes = jnp.array([[1, 6], [2**mendelian.BITS - 1, 0]], jnp.uint32)
        turned = mendelian._reverse(codes)
        np.testing.assert_array_equal(turned, [[2**19, 2**18 + 2**17], [2**mendelian.BITS - 1, 0]])
        np.testing.assert_array_equal(mendelian._reverse(turned), codes)

    def test_a_rate_of_a_half_finds_the_minimum_of_a_square_at_once(self):
        """Central differences of a square are exact, and the loss is |point - BEST|^2."""
        found = search(near_best, cases(), ATTACK, AT_ONCE, Budget(100))
        last = points_of(np.asarray(found.clones.last))
        np.testing.assert_allclose(last, np.tile(BEST, (2, 1)), atol=2e-3)

    def test_leading_numbers_only(self):
        strategy = leading(AT_ONCE, 2)
        found = search(near_best, cases(), ATTACK._replace(iterations=2), strategy, Budget(100))
        points, starts = (
            points_of(np.asarray(images)) for images in (found.clones.last, found.clones.seeds)
        )
        np.testing.assert_allclose(points[:, 2:], starts[:, 2:], atol=1e-5)
        np.testing.assert_allclose(points[:, :2], np.tile(BEST[:2], (2, 1)), atol=2e-3)

    @parameterized.parameters(
        (lambda: evolution.cma_es(3), "population=3"),
        (lambda: mendelian.mendelian(5), "population=5 must be even"),
        (lambda: mendelian.mendelian(low=1, high=1), "high=1 above low=1"),
        (lambda: evolution.differential_evolution(deviation=0), "deviation=0"),
        (lambda: evolution.differential_evolution(weight=3), "weight=3"),
        (lambda: evolution.differential_evolution(crossover=-1), "crossover=-1"),
    )
    def test_refuses(self, make, message):
        with self.assertRaisesRegex(UserError, message):
            make()


NORMAL = np.array([0.6, 0, -0.8, 0])  # Of length 1.
OFFSET = 0.3


def inside(points):
    """The target's class: beyond a plane at a known distance from the origin."""
    return points @ NORMAL > OFFSET


class MixturesTest(parameterized.TestCase):
    def test_the_best_mixture_is_found(self):
        """Of three faces: half the first, half the third."""
        faces = np.random.default_rng(0).uniform(size=(3, 2, 2, 1)).astype(np.float32)
        best = (faces[0] + faces[2]) / 2

        def predict(images):
            confidence = np.exp(-10 * np.sum((images - best) ** 2, (1, 2, 3)))
            return np.stack([1 - confidence, confidence], 1)

        space = mixtures.space(faces, count=2)
        attack = ATTACK._replace(space=space, iterations=30)
        steps = random_steps.along_axes(16, optax.constant_schedule(0.1))
        found = search(predict, cases(), attack, steps, Budget(2000))
        np.testing.assert_allclose(found.clones.best, np.stack([best, best]), atol=0.05)
        point = space.project(jnp.array([0.7, 0.7, -1.0]))
        np.testing.assert_allclose(point, [0.5, 0.5, 0], atol=1e-6)
        np.testing.assert_allclose(space.decode(point), (faces[0] + faces[1]) / 2, rtol=1e-5)
        self.assertAlmostEqual(float(space.start(jax.random.key(0)).sum()), 1, places=5)


class GaminTest(absltest.TestCase):
    def test_the_generator_learns_what_the_model_likes(self):
        """A model that likes bright images, learned from noise alone."""

        def predict(images):
            confidence = images.mean((1, 2, 3)) ** 4
            return np.stack([1 - confidence, confidence], 1)

        constants = gamin.Constants(batch=8, noise=4, hidden=16, coarse=4, rate=1e-2)
        space = spaces.pixels(jnp.zeros((1, 8, 8, 1)), seeds.uniform_noise)
        attack = ATTACK._replace(space=space, iterations=60)
        strategy = gamin.gamin((8, 8, 1), constants)
        found = search(predict, cases(), attack, strategy, Budget(5000))
        self.assertEqual(found.queries, 2 * (1 + 60 * 16 + 1))
        np.testing.assert_array_less(0.65, np.asarray(found.clones.last).mean((1, 2, 3)))
        np.testing.assert_array_less(np.asarray(found.clones.seeds).mean((1, 2, 3)), 0.6)


class BoundaryTest(parameterized.TestCase):
    def tell(self, strategy, state, candidates):
        points = np.asarray(candidates.points)
        leads = jnp.asarray(inside(points)) & candidates.wanted
        return strategy.tell(state, Told(candidates.points, candidates.wanted, None, leads))

    def test_an_iteration_by_hand(self):
        """Draws until the class is found, then a step away from what is outside of it."""
        strategy = boundary.repulsion(Repulsion(draws=6, probes=5, radius=0.8))
        state = strategy.init(jax.random.key(0), jnp.array([-1.0, 0, 1, 0]))
        candidates, state = strategy.ask(jax.random.key(1), state)
        self.assertEqual(int(candidates.wanted.sum()), 1)  # The start, which is not inside.
        np.testing.assert_array_equal(candidates.points[0], [-1, 0, 1, 0])
        state = self.tell(strategy, state, candidates)
        for number in range(2, 20):
            candidates, state = strategy.ask(jax.random.key(number), state)
            self.assertEqual(int(candidates.wanted.sum()), 6)
            self.assertLessEqual(np.abs(candidates.points).max(), 1.5)
            state = self.tell(strategy, state, candidates)
            hits = inside(np.asarray(candidates.points))
            if hits.any():
                break
        point = np.asarray(candidates.points)[hits.argmax()]
        np.testing.assert_array_equal(strategy.point(state), point)
        probes, state = strategy.ask(jax.random.key(50), state)
        ways = np.asarray(probes.points)[:5] - point
        np.testing.assert_allclose(np.linalg.norm(ways, axis=1), 0.8, rtol=1e-5)
        self.assertEqual(int(probes.wanted.sum()), 5)
        state = self.tell(strategy, state, probes)
        outside = ~inside(point + ways)
        moved = np.clip(point - 0.8 / 3 * ways[outside].sum(0) / 5 / 0.8, -1.5, 1.5)
        move, state = strategy.ask(jax.random.key(51), state)
        np.testing.assert_allclose(move.points[0], moved, atol=1e-6)
        self.assertEqual(int(move.wanted.sum()), 1)
        grown = 1 - outside.mean() > 0.75
        np.testing.assert_allclose(state.radius, 0.8 * (1.3 if grown else 1), rtol=1e-6)
        state = self.tell(strategy, state, move)
        np.testing.assert_allclose(state.point, moved if inside(moved) else point, atol=1e-6)

    def test_goes_as_far_from_a_plane_as_it_is_let(self):
        """Of all points within the limit the corner along the normal is furthest inside."""
        labels = lambda images: inside(points_of(images)).astype(int)  # noqa: E731
        constants = Repulsion(draws=16, probes=16, radius=0.3, patience=25)
        found = search(
            from_labels(labels, 2),
            cases(3),
            ATTACK._replace(iterations=400),
            boundary.repulsion(constants),
            Budget(100_000),
        )
        last = points_of(np.asarray(found.clones.last))
        depth = last @ NORMAL - OFFSET
        deepest = 1.5 * np.abs(NORMAL).sum() - OFFSET
        np.testing.assert_array_less(0.6 * deepest, depth)
        self.assertFalse(found.clones.returned_best.any())
        np.testing.assert_array_less(np.abs(last), 1.51)
        # Patience ended them: a move is one query, its probes sixteen.
        np.testing.assert_array_less(found.clones.iterations, 400)

    def test_a_person_that_is_never_found(self):
        nobody = from_labels(lambda images: np.zeros(len(images), int), 2)
        found = search(
            nobody,
            cases(2),
            ATTACK._replace(iterations=5),
            boundary.repulsion(Repulsion(draws=16, probes=16)),
            Budget(1000),
        )
        self.assertEqual(found.queries, 2 * (1 + 1 + 4 * 16 + 1))
        np.testing.assert_array_equal(found.clones.target_score, [0, 0])


if __name__ == "__main__":
    absltest.main()
