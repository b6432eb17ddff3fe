import jax
import jax.numpy as jnp
import numpy as np
from absl.testing import absltest, parameterized

from mia_jax.attack import filters, invert, make_cases, masks
from mia_jax.attack.inversion import StoppingRule
from mia_jax.attack.mi_face import mi_face
from mia_jax.runtime.errors import UserError

SHAPE, PIXELS = (2, 3, 1), 6
WEIGHTS = np.random.default_rng(0).normal(size=(PIXELS, 3)).astype(np.float32)
FACES = np.zeros((4, *SHAPE), np.float32)


def linear(weights, images):
    return images.reshape(len(images), -1) @ weights


def whole(image, number):
    return image


def fade(image, number):
    """After ten steps nothing is left of the image, and the cost is what it was."""
    return image * (1 - number / 10) * (number < 10)


def by_hand(target, rate, alpha, beta, gamma, process=whole):
    """Algorithm 1 with NumPy: the costs, and the image of least cost."""
    image, images, costs = np.zeros(PIXELS), [], []
    for number in range(1, alpha + 2):
        logits = image @ WEIGHTS
        confidences = np.exp(logits) / np.exp(logits).sum()
        costs.append(1 - confidences[target])
        images.append(image)
        if costs[-1] <= gamma or (len(costs) > beta and costs[-1] >= max(costs[-1 - beta : -1])):
            break
        slope = -confidences[target] * (np.eye(3)[target] - confidences)
        image = process(np.clip(image - rate * WEIGHTS @ slope, 0, 1), number)
    return np.array(costs), images[np.argmin(costs)].reshape(SHAPE)


def run(attack, target=1, **known):
    found = invert(WEIGHTS, make_cases(jax.random.key(0), target, jnp.arange(1), **known), attack)
    return jax.tree.map(lambda array: np.asarray(array[0]), found)


class MiFaceTest(parameterized.TestCase):
    @parameterized.named_parameters(
        ("every_iteration", 0.5, 12, 100, 0.001, whole, 13),
        ("low_enough", 0.5, 60, 100, 0.4, whole, 5),
        ("no_lower_than_before", 0.5, 60, 3, 0.001, fade, 6),
        ("no_lower_than_long_before", 0.5, 60, 6, 0.001, fade, 8),
    )
    def test_trace(self, rate, alpha, beta, gamma, process, length):
        costs, best = by_hand(1, rate, alpha, beta, gamma, process)
        attack = mi_face(
            linear,
            FACES,
            rate=rate,
            iterations=alpha,
            cost_patience=beta,
            cost_enough=gamma,
            process=lambda point, step: process(point, step.iteration),
        )
        found = run(attack)
        self.assertLen(costs, length)
        taken = min(len(costs), alpha)
        self.assertEqual(found.iterations, taken)
        np.testing.assert_allclose(found.loss_trace[:taken], costs[:taken], rtol=1e-4)
        self.assertTrue(np.isnan(found.loss_trace[taken:]).all())
        np.testing.assert_array_equal(found.seeds, 0)
        # The iteration that ends the published loop is completed here.
        self.assertLessEqual(found.target_score * (1 - 1e-5), 1)
        self.assertGreaterEqual(found.target_score, 1 - costs.min() - 1e-5)
        if taken == alpha:
            np.testing.assert_allclose(found.images, best, atol=1e-5)
        else:
            np.testing.assert_allclose(found.best_loss, costs.min(), rtol=1e-4)

    def test_process_is_applied_after_each_update(self):
        attack = mi_face(
            linear, FACES, rate=0.5, iterations=5, process=lambda point, step: 0.5 * point
        )
        costs, _ = by_hand(1, 0.5, 5, 100, 0.01, lambda image, number: 0.5 * image)
        np.testing.assert_allclose(run(attack).loss_trace, costs[:5], rtol=1e-4)
        later = attack._replace(filter=filters.every(5, attack.filter))
        costs, _ = by_hand(1, 0.5, 4, 100, 0.01)
        np.testing.assert_allclose(run(later).loss_trace, costs[:5], rtol=1e-4)

    def test_the_known_part_stays(self):
        truth = np.random.default_rng(1).uniform(0.2, 0.8, SHAPE).astype(np.float32)
        mask = np.array([[True, False, True], [True, True, True]])[..., None]
        found = run(mi_face(linear, FACES, iterations=20), known=truth, mask=mask)
        np.testing.assert_allclose(found.images[mask], truth[mask], rtol=1e-6)
        np.testing.assert_array_equal(found.seeds[~mask], 0)

    @parameterized.parameters(
        ({"rate": 0}, "rate=0 does not descend"),
        ({"cost_enough": 1}, r"cost_enough=1 must be in \[0, 1\)"),
        ({"cost_patience": 0}, "window must be at least 1"),
    )
    def test_refuses(self, arguments, message):
        with self.assertRaisesRegex(UserError, message):
            mi_face(linear, FACES, **arguments)

    def test_a_window_looks_back_so_far_only(self):
        """A loss that oscillates for ever ends by no patience, but by a window of its period."""
        rule = StoppingRule(window=4)
        flip = mi_face(linear, FACES, rate=0.1, iterations=30)._replace(
            stop=rule,
            filter=lambda point, step: jnp.where(step.iteration % 2, point * 0 + 1.0, point * 0),
        )
        found = run(flip)
        self.assertEqual(found.iterations, 5)


class MasksTest(parameterized.TestCase):
    def test_an_ellipse(self):
        mask = masks.outside((10, 20), [masks.Ellipse(0.5, 0.25, 0.2, 0.1)])
        self.assertEqual((mask.shape, mask.dtype), ((10, 20, 1), bool))
        hidden = np.argwhere(~np.asarray(mask[..., 0]))
        np.testing.assert_array_equal(hidden.mean(0), [4.5, 4.5])
        # Half axes of 2 pixels each: the middle of a 4 by 4 square, without its corners.
        self.assertLen(hidden, 12)

    def test_parts_of_a_face(self):
        mask = np.asarray(masks.outside((64, 64, 1)))[..., 0]
        self.assertBetween(1 - mask.mean(), 0.15, 0.35)
        np.testing.assert_array_equal(mask, mask[:, ::-1])
        self.assertTrue(mask[:12].all() and mask[58:].all() and mask[:, :6].all())
        for row, column in ((0.4, 0.3), (0.57, 0.5), (0.76, 0.5)):
            self.assertFalse(mask[int(row * 64), int(column * 64)])

    def test_from_landmarks(self):
        landmarks = np.random.default_rng(0).uniform(5, 60, (68, 2))
        landmarks[48:] = np.random.default_rng(1).uniform((40, 20), (50, 40), (20, 2))
        parts = masks.from_landmarks(landmarks, (80, 64, 1), margin=1.0)
        self.assertLen(parts, 4)
        mouth = parts[3]
        low, high = landmarks[48:].min(0) + 0.5, landmarks[48:].max(0) + 0.5
        np.testing.assert_allclose((mouth.row - mouth.height) * 80, low[0])
        np.testing.assert_allclose((mouth.column + mouth.width) * 64, high[1])
        hidden = ~np.asarray(masks.outside((80, 64), masks.from_landmarks(landmarks, (80, 64))))
        self.assertTrue(hidden[45, 30, 0])


if __name__ == "__main__":
    absltest.main()
