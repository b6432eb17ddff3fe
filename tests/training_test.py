import dataclasses
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
from mia_jax.recognizer import network, photographs, training
from mia_jax.recognizer.architectures import ARCHITECTURES
from mia_jax.recognizer.photographs import Batches, Photographs
from mia_jax.recognizer.training import Settings
from mia_jax.recognizer.views import STILL, ViewRange
from mia_jax.runtime import checkpoints, records, sharding

SHAPE, CLASSES = (16, 16, 1), 3
RESNET = ARCHITECTURES["resnet"]
QUICK = Settings(
    learning_rate=3e-3,
    batch_size=6,
    dropout=0.2,
    averaging=0.5,
    max_epochs=8,
    evaluate_every=1,
    patience=4,
    augmentation=STILL,
)


def separable(count, seed=0):
    """Each class is bright in a third of its own, in noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count, dtype=np.int32) % CLASSES
    images = random.uniform(0, 0.5, (count, *SHAPE)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[5 * label : 5 * label + 5] += 0.5
    return Photographs(images, np.arange(count), labels)


def fresh(architecture="cnn"):
    """The state before the first step, in buffers of its own, as `train_step` uses them up."""
    return jax.tree.map(jnp.copy, drawn(architecture))


@functools.cache
def drawn(architecture):
    """The state before the first step; the weights from numpy, as `init` takes long to compile."""
    random, model = np.random.default_rng(0), ARCHITECTURES[architecture]
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), CLASSES, SHAPE))

    def draw(path, leaf):
        if "scale" in jax.tree_util.keystr(path):
            return jnp.ones(leaf.shape)
        scale = np.sqrt(2 / np.prod(leaf.shape[:-1])) if len(leaf.shape) > 1 else 0
        return jnp.asarray(scale * random.standard_normal(leaf.shape), jnp.float32)

    init = mock.Mock(return_value=jax.tree_util.tree_map_with_path(draw, shapes))
    with mock.patch.dict(ARCHITECTURES, {architecture: model._replace(init=init)}):
        state = training.start(jax.random.key(0), CLASSES, SHAPE, architecture)
    init.assert_called_once_with(jax.random.key(0), CLASSES, SHAPE)
    return state


def trees_equal(one, other):
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), one, other)
    return jax.tree.all(same)


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


def one_step(settings, step=0, seed=1):
    """Takes a step on six photographs: the weights before, the state after, and the loss."""
    state, some = fresh()._replace(step=np.int32(step)), separable(6)
    before = jax.tree.map(np.asarray, jax.tree.map(jnp.copy, state.params))
    after, loss = training.train_step(
        state, some.images, some.labels, jax.random.key(seed), settings, sharding.make_mesh()
    )
    return before, after, float(loss)


def changes(before, after):
    return jax.tree.map(lambda one, other: np.asarray(other) - one, before, after.params)


class TrainStepTest(parameterized.TestCase):
    def test_is_a_step_of_adam_on_the_cross_entropy(self):
        before, after, reported = one_step(dataclasses.replace(QUICK, dropout=0.0))
        some = separable(6)

        @functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
        def gradient(params):
            def loss(params):
                logits, _ = recognizer.Recognizer(CLASSES).apply({"params": params}, some.images)
                return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(6), some.labels])

            return jax.value_and_grad(loss)(params)

        value, slope = gradient(before)
        self.assertAlmostEqual(reported, float(value), places=4)
        self.assertEqual(int(after.step), 1)
        # Adam's first step is the rate, against the sign of each derivative that is not tiny.
        for change, derivative in zip(
            jax.tree.leaves(changes(before, after)), jax.tree.leaves(slope), strict=True
        ):
            clear = np.abs(derivative) > 1e-3
            np.testing.assert_allclose(change[clear], -3e-3 * np.sign(derivative)[clear], rtol=0.02)
        self.assertGreater(np.count_nonzero(np.abs(slope["L7"]["kernel"]) > 1e-3), 100)

    def test_views_change_with_the_step_and_the_key(self):
        settings = Settings(batch_size=6, dropout=0, augmentation=ViewRange(brightness=0.3))
        loss = lambda step, seed: one_step(settings, step, seed=seed)[2]  # noqa: E731
        self.assertEqual(loss(0, 1), loss(0, 1))
        self.assertLen({loss(0, 1), loss(1, 1), loss(0, 2)}, 3)

    def test_the_mean_of_the_weights_follows_them(self):
        before, after, _ = one_step(dataclasses.replace(QUICK, averaging=0.75))
        expected = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, before, after.params)
        for one, other in zip(
            jax.tree.leaves(after.average), jax.tree.leaves(expected), strict=True
        ):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)

    def test_dropout_leaves_out_other_units_at_each_step(self):
        settings = dataclasses.replace(QUICK, dropout=0.5)
        whole = one_step(dataclasses.replace(QUICK, dropout=0.0))[2]
        losses = [one_step(settings, step)[2] for step in range(3)]
        self.assertLen({whole, *losses}, 4)
        self.assertEqual(losses[1], one_step(settings, 1)[2])

    def test_what_dropout_leaves_out_is_not_learned(self):
        def moved(dropout):
            before, after, _ = one_step(dataclasses.replace(QUICK, dropout=dropout))
            return (np.abs(changes(before, after)["L7"]["kernel"]).max(1) > 0).mean()

        # One of six photographs keeps a unit with the probability 1 - 0.9^6 = 0.47.
        self.assertBetween(moved(0.9) / moved(0.0), 0.2, 0.6)


class ClassifyTest(parameterized.TestCase):
    def test_kept_units_weigh_more_so_that_the_mean_stays(self):
        params, random = fresh().params, np.random.default_rng(1)
        convolved = random.uniform(size=(2, 64)).astype(np.float32)
        factors = np.ones((2, 2, network.UNITS), np.float32)
        whole = network.classify(params, convolved)
        for one, other in zip(whole, network.classify(params, convolved, factors), strict=True):
            np.testing.assert_array_equal(one, other)
        kept = random.random(network.UNITS) < 0.5
        factors[1] = kept / 0.5
        logits, features = network.classify(params, convolved, factors)
        np.testing.assert_allclose(features, whole[1] * kept * 2, rtol=1e-6)
        np.testing.assert_allclose(
            logits, features @ params["L7"]["kernel"] + params["L7"]["bias"], rtol=1e-4, atol=1e-5
        )


class RoundsTest(parameterized.TestCase):
    def run_rounds(self, state, settings=QUICK, source=None, validation=None):
        source = source or separable(12)
        mesh = sharding.make_mesh()
        batches = photographs.batches(source, settings.batch_size, seed=0, mesh=mesh)
        looks = validation or separable(6, seed=1)
        return training.rounds(state, batches, looks, jax.random.key(2), settings, mesh)

    def scripted(self, looks, settings, epoch=10):
        """Runs rounds whose looks at the validation photographs are these (loss, accuracy)."""

        def step(state, *_):
            return state._replace(step=int(state.step) + 1), jnp.float32(0)

        with (
            mock.patch.object(training, "measure", side_effect=looks),
            mock.patch.object(training, "train_step", step),
        ):
            batches = Batches(lambda step: (None, None), epoch)
            key, mesh = jax.random.key(0), sharding.make_mesh()
            return list(training.rounds(fresh(), batches, None, key, settings, mesh))

    def test_interrupted_and_resumed_is_bit_for_bit_uninterrupted(self):
        settings = dataclasses.replace(QUICK, max_epochs=4)
        whole = list(self.run_rounds(fresh(), settings))
        self.assertEqual([metrics.step for _, metrics in whole], [2, 4, 6, 8])
        with tempfile.TemporaryDirectory() as root:
            checkpoint = pathlib.Path(root) / "training"
            parts, state = [], fresh()
            for _ in range(4):
                state, metrics = next(self.run_rounds(state, settings))
                parts.append((state, metrics))
                checkpoints.save_checkpoint(checkpoint, state)
                state = checkpoints.restore_checkpoint(checkpoint, fresh())
        self.assertTrue(training.finished(state, 2, settings))
        for (state, metrics), (other_state, other_metrics) in zip(whole, parts, strict=True):
            self.assertEqual(metrics, other_metrics)
            self.assertTrue(trees_equal(state, other_state))

    def test_learns_what_it_never_saw(self):
        validation = separable(6, seed=1)
        looks = list(self.run_rounds(fresh(), QUICK, separable(24), validation))
        self.assertGreater(1, looks[0][1].validation_accuracy)
        state, last = looks[-1]
        self.assertEqual(last.validation_accuracy, 1)
        losses = [metrics.training_loss for _, metrics in looks]
        self.assertLess(losses[-1], losses[0] / 2)
        measured = training.measure(state.average, validation)
        self.assertEqual(measured, (last.validation_loss, last.validation_accuracy))
        self.assertEqual(training.measure(state.average, separable(30, seed=2))[1], 1)

    def test_a_residual_network_learns_and_goes_on_where_it_was_interrupted(self):
        settings = dataclasses.replace(QUICK, architecture="resnet", max_epochs=4)
        looks = list(self.run_rounds(fresh("resnet"), settings, separable(24)))
        state, last = looks[-1]
        self.assertGreater(last.validation_accuracy, 0.6)
        self.assertLess(last.training_loss, looks[0][1].training_loss)
        measured = training.measure(state.average, separable(6, seed=1), apply_fn=RESNET.logits)
        self.assertEqual(measured, (last.validation_loss, last.validation_accuracy))
        with tempfile.TemporaryDirectory() as root:
            checkpoint = pathlib.Path(root) / "training"
            checkpoints.save_checkpoint(checkpoint, looks[1][0])
            restored = checkpoints.restore_checkpoint(checkpoint, fresh("resnet"))
        resumed, _ = next(self.run_rounds(restored, settings, separable(24)))
        self.assertTrue(trees_equal(resumed, looks[2][0]))

    @parameterized.named_parameters(
        # The loss and the accuracy of each look, then when the last progress was.
        ("accuracy", [(1.0, 0.5), (9.0, 0.6)], 2),
        ("loss", [(1.0, 0.5), (0.9, 0.4)], 2),
        ("hardly_less_loss", [(1.0, 0.5), (0.995, 0.5)], 1),
        ("less_loss_in_small_steps", [(1.0, 0.5), (0.995, 0.5), (0.985, 0.5)], 3),
        ("neither", [(1.0, 0.5), (1.0, 0.5)], 1),
        ("worse_than_the_best_look", [(1.0, 0.5), (2.0, 0.4), (1.5, 0.45)], 1),
        ("records_of_different_looks", [(1.0, 0.5), (2.0, 0.6), (1.5, 0.55)], 2),
        # 0.7 and 0.3 are a little more and a little less than their float32.
        ("more_than_its_float32", [(1.0, 0.7), (2.0, 0.7), (3.0, 0.7)], 1),
        ("less_than_its_float32", [(1.0, 0.3), (2.0, 0.3), (3.0, 0.3)], 1),
        ("none_recognized", [(1.0, 0.0), (2.0, 0.0)], 1),
        ("not_a_number", [(1.0, 0.5), (float("nan"), 0.0)], 1),
        ("no_longer_not_a_number", [(float("nan"), 0.0), (1.0, 0.0)], 2),
    )
    def test_what_progress_is(self, looks, expected):
        settings = Settings(evaluate_every=10, max_epochs=10 * len(looks))
        *_, (state, _) = self.scripted(looks, settings)
        self.assertEqual(int(state.progress_step), 100 * expected)

    @parameterized.parameters(
        (30, [0.5, 0.6, 0.6, 0.6, 0.6], 5),  # Two rounds with progress, three in vain.
        (30, [0.5, 0.4, 0.4, 0.6, 0.5, 0.5, 0.5], 7),
        (10, [0.5, 0.5], 2),
        (0, [0.5], 1),  # One round at least.
        (1000, [0.5] * 8, 8),  # As many as the epochs allow.
    )
    def test_stops_when_it_no_longer_helps(self, patience, accuracies, rounds):
        settings = Settings(evaluate_every=10, max_epochs=80, patience=patience)
        looks = ((1.0, accuracy) for accuracy in itertools.chain(accuracies, [0.9] * 10))
        found = self.scripted(looks, settings)
        self.assertLen(found, rounds)
        self.assertTrue(training.finished(found[-1][0], 10, settings))
        self.assertEqual(int(found[-1][0].step), 100 * rounds)  # Ten epochs of ten steps.

    def test_trains_for_a_round_however_few_the_epochs(self):
        found = self.scripted([(1.0, 0.5)] * 9, Settings(max_epochs=1))
        self.assertEqual([metrics.step for _, metrics in found], [100])

    def test_reports_the_mean_loss_of_the_round(self):
        values = iter([4.0, 2.0, 1.0, 0.0])

        def step(state, *_):
            return state._replace(step=int(state.step) + 1), jnp.float32(next(values))

        settings = Settings(evaluate_every=2, max_epochs=4)
        with (
            mock.patch.object(training, "measure", return_value=(0.25, 0.5)),
            mock.patch.object(training, "train_step", step),
        ):
            batches = Batches(lambda step: (None, None), 1)
            rounds = training.rounds(
                fresh(), batches, None, jax.random.key(0), settings, sharding.make_mesh()
            )
            found = [metrics for _, metrics in rounds]
        self.assertEqual(
            found, [training.Metrics(2, 3.0, 0.25, 0.5), training.Metrics(4, 0.5, 0.25, 0.5)]
        )


class StartTest(parameterized.TestCase):
    def test_nothing_has_been_looked_at(self):
        state = fresh()
        self.assertEqual(int(state.step), 0)
        self.assertFalse(training.finished(state, 1, QUICK))
        self.assertTrue(trees_equal(state.average, state.params))
        self.assertEqual(
            jax.tree.structure(state.optimizer),
            jax.tree.structure(optax.adam(1e-3).init(state.params)),
        )

    def test_an_ordinary_victim_by_default(self):
        self.assertEqual(Settings().augmentation.noise, 0)

    def test_a_recognizer_depends_on_its_name_alone(self):
        draws = {
            (seed, role): tuple(jax.random.bits(key).item() for key in training.keys(seed, role))
            for seed in (0, 1)
            for role in ("target", "evaluator", "evaluator 2")
        }
        self.assertLen({bits for pair in draws.values() for bits in pair}, 12)
        # The same in every process and version: a stored training must go on as it began.
        self.assertEqual(draws[0, "target"], (2230020895, 990452523))


class FactsTest(parameterized.TestCase):
    def test_come_back_from_a_file_as_they_were(self):
        facts = training.RecognizerFacts(
            role="evaluator",
            classes=3,
            image_shape=SHAPE,
            epochs=120,
            training_photographs=12,
            validation_photographs=3,
            test_photographs=6,
            validation_accuracy=1.0,
            test_accuracy=0.5,
            test_accuracy_interval=(0.2, 0.8),
            settings=QUICK,
            digest="0" * 64,
        )
        with tempfile.TemporaryDirectory() as root:
            path = pathlib.Path(root) / "recognizer.json"
            records.write(path, facts)
            self.assertEqual(records.read(path, training.RecognizerFacts), facts)


if __name__ == "__main__":
    absltest.main()
