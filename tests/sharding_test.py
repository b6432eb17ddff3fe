"""Eight devices are simulated in a process of their own, as JAX counts its devices only once."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys
from typing import NamedTuple
from unittest import mock

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from jax.sharding import PartitionSpec
from streamed import Streamed

from mia_jax import recognizer
from mia_jax.attack import inversion, losses, objectives, spaces
from mia_jax.attack.cases import make_cases
from mia_jax.recognizer import photographs, placement, training
from mia_jax.recognizer.architectures import ARCHITECTURES
from mia_jax.recognizer.views import ViewRange
from mia_jax.runtime import sharding
from mia_jax.runtime.errors import UserError

# Most of the time here is compilation; the second is LLVM's part, XLA's own passes still run.
XLA_FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
SHAPE, CLASSES, CHUNK, DEVICES = (16, 16, 1), 32, 2, 8
TRAINING = training.Settings(batch_size=16, augmentation=ViewRange(brightness=0.1, noise=0.3))


def weights(classes=CLASSES, architecture="cnn"):
    """Draws a recognizer without compiling anything."""
    random, init = np.random.default_rng(0), ARCHITECTURES[architecture].init
    shapes = jax.eval_shape(lambda: init(jax.random.key(0), classes, SHAPE))
    return jax.tree.map(
        lambda leaf: np.float32(
            random.standard_normal(leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        ),
        shapes,
    )


def attack(faces):
    """An attack as a recipe makes one: arrays and functions in one pytree."""
    return inversion.Attack(
        space=spaces.pixels(faces, lambda key, faces: faces[jax.random.randint(key, (), 0, 4)]),
        objective=objectives.classification(recognizer.logits, losses.infomax),
        optimizer=optax.sgd(1.0),
        iterations=3,
    )


def chunk(shared, target, first):
    """A chunk of restarts of one person."""
    params, how = shared
    cases = make_cases(jax.random.key(0), target, first + jnp.arange(CHUNK))
    return inversion.invert(params, cases, how)


def everywhere(mesh, params, how, targets, firsts):
    """Does all items on a mesh; returns the results in host memory, and the compiled program."""
    weights = sharding.place(mesh, params, placement.split_classes)
    shared = (weights, sharding.replicate(mesh, how))
    run, width, rows = sharding.item_by_item(mesh, chunk), sharding.width(mesh), []
    groups = [
        [sharding.spread(mesh, some[first : first + width]) for some in (targets, firsts)]
        for first in range(0, len(targets), width)
    ]
    compiled = run.lower(shared, *groups[0]).compile()
    for group in groups:
        rows += [row for _, row in sharding.rows_here(compiled(shared, *group))]
    return jax.tree.map(lambda *each: np.stack(each), *rows), compiled.compiled.as_text()


def compare(one, other):
    """Returns whether all is the same, and the largest difference of the images and traces."""
    same = jax.tree.map(lambda a, b: bool((np.asarray(a) == np.asarray(b)).all()), one, other)
    away = [
        float(np.abs(np.asarray(a) - np.asarray(b)).max())
        for a, b in ((one.images, other.images), (one.loss_trace, other.loss_trace))
    ]
    return {"same": jax.tree.all(same), "difference": max(away)}


def check_attack():
    """Compares the attack on a mesh with one item after the other on one device."""
    random = np.random.default_rng(1)
    faces = random.random((4, *SHAPE), np.float32)
    targets, firsts = random.integers(0, CLASSES, DEVICES), 2 * np.arange(DEVICES)
    params = weights()
    alone, how = equinox.filter_jit(chunk), attack(faces)
    shared = (jax.tree.map(jnp.asarray, params), how)
    rows = [alone(shared, *item) for item in zip(targets, firsts, strict=True)]
    expected = jax.tree.map(lambda *each: np.stack(each), *rows)
    found = {"moved": float(np.abs(expected.images - expected.seeds).max())}
    for shards in (1, 2, 4):
        mesh = sharding.make_mesh(shards)
        results, program = everywhere(mesh, params, how, targets, firsts)
        found[str(shards)] = {
            **compare(results, expected),
            "whole_last_layer_in_program": f"f32[1024,{CLASSES}]" in program,
        }
    return found


def check_placement():
    """Places recognizers and reads back where their arrays lie."""
    params, found = weights(), {}
    for shards in (1, 2, 4):
        mesh = sharding.make_mesh(shards)
        placed = sharding.place(mesh, params, placement.split_classes)
        kernel, bias = placed["L7"]["kernel"], placed["L7"]["bias"]
        found[str(shards)] = {
            "width": sharding.width(mesh),
            "spec": kernel.sharding.spec == PartitionSpec(None, sharding.CLASSES),
            "kernels": sorted({shard.data.shape for shard in kernel.addressable_shards}),
            "biases": sorted({shard.data.shape for shard in bias.addressable_shards}),
            "slices": len({str(shard.index) for shard in kernel.addressable_shards}),
            "others_replicated": all(
                array.sharding.is_fully_replicated
                for layer, arrays in placed.items()
                if layer != "L7"
                for array in arrays.values()
            ),
            "same": jax.tree.all(
                jax.tree.map(lambda a, b: bool((np.asarray(a) == b).all()), placed, params)
            ),
        }
    return found


def check_width():
    """How many of the eight devices take part in so much work."""
    shards = {1: (1, 7, 8, 9, 10, 16, 17), 2: (1, 3, 5)}
    return {
        str(count): {items: sharding.width(sharding.make_mesh(count, items=items)) for items in all}
        for count, all in shards.items()
    }


def check_rows():
    """Reads rows back from meshes of several shapes, and with the devices in another order."""
    found = {}
    devices = jax.devices()
    for name, mesh in {
        "all": sharding.make_mesh(),
        "backwards": sharding.make_mesh(devices=devices[::-1]),
        "groups": sharding.make_mesh(2),
        "backwards_groups": sharding.make_mesh(4, devices[::-1]),
        "one": sharding.make_mesh(devices=devices[3:4]),
    }.items():
        values = 10 * np.arange(sharding.width(mesh))[:, None] + np.arange(3)
        tree = {"a": sharding.spread(mesh, values), "b": sharding.spread(mesh, -values[:, 0])}
        add = sharding.item_by_item(mesh, lambda shared, item: shared + item)
        total = add(sharding.replicate(mesh, np.arange(3)), tree["a"])
        found[name] = [
            [row, one["a"].tolist(), int(one["b"]), one["sum"].tolist()]
            for row, one in sharding.rows_here({**tree, "sum": total})
        ]
        parts = sharding.spread_parts(mesh, {"a": values})
        assert parts["a"].sharding == tree["a"].sharding
        np.testing.assert_array_equal(parts["a"], values)
        np.testing.assert_array_equal(sharding.here(sharding.replicate(mesh, values)), values)
    return found


def draw_photographs(count=20):
    random = np.random.default_rng(2)
    images = random.random((count, *SHAPE), np.float32)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    return photographs.Photographs(images, random.permutation(count), labels)


def started(architecture="cnn"):
    drawn = weights(CLASSES, architecture)
    model = ARCHITECTURES[architecture]._replace(init=lambda *_: drawn)
    with mock.patch.dict(ARCHITECTURES, {architecture: model}):
        state = training.start(jax.random.key(0), CLASSES, SHAPE, architecture)
    return jax.tree.map(jnp.copy, state)


def check_training():
    """Takes three steps on one device and on all, from photographs in memory and streamed."""
    memory = draw_photographs()
    streamed = memory._replace(images=Streamed(memory.images))
    alone, all_devices = sharding.make_mesh(devices=jax.devices()[:1]), sharding.make_mesh()
    ends, shown, found = {}, {}, {}
    for name, mesh, source in (
        ("alone", alone, memory),
        ("memory", all_devices, memory),
        ("streamed", all_devices, streamed),
    ):
        batches = photographs.batches(source, TRAINING.batch_size, seed=3, mesh=mesh)
        rule = placement.split_units(sharding.width(mesh))
        state, losses = sharding.place(mesh, started(), rule), []
        key = jax.random.key(4)
        for step in range(3):
            images, labels = batches.read(step)
            found[f"{name}_rows"] = sorted({s.data.shape[0] for s in images.addressable_shards})
            shown.setdefault(name, []).append((np.asarray(images), np.asarray(labels)))
            state, loss = training.train_step(state, images, labels, key, TRAINING, mesh)
            losses.append(loss)
        whole = sharding.gather(mesh, state.params)
        ends[name] = jax.tree.map(np.asarray, ({"params": whole}, np.array(losses)))
        moments = optax.tree_utils.tree_get(state.optimizer, "mu")
        found[f"{name}_kernels"] = {
            layer: moments[layer]["kernel"].addressable_data(0).shape
            for layer in ("L4", "L5", "L6", "L7")
        }

    def furthest(one, other):
        # Adam makes as large a step of a gradient that is next to nothing as of any other, so that
        # rounding may show in one weight of a hundred thousand; elsewhere the quantile is the most.
        most = functools.partial(np.quantile, q=1 - 1e-5, method="higher")
        away = jax.tree.map(lambda a, b: float(most(np.abs(a - b))), one, other)
        return max(jax.tree.leaves(away))

    three = sharding.make_mesh(devices=jax.devices()[:3])
    placed = sharding.place(three, weights(), placement.split_units(3))
    found["whole_on_three"] = all(
        leaf.sharding.is_fully_replicated and len(leaf.addressable_shards) == 3
        for leaf in jax.tree.leaves(placed)
    )
    start = {"params": weights()}
    found["moved"] = furthest(ends["alone"][0], start)
    for name in ("memory", "streamed"):
        found[name] = furthest(ends[name], ends["alone"])
        found[f"{name}_batches"] = furthest(shown[name], shown["alone"])
    return found


def check_residual():
    """Takes two steps of a residual network on one device and on all."""
    how, ends = dataclasses.replace(TRAINING, architecture="resnet"), []
    for mesh in (sharding.make_mesh(devices=jax.devices()[:1]), sharding.make_mesh()):
        batches = photographs.batches(draw_photographs(), how.batch_size, seed=3, mesh=mesh)
        rule = placement.split_units(sharding.width(mesh))
        state = sharding.place(mesh, started("resnet"), rule)
        for step in range(2):
            state, loss = training.train_step(
                state, *batches.read(step), jax.random.key(4), how, mesh
            )
        whole = sharding.gather(mesh, state.params)
        ends.append([np.asarray(leaf) for leaf in jax.tree.leaves((whole, loss))])
    start = jax.tree.leaves(weights(CLASSES, "resnet"))
    return {
        "moved": min(float(np.abs(a - b).max()) for a, b in zip(ends[0], start, strict=False)),
        "apart": max(float(np.quantile(np.abs(a - b), 0.99)) for a, b in zip(*ends, strict=True)),
    }


def message(function, *arguments):
    """Returns what a UserError says."""
    try:
        function(*arguments)
    except UserError as error:
        return str(error)
    return None


def check_refusals():
    batches = functools.partial(photographs.batches, seed=0, mesh=sharding.make_mesh())
    return {
        "three": message(sharding.make_mesh, 3),
        "none": message(sharding.make_mesh, 0),
        "sixteen": message(sharding.make_mesh, 16),
        "classes": message(
            sharding.place, sharding.make_mesh(4), weights(30), placement.split_classes
        ),
        "rows": message(
            sharding.place,
            sharding.make_mesh(2),
            {"layers": [np.ones((8, 6))]},
            lambda _: PartitionSpec(None, (sharding.ITEMS, sharding.CLASSES)),
        ),
        "batch": message(batches, draw_photographs(), 12),
        "few": message(batches, draw_photographs(5), 16),
    }


def on_eight_devices():
    """Runs all checks, and prints what they found as the last line."""
    assert jax.device_count() == DEVICES
    checks = (
        check_attack,
        check_placement,
        check_width,
        check_rows,
        check_training,
        check_residual,
        check_refusals,
    )
    print(json.dumps({check.__name__: check() for check in checks}))


@functools.cache
def results():
    tests = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", "import sharding_test; sharding_test.on_eight_devices()"],
        cwd=tests.parent,
        env={
            **os.environ,
            "JAX_PLATFORMS": "cpu",
            "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)]),
            "XLA_FLAGS": XLA_FLAGS,
        },
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


class EightDevicesTest(parameterized.TestCase):
    def test_an_attack_is_bit_for_bit_that_of_one_device(self):
        found = results()["check_attack"]
        self.assertEqual(found["1"], {**found["1"], "same": True, "difference": 0})
        self.assertGreater(found["moved"], 1e-2)

    @parameterized.parameters("2", "4")
    def test_an_attack_on_a_split_last_layer_is_the_same_up_to_rounding(self, shards):
        found = results()["check_attack"]
        self.assertLess(found[shards]["difference"], 1e-4)
        self.assertFalse(found[shards]["whole_last_layer_in_program"])
        self.assertTrue(found["1"]["whole_last_layer_in_program"])

    @parameterized.parameters(1, 2, 4)
    def test_where_a_recognizer_lies(self, shards):
        self.assertEqual(
            results()["check_placement"][str(shards)],
            {
                "width": DEVICES // shards,
                "spec": True,
                "kernels": [[1024, CLASSES // shards]],
                "biases": [[CLASSES // shards]],
                "slices": shards,
                "others_replicated": True,
                "same": True,
            },
        )

    def test_no_more_devices_than_the_work_needs(self):
        self.assertEqual(
            results()["check_width"],
            {
                "1": {"1": 1, "7": 7, "8": 8, "9": 5, "10": 5, "16": 8, "17": 6},
                "2": {"1": 1, "3": 3, "5": 3},
            },
        )

    @parameterized.parameters(
        ("all", 8), ("backwards", 8), ("groups", 4), ("backwards_groups", 2), ("one", 1)
    )
    def test_rows_come_once_each_and_in_order(self, name, width):
        expected = []
        for row in range(width):
            start = 10 * row
            both = [start, start + 1, start + 2], [start, start + 2, start + 4]
            expected.append([row, both[0], -start, both[1]])
        self.assertEqual(results()["check_rows"][name], expected)

    @parameterized.parameters("memory", "streamed")
    def test_training_is_that_of_one_device_up_to_rounding(self, name):
        found = results()["check_training"]
        self.assertEqual(found[f"{name}_batches"], 0)
        self.assertEqual(found[f"{name}_rows"], [2])
        kernels = {"L4": [3, 3, 32, 64], "L5": [64, 128], "L6": [1024, 128], "L7": [128, CLASSES]}
        self.assertEqual(found[f"{name}_kernels"], kernels)
        self.assertTrue(found["whole_on_three"])
        self.assertGreater(found["moved"], 2e-3)
        self.assertLess(found[name], 1e-4)

    def test_training_of_a_residual_network_is_that_of_one_device(self):
        found = results()["check_residual"]
        self.assertGreater(found["moved"], 1e-3)
        self.assertLess(found["apart"], 1e-4)

    def test_what_does_not_divide_is_one_sentence(self):
        said = results()["check_refusals"]
        self.assertEqual(
            said["three"],
            "class_shards=3 does not divide the 8 devices: give one of [1, 2, 4, 8]",
        )
        self.assertIn("class_shards=0 does not divide", said["none"])
        self.assertIn("class_shards=16 does not divide", said["sixteen"])
        self.assertEqual(
            said["classes"],
            "L7/bias of shape (30,) does not divide over 4 devices: give a number that divides 30",
        )
        self.assertEqual(
            said["rows"],
            "layers/0 of shape (8, 6) does not divide over 8 devices: give a number that divides 6",
        )
        self.assertIn("batch_size=12 does not divide over 8 devices", said["batch"])
        self.assertIn("5 photographs are too few to train on 8 devices", said["few"])


class OneDeviceTest(parameterized.TestCase):
    def test_every_row_is_an_item(self):
        mesh = sharding.make_mesh(devices=jax.devices()[:1])
        run = sharding.item_by_item(mesh, lambda shared, one, other: (shared @ one, other + 1))
        shared, one = np.arange(6.0).reshape(2, 3), np.arange(3.0)[None]
        items = [sharding.spread(mesh, one), sharding.spread(mesh, np.array([5]))]
        ((row, (product, next_one)),) = sharding.rows_here(
            run(sharding.replicate(mesh, shared), *items)
        )
        self.assertEqual((row, int(next_one)), (0, 6))
        np.testing.assert_array_equal(product, shared @ one[0])

    def test_functions_among_the_leaves_are_compiled_in(self):
        mesh = sharding.make_mesh(devices=jax.devices()[:1])
        traced = []

        def scaled(shared, item):
            traced.append(shared)
            return shared["activation"](shared["weights"]["kernel"] * item) * shared["times"]

        shared = {"activation": jnp.tanh, "weights": {"kernel": np.arange(3.0)}, "times": 2}
        run = sharding.item_by_item(mesh, scaled)
        for placed in (
            sharding.replicate(mesh, shared),
            sharding.place(mesh, shared, lambda _: PartitionSpec()),
            shared,  # numpy arrays count as arrays.
        ):
            self.assertIs(placed["activation"], jnp.tanh)
            self.assertEqual(placed["times"], 2)
            for item in (1.0, 3.0):
                result = run(placed, sharding.spread(mesh, np.array([item])))
                np.testing.assert_allclose(result[0], 2 * np.tanh(np.arange(3) * item), rtol=1e-6)
        self.assertLessEqual(len(traced), 2)  # Once for what is placed, once for what is not.
        self.assertTrue(all(isinstance(t["weights"]["kernel"], jax.core.Tracer) for t in traced))
        found = sharding.gather(mesh, sharding.replicate(mesh, shared))
        self.assertIs(found["activation"], jnp.tanh)

    def test_a_typed_key_stays_one(self):
        mesh, key = sharding.make_mesh(), jax.random.key(7, impl="rbg")
        found, _ = sharding.replicate(mesh, (key, "a name"))
        self.assertEqual(found.dtype, key.dtype)
        np.testing.assert_array_equal(jax.random.key_data(found), jax.random.key_data(key))
        self.assertTrue(found.sharding.is_fully_replicated)

    def test_a_rule_sees_the_names_on_the_path(self):
        class State(NamedTuple):
            params: dict
            memory: tuple

        seen = []
        mesh = sharding.make_mesh(devices=jax.devices()[:1])
        state = State({"L7": {"kernel": np.ones((2, 3))}}, (np.ones(2), jnp.tanh))
        placed = sharding.place(mesh, state, lambda names: seen.append(names) or PartitionSpec())
        self.assertEqual(seen, [("params", "L7", "kernel"), ("memory", "0")])
        self.assertIsInstance(placed, State)
        np.testing.assert_array_equal(placed.params["L7"]["kernel"], np.ones((2, 3)))
        self.assertIs(placed.memory[1], jnp.tanh)

    def test_one_process_agrees_with_itself(self):
        values = np.array([True, False, True])
        np.testing.assert_array_equal(sharding.from_first_process(values), values)
        sharding.wait_for_all("here")


if __name__ == "__main__":
    absltest.main()
