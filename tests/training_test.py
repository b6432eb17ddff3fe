import functools
import itertools
import pathlib
import tempfile
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from streamed import Streamed

from mia_jax import recognizer
from mia_jax.recognizer import training
from mia_jax.recognizer.training import Photographs, Settings
from mia_jax.recognizer.views import STILL, ViewRange
from mia_jax.runtime import sharding, storage

SHAPE, CLASSES = (16, 16, 1), 3
QUICK = Settings(
    learning_rate=3e-3, batch_size=6, max_steps=30, evaluate_every=3, augmentation=STILL
)


def numbered(count):
    """Photographs that show their own number, and as labels the same."""
    images = np.zeros((count, *SHAPE), np.float32) + np.arange(count)[:, None, None, None]
    return Photographs(images, np.arange(count), np.arange(count, dtype=np.int32))


def separable(count, seed=0):
    """Each class is bright in a third of its own, in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % CLASSES
    images = random.uniform(0, 0.5, (count, *SHAPE)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[5 * label : 5 * label + 5] += 0.5
    return Photographs(images, np.arange(count), labels)


def fresh():
    """The state before the first step, in buffers of its own, as `train_step` uses them up."""
    return jax.tree.map(jnp.copy, drawn())


@functools.cache
def drawn():
    """The state before the first step; the weights from numpy, as `init` takes long to compile."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: recognizer.init(jax.random.key(0), CLASSES, SHAPE))

    def draw(leaf):
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0
        return jnp.asarray(scale * random.standard_normal(leaf.shape), jnp.float32)

    with mock.patch.object(recognizer, "init", return_value=jax.tree.map(draw, shapes)) as init:
        state = training.start(jax.random.key(0), CLASSES, SHAPE, QUICK.learning_rate)
    init.assert_called_once_with(jax.random.key(0), CLASSES, SHAPE)
    return state


def trees_equal(one, other):
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), one, other)
    return jax.tree.all(same)


class BatchesTest(parameterized.TestCase):
    @parameterized.parameters((12, 4), (7, 3), (5, 5), (3, 32))
    def test_every_epoch_shows_each_photograph_once(self, count, size):
        batch = training.batches(numbered(count), size, seed=0, mesh=sharding.make_mesh())
        labels = [np.asarray(batch(step)[1]) for step in range(3 * count)]
        self.assertEqual({len(one) for one in labels}, {min(size, count)})
        epochs = np.concatenate(labels)[: 3 * count].reshape(3, count)
        for epoch in epochs:
            self.assertCountEqual(epoch, range(count))
        self.assertGreater(len({tuple(epoch) for epoch in epochs}), 1)

    def test_a_batch_depends_on_its_step_only(self):
        every = training.batches(numbered(10), 4, seed=3, mesh=sharding.make_mesh())
        labels = [np.asarray(every(step)[1]) for step in range(8)]
        resumed = training.batches(numbered(10), 4, seed=3, mesh=sharding.make_mesh())
        for step in (7, 2, 5):
            np.testing.assert_array_equal(resumed(step)[1], labels[step])
        other = training.batches(numbered(10), 4, seed=4, mesh=sharding.make_mesh())
        self.assertFalse(all((other(step)[1] == labels[step]).all() for step in range(8)))

    @parameterized.parameters(False, True)
    def test_images_go_with_their_labels_in_memory_and_streamed(self, streamed):
        images = numbered(9).images
        some = Photographs(
            Streamed(images) if streamed else images,
            np.array([8, 2, 5, 7, 1]),
            np.array([80, 20, 50, 70, 10], np.int32),
        )
        batch = training.batches(some, 2, seed=0, mesh=sharding.make_mesh())
        seen = set()
        for step in range(5):
            images, labels = batch(step)
            self.assertEqual(images.shape, (2, *SHAPE))
            self.assertEqual(labels.dtype, np.int32)
            np.testing.assert_array_equal(10 * images[:, 0, 0, 0], labels)
            seen |= set(np.asarray(labels).tolist())
        self.assertEqual(seen, {80, 20, 50, 70, 10})

    def test_streamed_batches_are_those_in_memory(self):
        memory = numbered(9)
        streamed = memory._replace(images=Streamed(memory.images))
        for step in range(4):
            one, other = (
                training.batches(p, 4, seed=1, mesh=sharding.make_mesh())(step)
                for p in (memory, streamed)
            )
            self.assertTrue(trees_equal(one, other))


class MeasureTest(parameterized.TestCase):
    @parameterized.parameters(4, 256)
    def test_agrees_with_numpy_whatever_the_batch(self, batch_size):
        params = fresh().params
        photographs = separable(6)
        shuffled = photographs._replace(
            images=Streamed(photographs.images[::-1]), indices=photographs.indices[::-1]
        )
        logits = np.asarray(jax.jit(recognizer.logits)(params, photographs.images), float)
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        loss, accuracy = training.measure(params, shuffled, batch_size)
        expected = -np.log(chances[np.arange(6), photographs.labels]).mean()
        self.assertAlmostEqual(loss, expected, places=4)
        self.assertAlmostEqual(accuracy, (logits.argmax(1) == photographs.labels).mean())


class TrainStepTest(parameterized.TestCase):
    def test_is_a_step_of_adam_on_the_cross_entropy(self):
        state, photographs = fresh(), separable(6)
        images, labels = photographs.images, photographs.labels

        @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def gradient(params):
            def loss(params):
                logits, _ = recognizer.Recognizer(CLASSES).apply({"params": params}, images)
                return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(6), labels])

            return jax.value_and_grad(loss)(params)

        value, slope = gradient(state.params)
        before = jax.tree.map(np.asarray, state.params)
        state = jax.tree.map(jnp.copy, state)
        after, reported = training.train_step(
            state, images, labels, jax.random.key(1), QUICK, sharding.make_mesh()
        )
        self.assertAlmostEqual(float(reported), float(value), places=4)
        self.assertEqual(int(after.step), 1)
        # Adam's first step is the rate, against the sign of each derivative that is not tiny.
        trees = jax.tree.map(np.asarray, (before, after.params, slope))
        for old, new, derivative in zip(*map(jax.tree.leaves, trees), strict=True):
            clear = np.abs(derivative) > 1e-3
            np.testing.assert_allclose(
                (new - old)[clear], -3e-3 * np.sign(derivative)[clear], rtol=0.02
            )
        self.assertGreater(np.count_nonzero(np.abs(trees[2]["L7"]["kernel"]) > 1e-3), 100)
        self.assertTrue(trees_equal(after.best_params, before))

    def test_views_change_with_the_step_and_the_key(self):
        settings = Settings(batch_size=6, augmentation=ViewRange(brightness=0.3))
        photographs = separable(6)

        def loss(step, seed):
            state = fresh()._replace(step=jnp.int32(step))
            key = jax.random.key(seed)
            arguments = photographs.images, photographs.labels, key, settings, sharding.make_mesh()
            return float(training.train_step(state, *arguments)[1])

        self.assertEqual(loss(0, 1), loss(0, 1))
        self.assertLen({loss(0, 1), loss(1, 1), loss(0, 2)}, 3)


class RoundsTest(parameterized.TestCase):
    def run_rounds(self, state, settings=QUICK, photographs=None, held_out=None):
        mesh = sharding.make_mesh()
        source = photographs or separable(12)
        batch = training.batches(source, settings.batch_size, seed=0, mesh=mesh)
        looks = held_out or separable(6, seed=1)
        return training.rounds(state, batch, looks, jax.random.key(2), settings, mesh)

    def scripted(self, looks, settings):
        """Runs rounds whose looks at the held-out photographs are these (loss, accuracy)."""
        with (
            mock.patch.object(training, "measure", side_effect=looks),
            mock.patch.object(
                training,
                "train_step",
                lambda state, *_: (state._replace(step=state.step + 1), jnp.float32(0)),
            ),
        ):
            nothing = lambda step: (None, None)  # noqa: E731
            return list(
                training.rounds(
                    fresh(), nothing, None, jax.random.key(0), settings, sharding.make_mesh()
                )
            )

    def test_interrupted_and_resumed_is_bit_for_bit_uninterrupted(self):
        whole = list(itertools.islice(self.run_rounds(fresh()), 3))
        self.assertEqual([metrics.step for _, metrics in whole], [3, 6, 9])
        with tempfile.TemporaryDirectory() as root:
            checkpoint = pathlib.Path(root) / "training"
            parts, state = [], fresh()
            for _ in range(3):
                state, metrics = next(self.run_rounds(state))
                parts.append((state, metrics))
                storage.save_checkpoint(checkpoint, state)
                state = storage.restore_checkpoint(checkpoint, fresh())
        for (state, metrics), (other_state, other_metrics) in zip(whole, parts, strict=True):
            self.assertEqual(metrics, other_metrics)
            self.assertTrue(trees_equal(state, other_state))

    def test_learns_and_keeps_the_weights_of_the_best_round(self):
        held_out = separable(6, seed=1)
        looks = list(self.run_rounds(fresh(), QUICK, separable(24), held_out))
        ranked = [(metrics.held_out_accuracy, -metrics.held_out_loss) for _, metrics in looks]
        best = max(range(len(ranked)), key=lambda number: ranked[number])
        state = looks[-1][0]
        self.assertEqual(ranked[best][0], 1)
        self.assertGreater(1, ranked[0][0])
        self.assertTrue(trees_equal(state.best_params, looks[best][0].params))
        self.assertEqual(int(state.best_step), looks[best][1].step)
        loss, accuracy = training.measure(state.best_params, held_out)
        self.assertEqual((accuracy, -loss), ranked[best])
        self.assertEqual(float(state.best_accuracy), accuracy)
        self.assertEqual(float(state.best_loss), loss)
        losses = [metrics.training_loss for _, metrics in looks]
        self.assertLess(losses[-1], losses[0] / 2)

    @parameterized.named_parameters(
        ("accuracy_first", [(1.0, 0.5), (9.0, 0.6), (0.1, 0.5)], 2),
        ("then_the_loss", [(1.0, 0.5), (0.9, 0.5), (0.95, 0.5)], 2),
        ("then_the_earlier", [(1.0, 0.5), (1.0, 0.5)], 1),
        # 0.7 and 0.3 are a little more and a little less than their float32.
        ("more_than_its_float32", [(1.0, 0.7), (2.0, 0.7), (3.0, 0.7)], 1),
        ("less_than_its_float32", [(1.0, 0.3), (0.5, 0.3), (0.4, 0.3)], 3),
        ("none_recognized", [(1.0, 0.0), (2.0, 0.0)], 1),
    )
    def test_which_round_is_best(self, looks, expected):
        settings = Settings(evaluate_every=10, max_steps=10 * len(looks))
        state, _ = self.scripted(looks, settings)[-1]
        self.assertEqual(int(state.best_step), 10 * expected)
        loss, accuracy = looks[expected - 1]
        self.assertAlmostEqual(float(state.best_accuracy), accuracy, places=6)
        self.assertAlmostEqual(float(state.best_loss), loss, places=6)

    @parameterized.parameters(
        (30, [0.5, 0.6, 0.6, 0.6, 0.6], 5),  # Two rounds to the best, three in vain.
        (30, [0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], 7),
        (10, [0.5, 0.5], 2),
        (1000, [0.5] * 8, 8),  # As many as the steps allow.
    )
    def test_stops_when_it_no_longer_improves(self, patience, accuracies, rounds):
        settings = Settings(evaluate_every=10, max_steps=80, patience=patience)
        looks = ((1.0, accuracy) for accuracy in itertools.chain(accuracies, [0.0] * 10))
        self.assertLen(self.scripted(looks, settings), rounds)

    def test_the_last_round_ends_with_the_steps(self):
        settings = Settings(evaluate_every=10, max_steps=25)
        found = self.scripted([(1.0, 0.5)] * 3, settings)
        self.assertEqual([metrics.step for _, metrics in found], [10, 20, 25])
        self.assertEqual(int(found[-1][0].step), 25)

    def test_reports_the_mean_loss_of_the_round(self):
        values = iter([4.0, 2.0, 1.0, 0.0])

        def step(state, *_):
            return state._replace(step=state.step + 1), jnp.float32(next(values))

        settings = Settings(evaluate_every=2, max_steps=4)
        with (
            mock.patch.object(training, "measure", return_value=(0.25, 0.5)),
            mock.patch.object(training, "train_step", step),
        ):
            nothing = lambda step: (None, None)  # noqa: E731
            rounds = training.rounds(
                fresh(), nothing, None, jax.random.key(0), settings, sharding.make_mesh()
            )
            found = [metrics for _, metrics in rounds]
        self.assertEqual(
            found, [training.Metrics(2, 3.0, 0.25, 0.5), training.Metrics(4, 0.5, 0.25, 0.5)]
        )


class StartTest(parameterized.TestCase):
    def test_nothing_has_been_looked_at(self):
        state = fresh()
        self.assertEqual(int(state.step), 0)
        self.assertFalse(training.finished(state, QUICK))
        self.assertTrue(trees_equal(state.best_params, state.params))
        self.assertEqual(
            jax.tree.structure(state.optimizer),
            jax.tree.structure(optax.adam(1e-3).init(state.params)),
        )

    def test_no_patience_still_trains_for_a_round(self):
        self.assertFalse(training.finished(fresh(), Settings(patience=0)))


if __name__ == "__main__":
    absltest.main()
