"""Small binaries, run as processes: what they say and how they end."""

import io
import logging as stdlib_logging
import pathlib
import socket
import types
from unittest import mock

import binaries
import tqdm
from absl.testing import absltest, parameterized

from experiments import console
from mia_jax.runtime import processes
from mia_jax.runtime.errors import UserError

ROOT = pathlib.Path(__file__).parent.parent
BINARY = """
import errno, os, signal
import jax
from experiments import console
from mia_jax.runtime import errors, processes

def main():
    {body}

console.run(main)
"""


def run(body, *flags):
    program = BINARY.format(body=body)
    return binaries.Running(program, *flags, env={"JAX_PLATFORMS": "cpu"}).end(100)


class RunTest(parameterized.TestCase):
    @parameterized.parameters(
        ("pass", 0, ""),
        ("raise errors.UserError('--rate=0 is too small')", 2, "-c: --rate=0 is too small"),
        ("raise errors.MissingError('a.json does not exist')", 2, "-c: a.json does not exist"),
        (
            "open('/dev/null/a')",
            1,
            "-c: Not a directory at /dev/null/a: what was finished is kept; run the same command "
            "again when it is fixed",
        ),
        (
            "raise OSError(errno.ENOSPC, 'No space left on device')",
            1,
            "-c: the disk is full: what was finished is kept; run the same command again when it "
            "is fixed",
        ),
        (
            "os.kill(os.getpid(), signal.SIGTERM)",
            130,
            "-c: interrupted: run the same command again to go on from the last saved step",
        ),
    )
    def test_what_a_user_can_mend_is_one_line(self, body, status, line):
        done = run(body)
        self.assertEqual((done.returncode, done.stderr.strip()), (status, line))

    @parameterized.parameters(
        ("raise ValueError('a shape')", "ValueError: a shape"),
        ("jax.numpy.ones(2) + jax.numpy.ones(3)", "TypeError: add got incompatible shapes"),
        ("jax.numpy.ones(2).reshape(3)", "TypeError: cannot reshape"),
        ("raise ConnectionRefusedError(111, 'refused')", "ConnectionRefusedError: [Errno 111]"),
        ("raise OSError('cannot identify image file')", "OSError: cannot identify"),
    )
    def test_anything_else_keeps_its_traceback(self, body, words):
        done = run(body)
        self.assertEqual(done.returncode, 1)
        self.assertIn("Traceback (most recent call last)", done.stderr)
        self.assertIn(words, done.stderr)

    def test_a_word_that_is_no_flag(self):
        done = run("pass", "surplus")
        self.assertEqual(done.returncode, 2)
        self.assertEqual(
            done.stderr.strip(), "-c: 'surplus' is not a flag: flags look like --name=value"
        )


class ChosenTest(parameterized.TestCase):
    COMMANDS = types.MappingProxyType({"serve": print, "score": repr})

    @parameterized.parameters(
        ([], "one of serve, score has to come first: none was given"),
        (["server"], "one of serve, score has to come first: 'server' is none"),
        (["score", "all"], "'all' is not a flag: flags look like --name=value"),
    )
    def test_a_word_that_is_no_command(self, words, said):
        with self.assertRaisesWithLiteralMatch(UserError, said):
            console._chosen(self.COMMANDS, words)

    def test_the_first_word_chooses(self):
        self.assertIs(console._chosen(self.COMMANDS, ["score"]), repr)
        self.assertIs(console._chosen(print, []), print)


class LogTest(parameterized.TestCase):
    @parameterized.parameters(
        (ROOT / "experiments" / "train.py", "INFO", True),
        (ROOT / "mia_jax" / "faces" / "sources.py", "INFO", True),
        (ROOT / ".venv" / "lib" / "orbax" / "checkpoint.py", "INFO", False),
        (ROOT / ".venv" / "lib" / "orbax" / "checkpoint.py", "WARNING", True),
        ("/site-packages/experiments/a.py", "INFO", False),
    )
    def test_what_is_worth_reading(self, path, level, expected):
        number = getattr(stdlib_logging, level)
        record = stdlib_logging.LogRecord("absl", number, str(path), 1, "text", (), None)
        self.assertEqual(console._worth_reading(record), expected)

    @parameterized.parameters(
        ("mia_jax/a.py", "\x1b[2Jall\nis done", "\\x1b[2Jall\\nis done"),
        ("elsewhere/a.py", "two\nlines\r", "two\nlines\\r"),
        ("mia_jax/a.py", "Zoë is done", "Zoë is done"),
        ("mia_jax/a.py", "\udcff is done", "\\udcff is done"),
    )
    def test_a_name_moves_no_cursor(self, path, name, said):
        record = stdlib_logging.LogRecord("a", 20, str(ROOT / path), 1, "%s", (name,), None)
        self.assertTrue(console._escaped(record))
        self.assertEqual(record.getMessage(), said)

    def test_others_may_read_nothing_that_any_library_writes(self):
        done = run("import pathlib; p = pathlib.Path('/dev/shm/umask_test'); p.touch(); "
                   "print(oct(p.stat().st_mode & 0o777)); p.unlink()")  # fmt: skip
        self.assertEqual(done.stdout.strip(), "0o600")

    def test_progress_without_a_terminal_is_log_lines(self):
        with (
            mock.patch("sys.stderr", io.StringIO()),
            self.assertLogs("absl", "INFO") as logs,
            console.progress(4, 1, "attack", "clone") as bar,
        ):
            self.assertIsInstance(bar, tqdm.tqdm)
            bar.update(3)
        self.assertIn("4/4", logs.output[-1])


MEMBER = """
import signal, sys
import jax
from jax.experimental import multihost_utils
from experiments import console
from mia_jax.runtime import processes
from mia_jax.runtime.errors import UserError

address, number, victim = sys.argv.pop(), int(sys.argv.pop()), int(sys.argv.pop())

def main():
    jax.distributed.initialize(address, 3, number, heartbeat_timeout_seconds=30)
    processes.announce()
    multihost_utils.sync_global_devices("begun")
    print("begun", file=sys.stderr, flush=True)
    if number == victim:
        signal.pause()
    if victim < 0 and number == 1:
        raise ValueError("a bug of process 1")
    multihost_utils.sync_global_devices("done")

console.run(main)
"""


class LostProcessTest(parameterized.TestCase):
    def start(self, victim):
        """Starts a job of three processes."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = "127.0.0.1:{1}".format(*free.getsockname())
        cpu = {"JAX_PLATFORMS": "cpu"}
        members = [
            self.enter_context(binaries.Running(MEMBER, str(victim), str(n), address, env=cpu))
            for n in range(3)
        ]
        for member in members:
            member.wait_for("begun")
        return members

    def test_the_others_say_that_it_is_lost(self):
        members = self.start(victim=2)
        members[2].kill()
        first = members[0].end(100)
        self.assertEqual(first.returncode, 1)
        self.assertNotIn("Traceback", first.stderr)
        words = "another process of this job ended: see what it said, .* is kept"
        self.assertRegex(first.stderr, words)
        # The signs are kept by the first process: JAX may see its end before we do.
        second = members[1].end(100)
        self.assertNotEqual(second.returncode, 0)
        self.assertRegex(second.stderr, "another process of this job ended|another task died")

    def test_a_bug_keeps_its_traceback_while_the_others_live(self):
        _, culprit, _ = self.start(victim=-1)
        for line in culprit.lines():
            self.assertNotIn("another process", line)
            if "ValueError" in line:
                break
        self.assertIn("a bug of process 1", line)

    def test_a_process_alone_has_nobody_to_lose(self):
        processes.announce()
        self.assertFalse(processes.lost())


if __name__ == "__main__":
    absltest.main()
