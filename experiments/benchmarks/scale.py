"""The suites scale and memory: many virtual devices, and many restarts."""

import contextlib
import functools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from experiments import clones
from experiments.benchmarks import rivals
from experiments.benchmarks.speed import CHUNK, SHORT, paper_from_noise
from experiments.benchmarks.timing import ITERATIONS, difference, ratio, take_turns
from mia_jax import recognizer
from mia_jax.attack import Clones, invert, make_cases
from mia_jax.runtime import sharding, workload
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

SMALL = rivals.Network(32, 1, 16)
DEVICES = (1, 2, 4, 8)
MANY_RESTARTS = (200, 2_000, 20_000)
MOST_MIB = 64  # That the most restarts may take more than the least.


def small_attack(mesh: jax.sharding.Mesh, iterations: int) -> Callable[[np.ndarray], Any]:
    """Prepares a quick attack: a chunk of restarts for each device, from the number of its first.

    Args:
      mesh: The devices.
      iterations: How many.

    Returns:
      From the number of each device's first restart to the clones.
    """
    shape = (SMALL.side, SMALL.side, SMALL.channels)
    how = paper_from_noise(shape, iterations)

    def item(shared: Any, first: jax.Array) -> Clones:
        numbers = first + jnp.arange(CHUNK.value)
        clones = invert(shared[0], make_cases(jax.random.key(1), 0, numbers), shared[1])
        return jax.tree.map(lambda array: array[None], clones)  # A bundle of one.

    attack = sharding.item_by_item(mesh, item)
    params = recognizer.init(jax.random.key(0), SMALL.classes, shape)
    shared = sharding.replicate(mesh, (params, how))
    return lambda firsts: attack(shared, sharding.spread(mesh, firsts))


def start_process(call: str, count: int = 1) -> subprocess.Popen[str]:
    """Starts a process with so many virtual devices that calls a function of this file."""
    program = (
        "import sys; from absl import flags; from experiments import benchmark; "
        f"flags.FLAGS(['benchmark', *sys.argv[1:]]); benchmark.scale.{call}"
    )
    virtual = f"--xla_force_host_platform_device_count={count}"
    xla = f"{os.environ.get('XLA_FLAGS', '')} {virtual}"
    return subprocess.Popen(
        [sys.executable, "-c", program, *sys.argv[1:]],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": xla},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def answer(process: subprocess.Popen[str]) -> float:
    """Asks a process for its next figure."""
    assert process.stdin and process.stdout
    with contextlib.suppress(BrokenPipeError):  # The empty answer says so as well.
        process.stdin.write("\n")
        process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError("a process of the benchmark ended early: see what it said above")
    return float(line)


def scale_process() -> None:
    """Measures an iteration on all devices, again for each line that is read."""
    mesh = sharding.make_mesh()
    firsts = np.arange(sharding.width(mesh)) * CHUNK.value
    lengths = (SHORT, SHORT + ITERATIONS.value)
    runs = [functools.partial(small_attack(mesh, length), firsts) for length in lengths]
    sample = difference(*runs)
    for _ in sys.stdin:
        print(sample(), flush=True)


def measure_scale() -> list[dict[str, Any]]:
    """Measures weak scaling."""
    with contextlib.ExitStack() as stack:
        samplers = {}
        for count in DEVICES:
            process = stack.enter_context(start_process("scale_process()", count))
            samplers[f"{count}"] = functools.partial(answer, process)
        times = take_turns("scale", samplers)
    rows = []
    for count in DEVICES:
        spent, restarts = times[f"{count}"], count * CHUNK.value
        rows.append(
            {
                "devices": count,
                "restarts": restarts,
                "ms": statistics.median(spent),
                "best_ms": min(spent),
                "restarts_per_second": restarts * 1e3 / statistics.median(spent),
                "efficiency": count * (ratio(times, "1", f"{count}") or 0),
            }
        )
    return rows


def memory_process(restarts: int) -> None:
    """Attacks as experiments.attack does, and prints the peak of resident memory in MiB."""
    mesh = sharding.make_mesh()
    attack = small_attack(mesh, SHORT)
    items = workload.divide(["person"], restarts, CHUNK.value)
    with tempfile.TemporaryDirectory() as directory:
        workdir = WorkDirectory(directory)
        for group in workload.groups(items, sharding.width(mesh)):
            made = attack(np.array([item.first for item in group]))
            bundles = [[item] for item in group]
            clones.write_parts(workdir, bundles, made, clones.Origin("{}", ""), items)
        for _ in clones.join_parts(workdir, items):
            pass
    # Not getrusage: on Linux it begins with the peak of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024, flush=True)


def measure_memory() -> dict[str, Any]:
    """Measures peak memory."""
    if sys.platform != "linux":
        raise UserError(f"--suite=memory reads /proc, which {sys.platform} does not have")
    peaks = {}
    for restarts in MANY_RESTARTS:
        with start_process(f"memory_process({restarts})") as process:
            peaks[f"peak_{restarts}_mib"] = answer(process)
        logging.info("Attacked with %d restarts", restarts)
    least, *_, most = peaks.values()
    return {**peaks, "limit_mib": least + MOST_MIB, "bounded": most <= least + MOST_MIB}
