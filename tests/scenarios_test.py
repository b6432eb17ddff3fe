"""The scenarios on a linear recognizer, of which everything is known."""

import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from absl.testing import absltest, flagsaver, parameterized
from PIL import Image

from experiments import scenario_flags, scenarios
from experiments.one_person import attack_one
from experiments.recipe import Recipe
from experiments.scenarios import SCENARIOS, World, method, prepare
from experiments.trained import Trained
from mia_jax.recognizer import templates
from mia_jax.recognizer.architectures import CNN
from mia_jax.runtime.errors import UserError

SHAPE, CLASSES = (16, 16, 1), 3


def linear(params, images):
    weights, biases = params
    return images.reshape(len(images), -1) @ weights + biases


def smooth(key, count):
    """Draws images that hang together, as faces do."""
    small = jax.random.uniform(key, (count, 4, 4, 1))
    return np.asarray(jax.image.resize(small, (count, *SHAPE), "cubic").clip(0, 1))


FACES = smooth(jax.random.key(0), 40)
PEOPLE = smooth(jax.random.key(1), CLASSES)
# The class of the nearest person comes first: the logits are half the squared distances.
ROWS = PEOPLE.reshape(CLASSES, -1)
WEIGHTS = (jnp.asarray(ROWS.T), jnp.asarray(-np.sum(ROWS**2, 1) / 2))
TARGET = Trained(WEIGHTS, linear, CNN._replace(logits=linear, features=linear))
WORLD = World(TARGET, FACES, CLASSES, lambda: PEOPLE, jax.random.key(2))
BEST = Recipe("best", {"components": 12, "waves": 0, "iterations": 15, "views_per_iteration": 0})


def attacked(wanted, world=WORLD, restarts=2):
    return attack_one(prepare(world, wanted), world.key, 1, jnp.arange(restarts))


def scores(made):
    return np.asarray(jax.nn.softmax(linear(WEIGHTS, made.clones.images)))[:, 1]


class ScenariosTest(parameterized.TestCase):
    @parameterized.parameters(
        ("gray_box", {}, 0),
        ("confidences", {"strategy": "differences", "queries": 400, "leading": 12}, 400),
        ("confidences", {"strategy": "random_steps", "queries": 700, "leading": 12}, 700),
        ("labels", {"strategy": "boundary", "queries": 1400, "leading": 12}, 1400),
    )
    def test_finds_the_person_at_its_price(self, scenario, options, queries):
        made = attacked(method(scenario, BEST, **options))
        np.testing.assert_array_less(1 / CLASSES, scores(made))
        self.assertBetween(made.queries, queries / 2, queries)
        self.assertEqual(made.gradients, 0 if queries else 30)

    @parameterized.parameters("embedder", "classifier")
    def test_templates_go_through_a_map_that_is_learned_from_features(self, kind):
        """Of an embedder its own; of a recognizer the rows of its last layer stand for them."""
        axes = np.linalg.qr(np.random.default_rng(0).normal(size=(256, 40)))[0].astype(np.float32)

        def features(params, images):
            del params
            return (images.reshape(len(images), -1) - FACES.reshape(40, -1).mean(axis=0)) @ axes

        if kind == "embedder":
            seen = templates.normalized(features((), PEOPLE))
            params = {templates.EMBEDDER: (), templates.TEMPLATES: seen}
            target = Trained(params, templates.recognizer(features), None)
        else:
            rows = features((), PEOPLE)
            last = CNN._replace(
                features=features, last_layer=lambda params, shown: shown @ params.T + 1
            )
            target = Trained(rows, lambda p, x: last.last_layer(p, features(p, x)), last)
        made = attacked(method("gray_box", Recipe("linear")), WORLD._replace(attacked=target))
        logits = target.logits(target.params, made.clones.images)
        self.assertEqual(np.argmax(logits, axis=1).tolist(), [1, 1])
        seeds = target.logits(target.params, made.clones.seeds)
        np.testing.assert_array_less(seeds[:, 1], logits[:, 1])

    def test_a_map_needs_features(self):
        target = Trained(WEIGHTS, linear, None)
        with self.assertRaisesRegex(UserError, "--recipe=linear needs features"):
            prepare(WORLD._replace(attacked=target), method("gray_box", Recipe("linear")))
        with self.assertRaisesRegex(UserError, "which --scenario=confidences does not have"):
            prepare(WORLD, method("confidences", Recipe("linear")))

    def test_no_gradient_passes_through_what_is_asked(self):
        """Weights that break when they are differentiated change nothing."""

        @jax.custom_vjp
        def forward(params, images):
            return linear(params, images)

        def refuse(*_):
            raise AssertionError("differentiated")

        forward.defvjp(refuse, refuse)
        world = WORLD._replace(attacked=Trained(WEIGHTS, forward, CNN._replace(logits=forward)))
        attacked(method("confidences", BEST, queries=100, leading=12), world)
        with self.assertRaisesRegex(AssertionError, "differentiated"):
            attacked(method("gray_box", BEST), world)

    def test_a_copy_serves_everybody_and_is_what_is_attacked(self):
        copied = functools.partial(scenarios.copied, of_labels=False, steps=5)
        prepared = copied(WORLD, method("extraction", BEST, queries=60, leading=12))
        self.assertEqual(prepared.queries, 60)
        self.assertIsNone(prepared.searching)
        self.assertIn("L5", prepared.params)
        self.assertBetween(prepared.agreement, 1 / CLASSES / 2, 1)

    def test_white_box_restores_what_is_hidden(self):
        """Nearer to the truth than the mean face, and than the clone without the photograph."""
        wanted = method("white_box", BEST)
        prepared = prepare(WORLD, wanted)
        hidden = ~np.broadcast_to(prepared.known.mask, SHAPE)
        made = attacked(wanted)
        np.testing.assert_array_equal(
            np.asarray(made.clones.images)[:, ~hidden], np.tile(PEOPLE[1][~hidden], (2, 1))
        )

        def error(images):
            return np.sqrt(np.mean((np.asarray(images) - PEOPLE[1])[:, hidden] ** 2))

        of_clones = error(made.clones.images)
        self.assertLess(of_clones, error(np.broadcast_to(FACES.mean(0), (1, *SHAPE))))
        self.assertLess(of_clones, error(attacked(method("gray_box", BEST)).clones.images))

    def test_mi_face_fills_what_is_hidden_from_black(self):
        wanted = method("white_box", Recipe("mi_face", {"iterations": 5}))
        made = attacked(wanted)
        known = np.broadcast_to(np.asarray(prepare(WORLD, wanted).known.mask), SHAPE)
        seeds = np.asarray(made.clones.seeds)[0]
        np.testing.assert_array_equal(seeds, np.where(known, PEOPLE[1], 0))
        # What is known of the image is confidence enough for its stopping rule.
        np.testing.assert_array_equal(made.clones.iterations, [1, 1])

    def test_a_filter_ends_the_descent(self):
        paper = Recipe("paper", {"iterations": 3, "rate": 0.1})
        plain = attacked(method("gray_box", paper)).clones.last
        filtered = attacked(method("gray_box", paper, filter="median")).clones.last
        around = np.median(np.asarray(plain)[0, 4:7, 4:7, 0])
        np.testing.assert_allclose(filtered[0, 5, 5, 0], around, rtol=1e-5)

    def test_a_mask_of_ones_own(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        path = str(pathlib.Path(home.name) / "mask.png")
        Image.fromarray(np.uint8(255 * (np.arange(32) < 16))[None].repeat(32, 0)).save(path)
        mask = scenarios.mask_of(path, SHAPE)
        self.assertEqual(mask.shape, (16, 16, 1))
        np.testing.assert_array_equal(mask[:, :7].all(), True)
        np.testing.assert_array_equal(mask[:, 9:].any(), False)

    @parameterized.parameters(
        ("confidences", BEST, {"strategy": "boundary"}, "give --scenario=labels"),
        ("labels", BEST, {}, "--strategy=differences needs confidences"),
        ("confidences", Recipe("paper"), {}, "--recipe=paper searches pixels"),
        ("confidences", BEST, {"strategy": "gamin"}, "--strategy=gamin searches pixels"),
        ("gray_box", BEST, {"seeding": "genetic"}, "--seeding finds a seed image"),
        ("confidences", Recipe("best", precision="bfloat16"), {}, "--precision is of weights"),
        ("gray_box", BEST, {"filter": "median"}, "--filter is for pixels"),
        ("white_box", BEST, {"mask": "nowhere.png"}, "--mask=nowhere.png is no image file"),
        ("white_box", Recipe("components"), {}, "--recipe=components cannot be told"),
    )
    def test_refuses(self, scenario, wanted, options, sentence):
        with self.assertRaisesRegex(UserError, sentence):
            prepare(WORLD, method(scenario, wanted, **options))


class FlagsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()

    def test_the_papers_scenario_says_nothing_new_of_clones(self):
        self.assertEqual(scenario_flags.from_flags(), method("gray_box", Recipe("paper")))
        self.assertEqual(scenario_flags.from_flags().described(), {})

    @flagsaver.flagsaver(scenario="labels", recipe="best", queries=7)
    def test_labels_are_searched_by_their_boundary_and_without_a_prior(self):
        wanted = scenario_flags.from_flags()
        self.assertEqual((wanted.strategy, wanted.queries), ("boundary", 7))
        self.assertEqual(wanted.recipe.given, {"waves": 0, "prior": 0.0, "standardized": False})
        self.assertEqual(
            wanted.described(),
            {"scenario": "labels", "strategy": "boundary", "queries": 7, "leading": 60},
        )

    @parameterized.parameters(
        ({"queries": 5}, "--queries has no effect on weights without --seeding"),
        ({"query_rate": 2.0}, "--query_rate has no effect on weights"),
        ({"mask": "x"}, "--mask is only for --scenario=white_box"),
        ({"filter_every": 2}, "--filter_every has no effect without --filter"),
    )
    def test_refuses_flags_without_effect(self, given, sentence):
        with flagsaver.flagsaver(**given), self.assertRaisesRegex(UserError, sentence):
            scenario_flags.from_flags()

    def test_every_scenario_says_what_it_needs(self):
        for scenario in SCENARIOS.values():
            self.assertTrue(scenario.needs)
            self.assertContainsSubset(
                scenario.options, scenarios.Method.__dataclass_fields__.keys()
            )


if __name__ == "__main__":
    absltest.main()
