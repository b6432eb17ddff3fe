"""Runs binaries in processes of their own, as a user does, but for the five seconds of imports.

The processes are forked from one that has imported what all binaries import, and has computed
nothing. `test_each_binary_starts` starts each of them as a user does.
"""

import atexit
import itertools
import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = pathlib.Path(__file__).parent.parent
SECONDS = 600
_IMPORTED = [
    "mia_jax.evidence.results",
    "mia_jax.recognizer.training",
    "mia_jax.report.curves",
    "orbax.checkpoint",
    "tensorboardX",
]
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(_IMPORTED)
_LOGS = tempfile.TemporaryDirectory()
_NUMBERS = itertools.count()


class Running:
    """A process, and what it says."""

    def __init__(self, program, *flags, env=None):
        """Starts a binary, or a program that is given as its text."""
        number = next(_NUMBERS)
        self.out, self.err = (
            pathlib.Path(_LOGS.name) / f"{number}.{name}" for name in ("out", "err")
        )
        for path in (self.out, self.err):
            path.touch()
        self.process = _FORKED.Process(
            target=_be, args=(program, flags, {**os.environ, **(env or {})}, self.out, self.err)
        )
        self.process.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.kill()
        self.process.join()

    def lines(self):
        """Yields the lines of its standard error until it ends."""
        deadline = time.monotonic() + SECONDS
        with self.err.open() as file:
            line, alive = "", True
            while alive:
                assert time.monotonic() < deadline, self.err.read_text()
                alive = self.running()
                while part := file.readline():
                    line += part
                    if line.endswith("\n"):
                        yield line
                        line = ""
                if alive:
                    time.sleep(0.01)

    def wait_for(self, words):
        """Waits until a line of its standard error has these words."""
        assert any(words in line for line in self.lines()), self.err.read_text()

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill(self):
        self.process.kill()

    def running(self):
        return self.process.exitcode is None

    def wait(self, seconds=SECONDS):
        """Waits for its end; returns its exit status, the negative signal if one ended it."""
        self.process.join(seconds)
        assert not self.running(), self.err.read_text()
        return self.process.exitcode

    def end(self, seconds=SECONDS):
        """Waits for its end; returns what `subprocess.run` would."""
        status = self.wait(seconds)
        return subprocess.CompletedProcess(
            self.process.name, status, self.out.read_text(), self.err.read_text()
        )


def _be(program, flags, environment, out, err):
    """Becomes a program in a process that was forked for it."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(ROOT)
    sys.path.insert(0, str(ROOT))
    os.environ.update(environment)
    import jax

    if "JAX_PLATFORMS" in environment:  # JAX has looked when it was imported.
        jax.config.update("jax_platforms", environment["JAX_PLATFORMS"])
    try:
        if program.isidentifier():
            sys.argv = [program, *flags]
            runpy.run_module(f"experiments.{program}", run_name="__main__", alter_sys=True)
        else:
            sys.argv = ["-c", *flags]
            exec(compile(program, "<text>", "exec"), {"__name__": "__main__"})
    except Exception:
        traceback.print_exc()
        sys.exit(1)
    finally:
        atexit._run_exitfuncs()  # A forked process would not.


def run(program, *flags):
    return Running(program, *flags).end()


def succeed(binary, *flags):
    result = run(binary, *flags)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def refuse(binary, *flags):
    """Expects one sentence, no traceback, and a non-zero exit; returns what was said."""
    result = run(binary, *flags)
    assert result.returncode in (1, 2), result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    said = [line for line in result.stderr.splitlines() if line.startswith(f"{binary}: ")]
    assert len(said) == 1, result.stderr
    return said[0]
