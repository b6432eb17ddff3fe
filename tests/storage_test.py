import csv
import io
import itertools
import json
import math
import os
import pathlib
import resource
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from unittest import mock

import hypothesis
import jax
import numpy as np
from absl.testing import absltest, parameterized
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mia_jax.recognizer.importers import functions
from mia_jax.runtime import bounds, storage
from mia_jax.runtime.errors import MissingError, UserError


class StorageTest(parameterized.TestCase):
    def setUp(self):
        super().setUp()
        self.root = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def names(self, directory=None):
        return sorted(path.name for path in (directory or self.root).iterdir())


class WritingTest(StorageTest):
    def test_makes_the_directories_and_a_file_that_no_others_may_read(self):
        path = self.root / "a" / "b" / "file"
        storage.write_bytes(path, b"new")
        self.assertEqual(path.read_bytes(), b"new")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(self.names(path.parent), ["file"])

    @parameterized.named_parameters(
        ("bytes", lambda path: storage.write_bytes(path, b"new"), "fsync"),
        ("json", lambda path: storage.write_json(path, [1]), "fsync"),
        ("arrays", lambda path: storage.write_arrays(path, {"a": np.ones(3)}), "fsync"),
        ("table", lambda path: storage.write_table(path, [{"a": 1}]), "fsync"),
        ("renaming", lambda path: storage.write_bytes(path, b"new"), "replace"),
        ("renaming_arrays", lambda path: storage.write_arrays(path, {"a": 0}), "replace"),
    )
    def test_a_failing_write_leaves_the_old_file_and_nothing_else(self, write, fails):
        path = self.root / "file"
        for error in (OSError("No space left on device"), KeyboardInterrupt()):
            path.write_bytes(b"old")
            with mock.patch.object(os, fails, side_effect=error), self.assertRaises(type(error)):
                write(path)
            self.assertEqual(path.read_bytes(), b"old")
            self.assertEqual(self.names(), ["file"])
        write(path)
        self.assertNotEqual(path.read_bytes(), b"old")
        self.assertEqual(self.names(), ["file"])

    @parameterized.parameters((math.nan,), (math.inf,), ({1, 2},), (np.ones(2),))
    def test_what_json_cannot_hold_leaves_the_old_file(self, value):
        path = self.root / "a.json"
        storage.write_json(path, {"old": 1})
        with self.assertRaises((ValueError, TypeError)):
            storage.write_json(path, {"a": value})
        self.assertEqual(storage.read_json(path), {"old": 1})
        self.assertEqual(self.names(), ["a.json"])

    def test_check_writable(self):
        storage.check_writable(self.root / "new" / "one")
        self.assertEqual(self.names(self.root / "new" / "one"), [])
        (self.root / "file").touch()
        with self.assertRaises(OSError):
            storage.check_writable(self.root / "file" / "below")


class CleanTest(StorageTest):
    def test_removes_what_a_killed_run_left_and_nothing_else(self):
        killed = (
            "import os, pathlib, signal, sys\n"
            "from mia_jax.runtime import storage\n"
            "with storage._whole(pathlib.Path(sys.argv[1])) as file:\n"
            "    file.write(b'half')\n"
            "    file.flush()\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        for path in (self.root / "a.npz", self.root / "clones" / "parts" / "b.npz"):
            done = subprocess.run([sys.executable, "-c", killed, str(path)], check=False)
            self.assertEqual(done.returncode, -signal.SIGKILL)
            (left,) = path.parent.glob(".writing-*")
            self.assertEqual(left.read_bytes(), b"half")
        storage.write_bytes(self.root / "clones" / "whole", b"whole")
        (self.root / ".writing-directory").mkdir()
        storage.clean(self.root)
        self.assertEqual(self.names(), [".writing-directory", "clones"])
        self.assertEqual(self.names(self.root / "clones"), ["parts", "whole"])
        self.assertEqual(self.names(self.root / "clones" / "parts"), [])

    def test_leaves_a_living_run_its_file(self):
        with storage._whole(self.root / "a") as file:
            file.write(b"new")
            storage.clean(self.root)
            self.assertLen(self.names(), 1)
        self.assertEqual((self.root / "a").read_bytes(), b"new")

    def test_there_need_be_nothing(self):
        storage.clean(self.root / "none")
        self.assertEqual(self.names(), [])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


class JsonTest(StorageTest):
    @hypothesis.given(JSON)
    @hypothesis.settings(max_examples=30, deadline=None)
    def test_round_trip(self, data):
        path = self.root / "a.json"
        storage.write_json(path, data)
        self.assertEqual(storage.read_json(path), data)

    def test_compares_line_by_line_and_reads_as_text(self):
        storage.write_json(self.root / "a.json", {"names": ["Zoë", "s2"]})
        lines = (self.root / "a.json").read_text(encoding="utf-8").splitlines()
        self.assertEqual(lines, ["{", ' "names": [', '  "Zoë",', '  "s2"', " ]", "}"])

    @parameterized.parameters(b"", b'{"a": 1', b"\xff\xfe\x00", b"a,b\n")
    def test_damaged(self, content):
        path = self.root / "a.json"
        path.write_bytes(content)
        with self.assertRaisesRegex(UserError, r"a\.json is not readable JSON .* delete it"):
            storage.read_json(path)

    def test_missing(self):
        with self.assertRaisesRegex(MissingError, "none.json"):
            storage.read_json(self.root / "none.json")


class ArraysTest(StorageTest):
    def test_round_trip(self):
        arrays = {
            "images": np.random.default_rng(0).normal(size=(2, 3, 4, 1)).astype(np.float32),
            "rank": np.array([1, -1]),
            "empty": np.zeros((0, 5)),
            "names": np.array(["Zoë", "s2"]),
            "done": np.array(True),
        }
        path = self.root / "clones" / "s1.npz"
        storage.write_arrays(path, arrays)
        found = storage.read_arrays(path)
        self.assertEqual(list(found), list(arrays))
        for name, array in arrays.items():
            np.testing.assert_array_equal(found[name], array)
            self.assertEqual(found[name].dtype, array.dtype)
        self.assertEqual(list(storage.read_arrays(path, ["rank"])), ["rank"])
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_takes_jax_arrays_and_plain_numbers(self):
        storage.write_arrays(self.root / "a.npz", {"a": jax.numpy.arange(3), "b": 1.5})
        found = storage.read_arrays(self.root / "a.npz")
        np.testing.assert_array_equal(found["a"], [0, 1, 2])
        self.assertEqual(found["b"], 1.5)

    def test_pickles_are_refused_unread(self):
        class Trap:
            def __reduce__(self):
                return os.mkdir, (str(trap),)

        trap = self.root / "sprung"
        path = self.root / "a.npz"
        np.savez(path, a=np.array([Trap()], dtype=object))
        with self.assertRaisesRegex(UserError, r"a\.npz cannot be read .* delete it"):
            storage.read_arrays(path)
        self.assertFalse(trap.exists())

    @parameterized.parameters("empty", "cut", "flipped", "text", "npy", "directory")
    def test_damaged(self, how):
        path = self.root / "a.npz"
        storage.write_arrays(path, {"a": np.arange(1000)})
        content = path.read_bytes()
        middle = len(content) // 2
        if how == "directory":
            path.unlink()
            path.mkdir()
        elif how == "npy":
            with path.open("wb") as file:
                np.save(file, np.arange(3))
        else:
            path.write_bytes(
                {
                    "empty": b"",
                    "cut": content[:middle],
                    "flipped": content[:middle] + b"\xff\xff" + content[middle + 2 :],
                    "text": b"hello",
                }[how]
            )
        with self.assertRaisesRegex(UserError, r"a\.npz cannot be read \(.*\): delete it"):
            storage.read_arrays(path, ["a"])

    def test_names_the_array_that_is_not_there(self):
        storage.write_arrays(self.root / "a.npz", {"a": np.ones(2)})
        with self.assertRaisesRegex(UserError, "images"):
            storage.read_arrays(self.root / "a.npz", ["a", "images"])

    def test_missing(self):
        with self.assertRaisesRegex(MissingError, "none.npz"):
            storage.read_arrays(self.root / "none.npz")


USED = {
    "clones": np.random.default_rng(0).random((5, 4, 3, 1)).astype(np.float32),
    "returned_best": np.array([True, False, True, True, False]),
    "iterations": np.arange(5, dtype=np.int32),
    "iterations_to_90": np.array([1, -1, 2, -1, 2**40]),
    "no_rows": np.zeros((0, 4, 1), np.float32),
    "no_columns": np.zeros((5, 0)),
    "number": np.array(1.5),
    "recipe": np.array('{"name": "paper", "rate": "Zoë"}'),
    "nothing": np.array(""),
    "names": np.array(["Zoë", "s2", "", "s4", "s5"]),
}


class MapArrayTest(StorageTest):
    def setUp(self):
        super().setUp()
        self.path = self.root / "a.npz"

    def test_every_array_in_use_is_as_read_arrays_gives_it(self):
        storage.write_arrays(self.path, USED)
        self.assertEqual(storage.names_of(self.path), list(USED))
        for name, expected in storage.read_arrays(self.path).items():
            found = storage.map_array(self.path, name)
            np.testing.assert_array_equal(found, expected)
            self.assertEqual(found.dtype, expected.dtype)
            self.assertEqual(found.shape, expected.shape)
        self.assertEqual(str(storage.map_array(self.path, "recipe")), str(USED["recipe"]))

    @hypothesis.given(
        npst.arrays(
            st.sampled_from([np.float32, np.float64, np.int32, np.bool_, np.uint8, "<U3"]),
            npst.array_shapes(min_dims=0, min_side=0, max_side=4),
        )
    )
    @hypothesis.settings(max_examples=50, deadline=None)
    def test_any_array(self, array):
        storage.write_arrays(self.path, {"before": np.arange(3), "é": array})
        found = storage.map_array(self.path, "é")
        np.testing.assert_array_equal(found, array)
        self.assertEqual((found.shape, found.dtype), (array.shape, array.dtype))

    def test_an_array_whose_first_axis_varies_fastest(self):
        """As a device whose layout differs may hand it out."""
        array = np.asfortranarray(USED["clones"])
        storage.write_arrays(self.path, {"a": array})
        np.testing.assert_array_equal(storage.map_array(self.path, "a"), array)

    def test_is_not_read_into_memory_and_not_writable(self):
        storage.write_arrays(self.path, USED)
        found = storage.map_array(self.path, "clones")
        self.assertIsInstance(found, np.memmap)
        with self.assertRaises(ValueError):
            found[0] = 0

    def test_outlives_the_file(self):
        storage.write_arrays(self.path, USED)
        found = storage.map_array(self.path, "clones")
        self.path.unlink()
        np.testing.assert_array_equal(found, USED["clones"])

    def assert_refused(self, name, words):
        with self.assertRaises(UserError) as caught:
            storage.map_array(self.path, name)
        message = str(caught.exception)
        self.assertRegex(message, r"a\.npz cannot be read \(.+\): delete it to redo it$")
        self.assertIn(words, message)
        self.assertNotIn("\n", message)

    def test_compressed(self):
        np.savez_compressed(self.path, a=np.ones(9))
        self.assert_refused("a", "compressed")

    def test_objects(self):
        np.savez(self.path, a=np.array([{}], dtype=object))
        self.assert_refused("a", "objects")

    def test_names_the_array_that_is_not_there(self):
        storage.write_arrays(self.path, {"a": np.ones(2)})
        self.assert_refused("images", "images")

    @parameterized.parameters("empty", "cut", "text", "npy", "directory", "header")
    def test_damaged(self, how):
        storage.write_arrays(self.path, {"a": np.arange(1000)})
        content = self.path.read_bytes()
        if how == "directory":
            self.path.unlink()
            self.path.mkdir()
        elif how == "npy":
            with self.path.open("wb") as file:
                np.save(file, np.arange(3))
        else:
            self.path.write_bytes(
                {
                    "empty": b"",
                    "cut": content[: len(content) // 2],
                    "text": b"hello",
                    "header": content.replace(b"\x93NUMPY", b"\x93DUMPY"),
                }[how]
            )
        self.assert_refused("a", "")
        if how != "header":
            with self.assertRaisesRegex(UserError, r"a\.npz cannot be read \(.+\): delete it"):
                storage.names_of(self.path)

    def test_missing(self):
        with self.assertRaisesRegex(MissingError, "a.npz"):
            storage.map_array(self.path, "a")
        with self.assertRaisesRegex(MissingError, "a.npz"):
            storage.names_of(self.path)


class JoinArraysTest(StorageTest):
    COMMON = ("recipe", "nothing", "number")
    ROWS = tuple(sorted({*USED} - {*COMMON, "no_rows"}))

    def parts(self, cuts=(0, 2, 3, 5)):
        """Writes the arrays in use, cut in parts; returns the paths."""
        paths = []
        for number, (first, last) in enumerate(itertools.pairwise(cuts)):
            rows = {name: USED[name][first:last] for name in self.ROWS}
            common = {name: USED[name] for name in self.COMMON}
            paths.append(self.root / "parts" / f"{number}.npz")
            storage.write_arrays(paths[-1], {**rows, **common})
        return paths

    @parameterized.parameters(((0, 2, 3, 5),), ((0, 5),), ((0, 0, 5, 5),))
    def test_writes_the_bytes_of_all_in_one(self, cuts):
        whole = {name: USED[name] for name in (*self.ROWS, *self.COMMON)}
        storage.write_arrays(self.root / "whole.npz", whole)
        path = self.root / "joined" / "a.npz"
        storage.join_arrays(path, self.parts(cuts), self.ROWS, self.COMMON)
        found = storage.read_arrays(path)
        self.assertEqual(list(found), list(whole))
        for name, array in whole.items():
            np.testing.assert_array_equal(found[name], array)
            self.assertEqual(found[name].dtype, array.dtype)
        self.assertEqual(path.read_bytes(), (self.root / "whole.npz").read_bytes())
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    @parameterized.parameters("missing", "damaged", "lacking", "flipped")
    def test_a_failing_part_leaves_no_file(self, how):
        paths = self.parts()
        if how == "missing":
            paths[1].unlink()
        elif how == "damaged":
            paths[1].write_bytes(paths[1].read_bytes()[:500])
        elif how == "lacking":
            storage.write_arrays(paths[1], {"clones": USED["clones"]})
        else:
            content = paths[1].read_bytes()
            row = USED["clones"][2].tobytes()
            self.assertIn(row, content)
            paths[1].write_bytes(content.replace(row, bytes(len(row))))
        path = self.root / "joined" / "a.npz"
        expected = MissingError if how == "missing" else UserError
        with self.assertRaisesRegex(expected, r"1\.npz"):
            storage.join_arrays(path, paths, self.ROWS, self.COMMON)
        self.assertEqual(self.names(path.parent), [])

    def test_a_failing_write_leaves_the_old_file(self):
        paths, path = self.parts(), self.root / "a.npz"
        path.write_bytes(b"old")
        error = OSError("No space left on device")
        with mock.patch.object(os, "fsync", side_effect=error), self.assertRaises(OSError):
            storage.join_arrays(path, paths, self.ROWS, self.COMMON)
        self.assertEqual(path.read_bytes(), b"old")
        self.assertEqual(self.names(), ["a.npz", "parts"])

    def test_more_parts_than_a_process_may_have_open(self):
        paths = []
        for number in range(120):
            paths.append(self.root / f"{number}.npz")
            storage.write_arrays(paths[-1], {"a": np.full((1, 2), number)})
        few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        in_use = len(list(pathlib.Path("/proc/self/fd").iterdir()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (in_use + 50, most))
        try:
            storage.join_arrays(self.root / "a.npz", paths, ["a"], [])
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
        found = storage.read_arrays(self.root / "a.npz")["a"]
        np.testing.assert_array_equal(found[:, 0], np.arange(120))


class TableTest(StorageTest):
    @hypothesis.given(
        st.lists(st.fixed_dictionaries({"step": st.integers(0), "loss": st.floats()}), min_size=1)
    )
    @hypothesis.settings(max_examples=30, deadline=None)
    @hypothesis.example([{"step": 25, "loss": math.nan}, {"step": 50, "loss": -math.inf}])
    def test_round_trip(self, rows):
        path = self.root / "metrics.csv"
        storage.write_table(path, rows)
        found = storage.read_table(path)
        np.testing.assert_array_equal([row["loss"] for row in found], [row["loss"] for row in rows])
        self.assertEqual([row["step"] for row in found], [row["step"] for row in rows])
        self.assertEqual({type(row["step"]) for row in found}, {int})

    def test_is_a_csv_with_a_header(self):
        storage.write_table(self.root / "a.csv", [{"step": 1, "loss": 0.5}])
        self.assertEqual((self.root / "a.csv").read_text(), "step,loss\n1,0.5\n")

    def test_missing_has_no_rows(self):
        self.assertEqual(storage.read_table(self.root / "none.csv"), [])

    @parameterized.parameters(
        "a,b\n1,x\n", "a,b\n1\n", "a\n1,2\n", "a\n\xff\n", 'a\n"1\n', "a\n\0\n"
    )
    def test_damaged(self, content):
        path = self.root / "metrics.csv"
        path.write_bytes(content.encode("latin-1"))
        with self.assertRaisesRegex(UserError, r"metrics\.csv cannot be read .* delete it"):
            storage.read_table(path)

    @parameterized.parameters(
        ("=1+1", "'=1+1"), ("+1", "'+1"), ("-1", "'-1"), ("@a", "'@a"), ("\t=1", "\\t=1"),
        ("a\r=1", "a\\r=1"), ("\uff1d1", "'\uff1d1"), ("a,b", "a,b"), ("Zoë", "Zoë"),
    )  # fmt: skip
    def test_a_name_is_no_formula(self, name, cell):
        storage.write_table(self.root / "a.csv", [{"who": name, "loss": -0.5}])
        with (self.root / "a.csv").open(newline="") as file:
            self.assertEqual(list(csv.reader(file))[1], [cell, "-0.5"])


class OthersTest(StorageTest):
    """Files that somebody else made, and what somebody else may see."""

    @parameterized.parameters(0o000, 0o022, 0o077)
    def test_nobody_else_may_read_what_is_written(self, umask):
        before = os.umask(umask)
        try:
            for name in ("a/b/c.json", "a/b/d.npz", "a/e.csv"):
                path = self.root / name
                if name.endswith("json"):
                    storage.write_json(path, 1)
                elif name.endswith("npz"):
                    storage.write_arrays(path, {"a": np.ones(2)})
                    storage.join_arrays(self.root / "a/joined.npz", [path], ["a"], [])
                else:
                    storage.write_table(path, [{"a": 1}])
            storage.check_writable(self.root / "new" / "one")
        finally:
            os.umask(before)
        for path in self.root.rglob("*"):
            mode = 0o700 if path.is_dir() else 0o600
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode, path)

    def test_what_is_narrow_is_never_widened(self):
        path = self.root / "a"
        storage.write_bytes(path, b"1")
        path.chmod(0o400)
        storage.tighten(path)
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o400)
        storage.write_bytes(path, b"2")
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_tighten(self):
        (self.root / "a").mkdir()
        (self.root / "a" / "b").touch()
        other = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "other"
        other.touch()
        for path in (self.root / "a", self.root / "a" / "b", other):
            path.chmod(0o755)
        (self.root / "a" / "link").symlink_to(other)
        storage.tighten(self.root / "a")
        self.assertEqual(stat.S_IMODE((self.root / "a" / "b").stat().st_mode), 0o755)
        storage.tighten(self.root / "a", below=True)
        self.assertEqual(stat.S_IMODE((self.root / "a").stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE((self.root / "a" / "b").stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(other.stat().st_mode), 0o755)
        storage.tighten(self.root / "none", below=True)

    def test_a_link_that_leads_out_is_named(self):
        other = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        (self.root / "clones").mkdir()
        storage.check_links(self.root)
        (self.root / "clones" / "here").symlink_to(self.root)
        storage.check_links(self.root)
        (self.root / "clones" / "out").symlink_to(other)
        with self.assertRaisesRegex(UserError, "clones/out is a link that leads out of"):
            storage.check_links(self.root)
        (self.root / "clones" / "out").unlink()
        (self.root / "clones" / "a.npz").symlink_to("/etc/passwd")
        with self.assertRaisesRegex(UserError, "clones/a.npz is a link"):
            storage.check_links(self.root)

    @parameterized.parameters(storage.read_json, storage.read_arrays, storage.names_of,
                              storage.read_table)  # fmt: skip
    def test_a_pipe_does_not_hang(self, read):
        os.mkfifo(self.root / "a")
        with self.assertRaisesRegex(UserError, "it is no ordinary file"):
            read(self.root / "a")

    @parameterized.parameters("[" * 100000, '{"a":' * 100000, "9" * 10000, '{"\\ud800": 1}')
    def test_json_that_is_too_much_for_python(self, text):
        (self.root / "a.json").write_text(text)
        with self.assertRaisesRegex(UserError, r"a\.json is not readable JSON"):
            storage.read_json(self.root / "a.json")

    def test_a_name_that_is_not_utf8_is_said(self):
        with self.assertRaisesRegex(UserError, r'a.json cannot hold "dir": "/x/\\udcff", which is'):
            storage.write_json(self.root / "a.json", {"a": 1, "dir": "/x/\udcff"})
        self.assertEqual(self.names(), [])

    def test_a_small_file_that_unpacks_to_much_is_not_unpacked(self):
        path = self.root / "a.npz"
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("a.npy", "w", force_zip64=True) as member,
        ):
            header = {"descr": "<f4", "fortran_order": False, "shape": (2**29,)}
            np.lib.format.write_array_header_1_0(member, header)
            for _ in range(2**11):
                member.write(bytes(2**20))
        self.assertLess(path.stat().st_size, 2**22)
        with self.assertRaisesRegex(UserError, "unpacks to 2147483776 bytes: at most 1073741824"):
            storage.read_arrays(path)

    @parameterized.parameters(
        ("<f4", (10**6, 10**6)), ("<f4", (2**62,)), ("<f4", (-1, 5)),
        ("<U0", (2**33,)), ("|S0", (10**6,)), ("<f4", (2**40, 0)),  # Of no bytes each.
    )  # fmt: skip
    def test_an_array_that_declares_more_than_it_holds_is_not_allocated(self, kind, shape):
        with zipfile.ZipFile(self.root / "a.npz", "w") as archive, archive.open("a.npy", "w") as m:
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(m, header)
        with self.assertRaisesRegex(UserError, r"a\.npz cannot be read \(it declares an array"):
            storage.read_arrays(self.root / "a.npz")

    def test_files_that_are_the_same_bytes_are_not_unpacked(self):
        """Each of thirty holds all that come after it, so that a megabyte would be thirty."""
        content, entries = bytes(2**20), []
        for number in reversed(range(30)):
            header = io.BytesIO()
            facts = {"descr": "|u1", "fortran_order": False, "shape": (len(content),)}
            np.lib.format.write_array_header_1_0(header, facts)
            data = header.getvalue() + content
            name, check = f"{number:02}.npy".encode(), zlib.crc32(data)
            sizes = (check, len(data), len(data), len(name), 0)
            content = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, *sizes) + name + data
            entries.append((name, sizes, len(content)))
        listed = b"".join(
            struct.pack("<4s6H3L2H", b"PK\1\2", 20, 20, 0, 0, 0, 33, *sizes)
            + struct.pack("<3H2L", 0, 0, 0, 0, len(content) - distance)
            + name
            for name, sizes, distance in entries
        )
        end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 30, 30, len(listed), len(content), 0)
        (self.root / "a.npz").write_bytes(content + listed + end)
        for read in (storage.read_arrays, functions.read_arrays):
            with self.assertRaisesRegex(UserError, r"a.npz holds files that overlap \(00.npy\)"):
                read(self.root / "a.npz")

    def test_an_array_of_no_bytes_is_not_mapped_either(self):
        with zipfile.ZipFile(self.root / "a.npz", "w") as archive, archive.open("a.npy", "w") as m:
            header = {"descr": "<U0", "fortran_order": False, "shape": (10**12,)}
            np.lib.format.write_array_header_1_0(m, header)
        with self.assertRaisesRegex(UserError, "it declares an array of"):
            storage.map_array(self.root / "a.npz", "a")

    def test_json_of_which_python_makes_much_more_is_not_read(self):
        (self.root / "a.json").write_text(json.dumps([[]] * 1000))
        self.enterContext(mock.patch.object(bounds, "JSON", 1000))
        with self.assertRaisesRegex(UserError, "it has 4000 characters: at most 1000 are read"):
            storage.read_json(self.root / "a.json")

    def test_a_pipe_in_a_directory_is_named(self):
        (self.root / "sub").mkdir()
        os.mkfifo(self.root / "sub" / "pipe")
        with self.assertRaisesRegex(UserError, "sub/pipe is no ordinary file"):
            storage.check_links(self.root)


if __name__ == "__main__":
    absltest.main()
