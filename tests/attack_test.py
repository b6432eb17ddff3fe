import dataclasses
import inspect
import json
import pathlib
import tempfile
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags
from absl.testing import absltest, flagsaver, parameterized

from experiments import attack, clones, exhibits, experiment, identities, options, recipe, scenarios
from experiments.trained import Trained
from mia_jax import recognizer
from mia_jax.attack import descents, inversion, invert, losses, make_cases, objectives, spaces
from mia_jax.evidence.results import AttackFacts
from mia_jax.faces import protocol
from mia_jax.runtime import records, storage, workload
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

REGISTERED = ("0:2", "ann", "bob", "s1", "s2", "Zoë")
ROLES = protocol.Protocol(
    seed=0,
    targeted=("s2", "ann"),
    classes={"target": REGISTERED, "evaluator": ("ann", "s2", "s9")},
    auxiliary=("s7",),
    training={},
    validation={},
    test={},
)


class FlagsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.root = pathlib.Path(temporary.name)


class ChosenTest(FlagsTest):
    def chosen(self, asked):
        with flagsaver.flagsaver(identities=asked):
            return identities.chosen(ROLES)

    @parameterized.parameters(
        (None, ("s2", "ann")),
        ("all", REGISTERED),
        ("bob", ("bob",)),
        ("s2,ann", ("s2", "ann")),
        (" s2 , Zoë,, s2,", ("s2", "Zoë")),
        ("1:3", ("ann", "bob")),
        ("0:1", ("0:2",)),
        ("0:6", REGISTERED),
        ("5:6", ("Zoë",)),
        # Who is called like a range is meant by it.
        ("0:2", ("0:2",)),
        ("0:2,s1", ("0:2", "s1")),
    )
    def test_who_is_asked_for(self, asked, expected):
        self.assertEqual(self.chosen(asked), expected)

    @parameterized.parameters("s1\nbob\n", "s1\nbob", "\n s1\t\r\n\r\nbob\r\ns1\r\n")
    def test_a_file(self, content):
        path = self.root / "people, some.txt"
        path.write_bytes(content.encode())
        self.assertEqual(self.chosen(str(path)), ("s1", "bob"))

    @parameterized.parameters("2:2", "3:2", "0:7", "6:7", "10:20")
    def test_no_such_range(self, asked):
        with self.assertRaises(UserError) as caught:
            self.chosen(asked)
        self.assertEqual(
            str(caught.exception),
            f"--identities={asked} is no range of the target's 6 classes: give FIRST:END with "
            "0 <= FIRST < END <= 6",
        )

    @parameterized.parameters("nobody", "s1,nobody", "s9", "s7", "none/such/file.txt", "1:", "All")
    def test_who_is_not_registered_is_named(self, asked):
        stranger = asked.split(",")[-1]
        with self.assertRaisesRegex(
            UserError, f"^identity '{stranger}' is not registered with the target"
        ):
            self.chosen(asked)

    def test_a_stranger_in_a_file_is_named(self):
        path = self.root / "people.txt"
        path.write_text("s1\nsomebody else\n")
        with self.assertRaisesRegex(UserError, "^identity 'somebody else' is not registered"):
            self.chosen(str(path))

    @parameterized.parameters("", ",", " , ")
    def test_nobody_is_refused(self, asked):
        with self.assertRaisesRegex(UserError, "--identities"):
            self.chosen(asked)

    def test_an_empty_file_is_refused(self):
        path = self.root / "people.txt"
        path.write_text("\n\n")
        with self.assertRaisesRegex(UserError, "people.txt"):
            self.chosen(str(path))

    def test_a_text_too_long_for_a_path_is_names(self):
        with self.assertRaisesRegex(UserError, "^identity 'x+.*' is not registered") as caught:
            self.chosen("x" * 10_000)
        self.assertLess(len(str(caught.exception)), 500)


class DivergedTest(FlagsTest):
    @parameterized.parameters(
        ({}, 5.0, True), ({}, 0.5, False), ({}, np.nan, True),
        ({"scenario": "white_box"}, 5.0, True),
        ({"scenario": "confidences"}, 5.0, False),  # What only asks has no rate.
    )  # fmt: skip
    def test_by_the_losses_that_lie_with_the_clones(self, arguments, last, expected):
        workdir = WorkDirectory(self.root)
        facts = AttackFacts("paper", arguments, 3, 0, 1, 2)
        for name in ("s1", "s2"):
            storage.write_arrays(
                workdir.clones_of(name),
                {
                    "loss_trace": np.array([[3.0, 9.0], [3.0, 9.0], [3.0, 9.0]]),
                    "last_loss": np.array([0.1, last, last]),
                    "recipe": np.array(json.dumps(records.to_json(facts))),
                    "weights": np.array("a3"),
                },
            )
        self.assertEqual(exhibits.diverged(workdir, ("s1", "s2")), expected)


class MissingItemsTest(FlagsTest):
    RECIPE = json.dumps({"name": "paper", "arguments": {"rate": 10.0}, "restarts": 4})
    WEIGHTS = "a3" * 32

    def setUp(self):
        super().setUp()
        self.workdir = WorkDirectory(self.root)
        self.items = workload.divide(("s1", "s2"), 4, 2)

    def write(self, path, recipe=RECIPE):
        common = {"recipe": np.array(recipe), "weights": np.array(self.WEIGHTS)}
        storage.write_arrays(path, {"clones": np.zeros((2, 1)), **common})

    def begin(self):
        """Leaves what a run with --chunk=2 does that was stopped after the first part."""
        clones.write_manifest(self.workdir, ROLES, ("s1", "s2"), 4, 2)
        self.write(self.workdir.part_of(*self.items[0]))

    def missing(self, chunk=2, recipe=RECIPE, weights=WEIGHTS):
        items = workload.divide(("s1", "s2"), 4, chunk)
        return clones.missing_items(self.workdir, items, clones.Origin(recipe, weights), chunk)

    def test_everything_at_first(self):
        self.assertEqual(self.missing(), self.items)
        self.assertEqual(self.missing(chunk=3), workload.divide(("s1", "s2"), 4, 3))

    def test_parts_and_whole_people_are_not_done_again(self):
        self.begin()
        self.assertEqual(self.missing(), self.items[1:])
        self.write(self.workdir.clones_of("s2"))
        self.assertEqual(self.missing(), self.items[1:2])
        self.write(self.workdir.clones_of("s1"))
        self.assertEmpty(self.missing())

    def test_another_chunk_than_begun(self):
        self.begin()
        with self.assertRaises(UserError) as caught:
            self.missing(chunk=3)
        self.assertEqual(
            str(caught.exception),
            f"{self.workdir.clones} was begun with --chunk=2: give the same to go on",
        )

    def test_another_chunk_after_the_end(self):
        self.begin()
        for item in self.items:
            self.workdir.part_of(*item).unlink(missing_ok=True)
            self.write(self.workdir.clones_of(item.identity))
        self.assertEmpty(self.missing(chunk=3))

    @parameterized.parameters("part", "whole")
    def test_another_recipe_than_begun(self, what):
        self.begin()
        if what == "whole":
            self.write(self.workdir.clones_of("s1"))
        path = self.workdir.clones_of("s1") if what == "whole" else "s1-000000-000001.npz"
        with self.assertRaises(UserError) as caught:
            self.missing(recipe=self.RECIPE.replace("10.0", "3.0"))
        self.assertRegex(str(caught.exception), f"{path} was made with rate=10.0: give the same")

    @parameterized.parameters("part", "whole")
    def test_other_weights_than_those_attacked(self, what):
        self.begin()
        path = self.workdir.part_of(*self.items[0])
        if what == "whole":
            path.unlink()
            path = self.workdir.clones_of("s1")
            self.write(path)
        with self.assertRaisesRegex(UserError, f"{path} was made from other weights of the target"):
            self.missing(weights="b4" * 32)

    def test_a_damaged_part_is_named(self):
        self.begin()
        path = self.workdir.part_of(*self.items[0])
        path.write_bytes(path.read_bytes()[:100])
        with self.assertRaisesRegex(UserError, f"{path.name} cannot be read .*: delete it"):
            self.missing()

    def test_a_stop_before_the_manifest(self):
        """The parts tell nothing of the chunk that the run had which wrote no manifest."""
        self.begin()
        self.workdir.manifest.unlink()
        self.assertEqual(self.missing(), self.items[1:])


class JoinPartsTest(FlagsTest):
    def test_each_person_as_soon_as_all_parts_are_there(self):
        workdir = WorkDirectory(self.root)
        items = workload.divide(("s1", "s2"), 5, 2)
        joined = clones.join_parts(workdir, items)
        values = np.arange(10.0).reshape(10, 1)
        common = {
            "trace_iterations": np.arange(3),
            "recipe": np.array("{}"),
            "weights": np.array("a3"),
        }

        def write(number):
            identity, first, last = items[number]
            start = 5 * (identity == "s2")
            rows = values[start + first : start + last + 1]
            storage.write_arrays(
                workdir.part_of(*items[number]), {"clones": rows, "seed": -rows, **common}
            )

        self.assertEqual(next(joined), "")
        for number in (3, 1, 4, 0):
            write(number)
            self.assertEqual(next(joined), "")
        self.assertFalse(workdir.clones_of("s1").exists())
        write(2)
        self.assertEqual(next(joined), "s1")
        self.assertEqual(next(joined), "")
        write(5)
        self.assertEqual(next(joined), "s2")
        self.assertEmpty(list(joined))
        for name, rows in (("s1", values[:5]), ("s2", values[5:])):
            whole = self.root / "whole.npz"
            storage.write_arrays(whole, {"clones": rows, "seed": -rows, **common})
            self.assertEqual(whole.read_bytes(), workdir.clones_of(name).read_bytes())
        self.assertEmpty(list((workdir.clones / "parts").iterdir()))

    def test_parts_that_outlived_their_joining_are_removed(self):
        workdir = WorkDirectory(self.root)
        (item,) = workload.divide(("s1",), 2, 2)
        for path in (workdir.clones_of("s1"), workdir.part_of(*item)):
            storage.write_arrays(path, {"clones": np.zeros(2)})
        self.assertEmpty(list(clones.join_parts(workdir, [item])))
        self.assertEmpty(list((workdir.clones / "parts").iterdir()))


class NoWiderThanTheWorkTest(FlagsTest):
    """Restarts are counted where they are computed: by the calls of `invert` and their cases."""

    SHAPE, CLASSES = (4, 4, 1), ("s1", "s2", "s3", "s4", "s5", "s6", "s7")

    def setUp(self):
        super().setUp()
        self.workdir = WorkDirectory(self.root)
        self.roles = dataclasses.replace(ROLES, classes={"target": self.CLASSES})
        faces = options.FacesOptions("orl", 4, 1, None, None, None, None)
        division = options.DivisionOptions(0, 2, 0.3, 0.1, None, None, (), "shared")
        photographs = dict.fromkeys(["s9", *self.CLASSES], 4)
        plan = experiment.Plan(faces, division, photographs, 9, self.roles)
        records.write(self.workdir.protocol, plan)
        self.wanted = scenarios.Method(recipe.Recipe("paper"))
        random = np.random.default_rng(0)
        self.weights = random.standard_normal((16, len(self.CLASSES))).astype(np.float32)
        self.how = inversion.Attack(
            space=spaces.pixels(random.random((9, *self.SHAPE), np.float32)),
            objective=objectives.classification(self.logits, losses.infomax),
            optimizer=optax.sgd(0.1),
            iterations=2,
        )
        self.computed = []

    @staticmethod
    def logits(params, images):
        return images.reshape(len(images), -1) @ params

    def attack(self, people, restarts, chunk):
        """Attacks people; returns how many restarts each call had."""
        prepared = scenarios.Prepared(jnp.asarray(self.weights), self.how)
        target = Trained(self.weights, self.logits, None)
        bundles = attack.on_bundles

        def counted(mesh, *arguments):
            run = bundles(mesh, *arguments)

            def count(group):
                made = run(group)
                shape = made.images.shape
                self.computed.append(shape[0] * shape[1] * shape[2])
                return made

            return count

        self.computed.clear()
        with (
            flagsaver.flagsaver(restarts=restarts, chunk=chunk),
            mock.patch.object(attack, "on_bundles", counted),
        ):
            attack.make_clones(
                *(self.workdir, self.roles, target, people, self.wanted),
                lambda target, place: prepared,
            )
        return self.computed

    def content(self):
        return {path.name: path.read_bytes() for path in self.workdir.clones.glob("*.npz")}

    @parameterized.parameters(
        (3, 4, 50, [12]),  # Not three calls of 50.
        (7, 4, 10, [8, 8, 8, 8]),  # Two people a call; but for the last, which is one alone.
        (2, 10, 4, [4] * 6),
        (1, 100, 30, [25] * 4),  # Not 30, 30, 30 and 30.
        (7, 2, 7, [6, 6, 6]),
        (2, 1, 1, [1, 1]),
    )
    def test_no_restart_is_computed_that_is_not_asked_for(self, people, restarts, chunk, expected):
        names = self.CLASSES[:people]
        self.assertEqual(self.attack(names, restarts, chunk), expected)
        for name in names:
            alone = invert(
                jnp.asarray(self.weights),
                make_cases(jax.random.key(0), self.CLASSES.index(name), jnp.arange(restarts)),
                self.how,
            )
            found = storage.read_arrays(self.workdir.clones_of(name))
            np.testing.assert_allclose(found["clones"], alone.images, atol=1e-5)
            np.testing.assert_allclose(found["loss_trace"], alone.loss_trace, rtol=1e-4)

    @parameterized.parameters(("s2",), ("s1", "s4"), ("s7",), ("s3", "s4", "s7"))
    def test_an_interrupted_run_ends_with_the_same_bytes(self, *lost):
        self.attack(self.CLASSES, 3, 6)
        expected = self.content()
        for name in lost:
            self.workdir.clones_of(name).unlink()
        times = {path: path.stat().st_mtime_ns for path in self.workdir.clones.glob("*.npz")}
        self.attack(self.CLASSES, 3, 6)
        self.assertEqual(self.content(), expected)
        self.assertEqual(times, {path: path.stat().st_mtime_ns for path in times})
        pairs = {self.CLASSES.index(name) // 2 for name in lost}
        self.assertEqual(self.computed, [6] * len(pairs))  # In the size of the first run.
        self.assertEmpty(list(self.workdir.parts.iterdir()))


class ManifestTest(FlagsTest):
    def test_tells_who_is_whole_and_who_is_missing(self):
        workdir = WorkDirectory(self.root)
        for name in ("s1", "Zoë"):
            storage.write_arrays(workdir.clones_of(name), {"clones": np.zeros(1)})
        clones.write_manifest(workdir, ROLES, ("s2", "s1"), 4, 2)
        self.assertEqual(
            records.read(workdir.manifest, clones.Manifest),
            clones.Manifest(restarts=4, chunk=2, complete=("s1", "Zoë"), incomplete=("s2",)),
        )


class RecipeTest(parameterized.TestCase):
    """What the flags ask for is what the library's recipe is called with."""

    def asked(self, **given):
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()
        with flagsaver.flagsaver(**given):
            return recipe.from_flags()

    @parameterized.product(name=list(recipe.RECIPES), faces=(0, 3000))
    def test_no_flag_gives_the_recipe_s_own_defaults(self, name, faces):
        installed = mock.patch.object(recipe.mobile_stylegan_files, "installed", lambda: True)
        with installed:
            wanted = self.asked(recipe=name)
        self.assertEqual(wanted.given, {})
        parameters = [*inspect.signature(recipe.RECIPES[name].make).parameters.values()]
        expected = {each.name for each in parameters if each.kind == each.KEYWORD_ONLY}
        expected -= {*recipe.SEEN}
        if any(each.kind == each.VAR_KEYWORD for each in parameters):  # All but MI-FACE's own loop.
            expected |= set(descents.PAPER)
        self.assertEqual(set(wanted.arguments(faces)), expected)
        for value in wanted.described(faces).values():
            self.assertIsInstance(value, str | float | int | None)

    def test_best_asks_more_of_many_faces(self):
        wanted = self.asked(recipe="best", prior=2.0)
        few, many = wanted.described(170), wanted.described(3000)
        self.assertEqual((few["components"], few["loss"]), (60, "max_margin(enough=3.6)"))
        self.assertEqual((many["components"], many["loss"]), (500, "max_margin(enough=12.0)"))
        self.assertEqual((few["prior"], many["prior"]), (2.0, 2.0))

    def test_flags_fill_the_arguments(self):
        wanted = self.asked(
            recipe="best", components=7, margin=3.5, optimizer="momentum", rate=0.5, stop_score=0.9
        )
        described = wanted.described(9)
        self.assertEqual(described["components"], 7)
        self.assertEqual(described["loss"], "max_margin(enough=3.5)")
        self.assertEqual(described["optimizer"], "sgd(momentum=0.9)")
        self.assertEqual(described["rate"], 0.5)
        self.assertEqual(described["precision"], "float32")
        self.assertEqual(float(wanted.arguments(9)["loss"](np.array([9.0, 1.0]), 0)), -3.5)
        random = np.random.default_rng(0).uniform(size=(9, 32, 32, 1)).astype(np.float32)
        attack = wanted.attack(recognizer.logits, random)
        self.assertEqual(attack.stop.score, 0.9)
        self.assertEqual(attack.iterations, 60)

    @parameterized.parameters(
        ({"recipe": "paper", "components": 5}, "--components is only for --recipe=best or "),
        ({"recipe": "best", "latents": 5}, "--latents is only for --recipe=autoencoder$"),
        ({"recipe": "paper", "mirror": 0.5}, "--mirror is for random views: give --views"),
        ({"recipe": "paper", "prior": 0.0}, "--prior is only for --recipe=best"),
        ({"recipe": "paper", "margin": 5.0}, "--margin is only for --loss=max_margin"),
        ({"recipe": "best", "loss": "infomax", "margin": 5.0}, "--margin is only for"),
        ({"recipe": "best", "rate": 0.0}, "--rate=0.0 does not descend"),
    )
    def test_a_flag_without_effect_is_refused(self, given, message):
        with self.assertRaisesRegex(UserError, message):
            self.asked(**given)


if __name__ == "__main__":
    absltest.main()
