"""Eight devices are simulated in a process of their own, as JAX counts its devices only once."""

import functools
import json
import os
import pathlib
import subprocess
import sys
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import absltest, parameterized
from jax.sharding import PartitionSpec
from streamed import Streamed

from mia_jax import recognizer
from mia_jax.attack import inversion
from mia_jax.recognizer import training
from mia_jax.recognizer.views import ViewRange
from mia_jax.runtime import sharding

# Most of the time here is compilation; the second is LLVM's part, XLA's own passes still run.
XLA_FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
SHAPE, CLASSES, CHUNK, DEVICES = (16, 16, 1), 32, 2, 8
SETTINGS = inversion.Settings(optax.sgd(1.0), iterations=3)
TRAINING = training.Settings(batch_size=16, augmentation=ViewRange(brightness=0.1, noise=0.3))


def weights(classes=CLASSES):
    """Draws a recognizer without compiling anything."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: recognizer.init(jax.random.key(0), classes, SHAPE))
    return jax.tree.map(
        lambda leaf: np.float32(
            random.standard_normal(leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))
        ),
        shapes,
    )


def chunk(shared, target, first):
    """A chunk of restarts of one person."""
    params, faces = shared
    restarts = first + jnp.arange(CHUNK)
    keys = inversion.restart_keys(jax.random.key(0), target, restarts)
    targets = jnp.full(CHUNK, target)
    seeds = faces[restarts % len(faces)]
    return inversion.invert(recognizer.logits, params, seeds, targets, keys, SETTINGS)


def everywhere(mesh, params, faces, targets, firsts):
    """Does all items on a mesh; returns the results in host memory, and the compiled program."""
    shared = (sharding.place_recognizer(mesh, params), sharding.replicate(mesh, faces))
    run, width, rows = sharding.item_by_item(mesh, chunk), sharding.width(mesh), []
    waves = [
        [sharding.spread(mesh, some[first : first + width]) for some in (targets, firsts)]
        for first in range(0, len(targets), width)
    ]
    compiled = run.lower(shared, *waves[0]).compile()
    for wave in waves:
        rows += [row for _, row in sharding.rows_here(compiled(shared, *wave))]
    return jax.tree.map(lambda *each: np.stack(each), *rows), compiled.as_text()


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
    alone = jax.jit(chunk)
    shared = jax.tree.map(jnp.asarray, (params, faces))
    rows = [alone(shared, *item) for item in zip(targets, firsts, strict=True)]
    expected = jax.tree.map(lambda *each: np.stack(each), *rows)
    found = {"moved": float(np.abs(expected.images - expected.seeds).max())}
    for shards in (1, 2, 4):
        mesh = sharding.make_mesh(shards)
        results, program = everywhere(mesh, params, faces, targets, firsts)
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
        placed = sharding.place_recognizer(mesh, params)
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


def photographs(count=20):
    random = np.random.default_rng(2)
    images = random.random((count, *SHAPE), np.float32)
    labels = (np.arange(count) % CLASSES).astype(np.int32)
    return training.Photographs(images, random.permutation(count), labels)


def started():
    with mock.patch.object(recognizer, "init", return_value=weights()):
        return jax.tree.map(jnp.copy, training.start(jax.random.key(0), CLASSES, SHAPE, 1e-3))


def check_training():
    """Takes three steps on one device and on all, from photographs in memory and streamed."""
    memory = photographs()
    streamed = memory._replace(images=Streamed(memory.images))
    alone, all_devices = sharding.make_mesh(devices=jax.devices()[:1]), sharding.make_mesh()
    ends, shown, found = {}, {}, {}
    for name, mesh, source in (
        ("alone", alone, memory),
        ("memory", all_devices, memory),
        ("streamed", all_devices, streamed),
    ):
        batch = training.batches(source, TRAINING.batch_size, seed=3, mesh=mesh)
        state, losses = sharding.place_training(mesh, started()), []
        key = jax.random.key(4)
        for step in range(3):
            images, labels = batch(step)
            found[f"{name}_rows"] = sorted({s.data.shape[0] for s in images.addressable_shards})
            shown.setdefault(name, []).append((np.asarray(images), np.asarray(labels)))
            state, loss = training.train_step(state, images, labels, key, TRAINING, mesh)
            losses.append(loss)
        whole = sharding.gather(mesh, state.params)
        ends[name] = jax.tree.map(np.asarray, ({"params": whole}, np.array(losses)))
        found[f"{name}_kernels"] = {
            layer: state.optimizer[0].mu[layer]["kernel"].addressable_data(0).shape
            for layer in ("L4", "L5", "L6", "L7")
        }

    def furthest(one, other):
        away = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), one, other)
        return max(jax.tree.leaves(away))

    placed = sharding.place_training(sharding.make_mesh(devices=jax.devices()[:3]), weights())
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


def message(function, *arguments):
    """Returns what a ValueError says."""
    try:
        function(*arguments)
    except ValueError as error:
        return str(error)
    return None


def check_refusals():
    batches = functools.partial(training.batches, seed=0, mesh=sharding.make_mesh())
    return {
        "three": message(sharding.make_mesh, 3),
        "none": message(sharding.make_mesh, 0),
        "sixteen": message(sharding.make_mesh, 16),
        "classes": message(sharding.place_recognizer, sharding.make_mesh(4), weights(30)),
        "batch": message(batches, photographs(), 12),
        "few": message(batches, photographs(5), 16),
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

    def test_what_does_not_divide_is_one_sentence(self):
        said = results()["check_refusals"]
        self.assertEqual(
            said["three"],
            "class_shards=3 does not divide the 8 devices: give one of [1, 2, 4, 8]",
        )
        self.assertIn("class_shards=0 does not divide", said["none"])
        self.assertIn("class_shards=16 does not divide", said["sixteen"])
        self.assertEqual(
            said["classes"], "class_shards=4 does not divide the recognizer's 30 classes"
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

    def test_one_process_agrees_with_itself(self):
        values = np.array([True, False, True])
        np.testing.assert_array_equal(sharding.from_first_process(values), values)
        sharding.wait_for_all("here")


if __name__ == "__main__":
    absltest.main()
