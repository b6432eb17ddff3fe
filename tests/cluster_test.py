"""Several processes that work as one, over the loopback interface, as a user starts them."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import time
from unittest import mock

import jax
import numpy as np
from absl import flags
from absl.testing import absltest, flagsaver, parameterized
from binaries import Running
from PIL import Image

from experiments import devices
from mia_jax.runtime import storage

SECONDS = 240
# Most of the time here is compilation; this is LLVM's part, XLA's own passes still run.
XLA_FLAGS = "--xla_backend_optimization_level=0"
TRAINING = (
    "--dataset=folder",
    "--image_size=16",
    "--targeted=4",
    "--role=target",
    "--batch_size=8",
    "--max_epochs=1",
    "--evaluate_every=1",
)
# Chunks of one make the work long enough to be interrupted in the middle.
ATTACK = ("--recipe=paper", "--iterations=3", "--chunk=1", "--restarts=40")
ASKING = (
    "--scenario=confidences",
    "--recipe=eigenfaces",
    "--components=4",
    "--leading=4",
    "--queries=100",
    "--restarts=2",
)


def draw_faces(root, people=14, photographs=4):
    """Draws people who can be told apart."""
    random = np.random.default_rng(0)
    for person in range(people):
        directory = root / f"person {person}"
        directory.mkdir(parents=True)
        face = random.integers(0, 180, (16, 16))
        for number in range(photographs):
            pixels = face + random.integers(0, 75, (16, 16))
            Image.fromarray(pixels.astype(np.uint8)).save(directory / f"{number}.png")


class Cluster:
    """Processes of one job."""

    def __init__(self, count, binary, *flags):
        """Starts a binary in so many processes; with one, as one that knows of no others."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:{1}".format(*free.getsockname())
        self.processes = []
        for number in range(count):
            joined = [
                f"--coordinator_address={address}",
                f"--num_processes={count}",
                f"--process_id={number}",
                "--heartbeat_timeout=60",  # More than the survivor of a kill needs to notice it.
            ]
            self.processes.append(
                Running(
                    *(binary, *flags, *joined * (count > 1)),
                    env={"JAX_PLATFORMS": "cpu", "XLA_FLAGS": XLA_FLAGS},
                )
            )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()

    def said(self):
        """Returns what each process wrote."""
        return [process.err.read_text() for process in self.processes]

    def end(self):
        """Waits for all processes; returns their exit status."""
        return [process.wait(SECONDS) for process in self.processes]

    def running(self):
        return all(process.running() for process in self.processes)


def content(directory):
    """Returns the bytes of each file of clones."""
    return {path.name: path.read_bytes() for path in directory.glob("*.npz")}


class ClusterTest(parameterized.TestCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        stack = contextlib.ExitStack()
        cls.addClassCleanup(stack.close)
        cls.root = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        draw_faces(cls.root / "faces")
        cls.common = (f"--compilation_cache={cls.root / 'compiled'}", "--cpu_devices=1")
        cls.trained = cls.root / "trained"
        cls.succeed(1, "train", cls.trained, f"--data_dir={cls.root / 'faces'}", *TRAINING)

    @classmethod
    def succeed(cls, count, binary, workdir, *flags):
        with Cluster(count, binary, f"--workdir={workdir}", *cls.common, *flags) as some:
            status = some.end()
            assert status == [0] * count, "\n".join(text[-2000:] for text in some.said())
            return some.said()

    def copy(self, name):
        """Returns another work directory with the trained target."""
        return pathlib.Path(shutil.copytree(self.trained, self.root / name))

    def test_training_is_that_of_one_process_up_to_rounding(self):
        workdir = self.root / "trained by two"
        said = self.succeed(2, "train", workdir, f"--data_dir={self.root / 'faces'}", *TRAINING)
        for number, text in enumerate(said, 1):
            self.assertIn(f"Process {number} of 2 computes on 1 of 2 devices", text)
        one, two = (
            storage.read_table(path / "target" / "metrics.csv") for path in (self.trained, workdir)
        )
        self.assertLen(one, 1)
        for row, other in zip(one, two, strict=True):
            for name, value in row.items():
                np.testing.assert_allclose(other[name], value, rtol=1e-4, err_msg=name)
        about, other = (
            json.loads((path / "target" / "recognizer.json").read_text())
            for path in (self.trained, workdir)
        )
        del about["digest"], other["digest"]  # Of weights that differ in their last digits.
        self.assertEqual(about, other)
        self.assertEqual(
            (self.trained / "protocol.json").read_bytes(), (workdir / "protocol.json").read_bytes()
        )
        # Only the first process writes the curves.
        self.assertLen(list((workdir / "target").glob("events.out.tfevents.*")), 1)
        self.assertFalse((workdir / "target" / "training").exists())

    def test_an_attack_goes_on_with_another_number_of_processes(self):
        alone, workdir = self.copy("alone"), self.copy("by several")
        said = self.succeed(1, "attack", alone, *ATTACK, "--cpu_devices=2")
        self.assertIn("Process 1 of 1 computes on 2 of 2 devices", said[0])
        expected = content(alone / "clones")
        self.assertLen(expected, 4)

        flags = (f"--workdir={workdir}", *self.common, *ATTACK)
        with Cluster(2, "attack", *flags) as some:
            deadline = time.monotonic() + SECONDS
            while not any((workdir / "clones" / "parts").glob("*.npz")):
                self.assertTrue(some.running(), some.said())
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)
            survivor, victim = some.processes
            victim.kill()
            self.assertEqual(victim.wait(SECONDS), -signal.SIGKILL)
            self.assertNotEqual(survivor.wait(SECONDS), 0)
            said = some.said()[0]
        self.assertIn("attack: another process of this job ended: see what it said", said)
        self.assertNotIn("Traceback", said)
        manifest = storage.read_json(workdir / "clones" / "manifest.json")
        self.assertNotEmpty(manifest["incomplete"])
        whole = len(content(workdir / "clones"))
        done = 40 * whole + len(content(workdir / "clones" / "parts"))
        self.assertBetween(done, 1, 4 * 40 - 1)

        said = self.succeed(3, "attack", workdir, *ATTACK)
        self.assertIn("Process 3 of 3 computes on 1 of 3 devices", said[2])
        self.assertEqual(content(workdir / "clones"), expected)
        self.assertEmpty(list((workdir / "clones" / "parts").iterdir()))
        manifest = storage.read_json(workdir / "clones" / "manifest.json")
        self.assertEqual(manifest, storage.read_json(alone / "clones" / "manifest.json"))
        self.assertEmpty(manifest["incomplete"])
        self.assertLen(manifest["complete"], 4)

    def test_asking_goes_over_all_devices_and_finds_the_same(self):
        found = {}
        for devices_there in (1, 3):
            workdir = self.copy(f"asked on {devices_there}")
            self.succeed(1, "attack", workdir, *ASKING, f"--cpu_devices={devices_there}")
            found[devices_there] = content(workdir / "clones")
        self.assertLen(found[1], 4)
        self.assertEqual(found[3], found[1])


ALL_THREE = (
    " missing: processes that work as one need --coordinator_address, --num_processes and "
    "--process_id, all three"
)


class FlagsTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()

    def refused(self, **values):
        """Returns what is said of these flags, which must not reach JAX."""
        with (
            flagsaver.flagsaver(**values),
            mock.patch.object(jax.distributed, "initialize") as initialize,
            self.assertRaises(ValueError) as caught,
        ):
            devices.start()
        initialize.assert_not_called()
        return str(caught.exception)

    @parameterized.parameters(
        ({"num_processes": 2}, "--coordinator_address and --process_id"),
        ({"process_id": 0}, "--coordinator_address and --num_processes"),
        ({"coordinator_address": "h:1", "process_id": 0}, "--num_processes"),
        ({"distributed": True, "num_processes": 2}, "--coordinator_address and --process_id"),
    )
    def test_one_needs_the_others(self, values, missing):
        self.assertEqual(self.refused(**values), missing + ALL_THREE)

    @parameterized.parameters(2, 3)
    def test_processes_count_from_0(self, number):
        said = self.refused(coordinator_address="h:1", num_processes=2, process_id=number)
        self.assertEqual(
            said, f"--process_id={number} is not below --num_processes=2: count from 0"
        )

    @parameterized.parameters(
        ({}, None),
        ({"distributed": True}, (None, None, None)),
        ({"coordinator_address": "h:1", "num_processes": 2, "process_id": 0}, ("h:1", 2, 0)),
    )
    def test_what_jax_is_told(self, values, expected):
        with (
            flagsaver.flagsaver(heartbeat_timeout=7, **values),
            mock.patch.object(jax.config, "update"),
            mock.patch.object(jax.distributed, "initialize") as initialize,
        ):
            devices.start()
        if expected is None:
            initialize.assert_not_called()
        else:
            initialize.assert_called_once_with(*expected, heartbeat_timeout_seconds=7)

    @parameterized.parameters(
        (None, {}, 6, 6),
        (None, {}, 64, 16),
        (3, {}, 6, 3),
        (None, {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}, 6, None),
        (None, {"JAX_NUM_CPU_DEVICES": "8"}, 6, None),
        (3, {"JAX_NUM_CPU_DEVICES": "8"}, 6, 3),
    )
    def test_how_many_devices_a_cpu_is(self, flag, environment, cores, expected):
        clean = {"XLA_FLAGS": "", **environment}
        with (
            flagsaver.flagsaver(cpu_devices=flag),
            mock.patch.dict(os.environ, clean),
            mock.patch.object(devices, "cores", return_value=cores),
            mock.patch.object(jax.config, "update") as update,
        ):
            if "JAX_NUM_CPU_DEVICES" not in environment:
                os.environ.pop("JAX_NUM_CPU_DEVICES", None)
            devices.divide_cpu()
        if expected is None:
            update.assert_not_called()
        else:
            update.assert_called_once_with("jax_num_cpu_devices", expected)

    @parameterized.parameters(
        ("cpu", 32, ["abcdef"], "ab"),
        ("cpu", 32, ["abcd"], "abcd"),
        ("cpu", 7, ["abcd"], "a"),
        ("cpu", 8, ["abcd", "ef"], "abef"),
        ("gpu", 32, ["abcdef"], "abcdef"),
    )
    def test_which_devices_divide_a_batch(self, backend, batch_size, processes, expected):
        with (
            mock.patch.object(jax, "default_backend", return_value=backend),
            mock.patch.object(jax, "devices", return_value=list("".join(processes))),
            mock.patch.object(jax, "process_count", return_value=len(processes)),
            mock.patch.object(jax, "local_devices", side_effect=lambda number: processes[number]),
        ):
            self.assertEqual("".join(devices.for_training(batch_size)), expected)

    def test_a_binary_says_one_sentence(self):
        with tempfile.TemporaryDirectory() as workdir:
            done = Running("attack", f"--workdir={workdir}", "--num_processes=2").end(SECONDS)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(
            done.stderr.splitlines(),
            ["attack: --coordinator_address and --process_id" + ALL_THREE],
        )


if __name__ == "__main__":
    absltest.main()
