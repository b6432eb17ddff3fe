"""Measures speed and memory against PyTorch, ART and the arithmetic floor.

For example: python -m experiments.benchmark --suite=step,peers --json=benchmark.json

All that a suite compares takes turns, round by round, so that whatever else the machine does hits
all alike. Each `_ms` is the median over the rounds and each `_best_ms` the least; each ratio is the
median of the ratios within a round, not the ratio of medians. An iteration of our attack is timed
as the difference of two attacks of different length, so that start and final scoring do not count.
PyTorch and ART compute on CPU. Leave the machine idle meanwhile: taking turns is not enough, since
PyTorch's threads wait for each other and lose several times as much to other work as XLA's.

step    one iteration of --restarts of the paper's attack, --chunk at a time on each device (by
        default a core), and of the same in PyTorch; ratio is mia_jax / torch, below 1 where we
        are faster. floor_ms is what the CNN's forward pass and image gradient take at the speed
        of a large matrix product; floor_ratio is mia_jax / floor. first_iteration_s is tracing,
        compiling and two iterations.
train   one training step, batch of 32, on 14 and on --classes classes; ratio as above, without
        augmentation
peers   one iteration of ART's MIFace for one person, and for five in one batch, as users run it
        (PyTorch's default layout) and helped (channels last, and frozen weights, which spares it
        gradients that it drops); the ratios are art / mia_jax, above 1 where we are faster. Of
        --channels=3 unless that says 1.
scale   --chunk restarts of a small CNN on each of 1, 2, 4 and 8 virtual devices. They share the
        same cores: ideal is a time in proportion to the devices, an efficiency of 1.
        restarts_per_second counts those that advance by one iteration.
memory  peak resident memory of attacks of a small CNN with 200, 2,000 and 20,000 restarts, their
        results written chunk by chunk and joined as experiments.attack does; bounded if the most
        restarts take at most 64 MiB more than the least.
"""

import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags, logging

from experiments import clones, console, devices, provenance, rivals
from mia_jax import recognizer
from mia_jax.attack import inversion
from mia_jax.recognizer import training
from mia_jax.recognizer.views import STILL
from mia_jax.runtime import sharding, storage, workload

for _name in ("platform", "image_size", "channels"):  # Those of the other binaries that count here.
    flags.declare_key_flag(_name)
_SUITE = flags.DEFINE_list("suite", "step", "What to measure: step, train, peers, scale, memory.")
_JSON = flags.DEFINE_string("json", None, "File to write all figures to.")
_ROUNDS = flags.DEFINE_integer("rounds", 7, "How often everything takes its turn.", lower_bound=1)
_ITERATIONS = flags.DEFINE_integer("iterations", 10, "Iterations in a turn.", lower_bound=1)
_CLASSES = flags.DEFINE_integer(
    "classes", 2041, "Registered identities; by default the paper's.", lower_bound=5
)
_RESTARTS = flags.DEFINE_integer("restarts", 100, "Restarts of one iteration.", lower_bound=1)
_CHUNK = flags.DEFINE_integer("chunk", 50, "Restarts that run side by side.", lower_bound=1)

BATCH = 32
FEW_CLASSES = 14
SHORT = 2  # Iterations; a loop of one would be compiled as none.
PRODUCT = 2048
SMALL = rivals.Model(32, 1, 16)
DEVICES = (1, 2, 4, 8)
MANY_RESTARTS = (200, 2_000, 20_000)
MOST_MIB = 64  # That the most restarts may take more than the least.

Sampler = Callable[[], float]


def milliseconds(run: Callable[[], Any]) -> float:
    """Returns how long a function takes until its results are there."""
    started = time.perf_counter()
    jax.block_until_ready(run())
    return (time.perf_counter() - started) * 1e3


def each(run: Callable[[], Any]) -> Sampler:
    """Returns what measures one of the --iterations that a function does."""
    return lambda: milliseconds(run) / _ITERATIONS.value


def take_turns(what: str, samplers: Mapping[str, Sampler]) -> dict[str, list[float]]:
    """Measures everything once in each round, after round 0, which warms up and does not count.

    Args:
      what: For the log.
      samplers: What measures, by name; in milliseconds.

    Returns:
      The milliseconds of each round, by name.
    """
    times: dict[str, list[float]] = {name: [] for name in samplers}
    for number in range(-1, _ROUNDS.value):
        # Every other round backwards, so that nobody always comes after the same one.
        for name in list(samplers)[:: 1 - 2 * (number % 2)]:
            spent = samplers[name]()
            if number >= 0:
                times[name].append(spent)
        logging.info("%s: round %d of %d", what, number + 1, _ROUNDS.value)
    return times


def summary(times: Mapping[str, list[float]]) -> dict[str, Any]:
    """Returns medians and bests."""
    medians = {f"{name}_ms": statistics.median(values) for name, values in times.items()}
    return medians | {f"{name}_best_ms": min(values) for name, values in times.items()}


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float | None:
    """Returns the median of the ratios within a round, None without the other."""
    if other not in times:
        return None
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def models(classes: int) -> dict[str, rivals.Model]:
    """Returns the CNNs to measure, of both numbers of channels unless a flag says which."""
    channels = [flags.FLAGS.channels] if flags.FLAGS.channels else ["1", "3"]
    side = flags.FLAGS.image_size
    return {f"channels_{number}": rivals.Model(side, int(number), classes) for number in channels}


def difference(short: Callable[[], Any], long: Callable[[], Any]) -> Sampler:
    """Returns what measures one of the --iterations by which one attack is longer."""
    for run in (short, long):
        jax.block_until_ready(run())  # Compiles.

    def sample() -> float:
        spent = milliseconds(long) - milliseconds(short)
        if spent <= 0:
            raise ValueError(
                f"--iterations={_ITERATIONS.value} are lost in the noise of this machine: give more"
            )
        return spent / _ITERATIONS.value

    return sample


def our_attacks(model: rivals.Model, people: int) -> list[Callable[[], Any]]:
    """Prepares the paper's attack in two lengths: infomax loss, plain descent on the pixels."""
    restarts, chunk = _RESTARTS.value, min(_CHUNK.value, _RESTARTS.value)
    if restarts % chunk:
        raise ValueError(f"--restarts={restarts} is no multiple of --chunk={chunk}")
    shape = (model.side, model.side, model.channels)
    params = recognizer.init(jax.random.key(0), model.classes, shape)
    numbers = jnp.arange(restarts)
    keys = inversion.restart_keys(jax.random.key(1), 0, numbers)
    seeds = np.random.default_rng(0).random((restarts, *shape), np.float32)
    count = math.gcd(restarts // chunk, jax.device_count())
    mesh = sharding.make_mesh(devices=jax.devices()[:count])
    rows = (jnp.asarray(seeds), numbers % people, keys)
    divided = jax.tree.map(lambda array: array.reshape(count, -1, chunk, *array.shape[1:]), rows)
    place = jax.NamedSharding(mesh, jax.P(sharding.ITEMS))
    arguments = (sharding.replicate(mesh, params), *jax.device_put(divided, place))
    jax.block_until_ready(arguments)

    def attack(iterations: int) -> Callable[[], Any]:
        settings = inversion.Settings(optax.sgd(rivals.RATE), iterations)

        def item(params: Any, *chunks: jax.Array) -> inversion.Clones:
            def invert(chunk: tuple[jax.Array, ...]) -> inversion.Clones:
                seeds, targets, keys = chunk
                return inversion.invert(recognizer.logits, params, seeds, targets, keys, settings)

            return jax.lax.map(invert, chunks)

        return functools.partial(sharding.item_by_item(mesh, item), *arguments)

    return [attack(length) for length in (SHORT, SHORT + _ITERATIONS.value)]


def our_training(model: rivals.Model, settings: training.Settings) -> Sampler:
    """Returns what measures one training step."""
    shape = (model.side, model.side, model.channels)
    state = training.start(jax.random.key(0), model.classes, shape, settings.learning_rate)
    mesh = sharding.make_mesh(devices=devices.for_training(settings.batch_size))
    state = sharding.place_training(mesh, state)
    images = np.random.default_rng(1).random((settings.batch_size, *shape), np.float32)
    labels = np.arange(settings.batch_size) % model.classes
    batch, key = (sharding.spread(mesh, images), sharding.spread(mesh, labels)), jax.random.key(2)

    def run() -> training.State:
        nonlocal state
        for _ in range(_ITERATIONS.value):
            state, _ = training.train_step(state, *batch, key, settings, mesh)
        return state

    return each(run)


def floor(flops: int) -> Sampler:
    """Returns what measures how long so much arithmetic takes in a large matrix product."""
    product = jax.jit(jnp.matmul)
    matrix = jax.random.normal(jax.random.key(0), (PRODUCT, PRODUCT))
    share = flops / (2 * PRODUCT**3)
    return lambda: share * min(milliseconds(lambda: product(matrix, matrix)) for _ in range(3))


def measure_step() -> dict[str, Any]:
    """Measures the attack."""
    results = {}
    iterations, restarts = _ITERATIONS.value, _RESTARTS.value
    for name, model in models(_CLASSES.value).items():
        flops = 2 * rivals.forward_flops(model) * restarts
        short, long = our_attacks(model, 1)
        first = milliseconds(short) / 1e3
        samplers = {"mia_jax": difference(short, long), "floor": floor(flops)}
        if rivals.has_torch():
            samplers["torch"] = each(rivals.torch_attack(model, restarts, iterations))
        times = take_turns(f"step, {name}", samplers)
        results[name] = {
            "torch_ms": None,
            **summary(times),
            "ratio": ratio(times, "mia_jax", "torch"),
            "floor_ratio": ratio(times, "mia_jax", "floor"),
            "gflop": flops / 1e9,
            "peak_gflops": flops / 1e6 / statistics.median(times["floor"]),
            "first_iteration_s": first,
        }
    return results


def measure_train() -> dict[str, Any]:
    """Measures training."""
    augmented = training.Settings(batch_size=BATCH)
    still = dataclasses.replace(augmented, augmentation=STILL)
    results = {}
    for classes in (FEW_CLASSES, _CLASSES.value):
        for name, model in models(classes).items():
            samplers = {
                "mia_jax": our_training(model, still),
                "mia_jax_augmented": our_training(model, augmented),
            }
            if rivals.has_torch():
                rate = still.learning_rate
                steps = rivals.torch_training(model, BATCH, rate, _ITERATIONS.value)
                samplers["torch"] = each(steps)
            name = f"{name}_classes_{classes}"
            times = take_turns(f"train, {name}", samplers)
            results[name] = {
                "torch_ms": None,
                **summary(times),
                "ratio": ratio(times, "mia_jax", "torch"),
            }
    return results


def measure_peers() -> dict[str, Any]:
    """Measures ART."""
    *_, model = models(_CLASSES.value).values()
    samplers, ours = {}, {}
    for labels, people in (("one_label", 1), ("five_labels", 5)):
        targets = np.arange(_RESTARTS.value) % people
        samplers[f"mia_jax_{labels}"] = difference(*our_attacks(model, people))
        for helped in (False, True):
            art = f"art_{labels}" + "_helped" * helped
            samplers[art] = each(rivals.art_attack(model, targets, _ITERATIONS.value, helped))
            ours[art] = f"mia_jax_{labels}"
    times = take_turns("peers", samplers)
    ratios = {f"{art}_ratio": ratio(times, art, our) for art, our in ours.items()}
    return {**ratios, **summary(times), "channels": model.channels}


def small_attack(mesh: jax.sharding.Mesh, iterations: int) -> Callable[[np.ndarray], Any]:
    """Prepares a quick attack: a chunk of restarts for each device, from the number of its first.

    Args:
      mesh: The devices.
      iterations: How many.

    Returns:
      From the number of each device's first restart to the clones.
    """
    settings = inversion.Settings(optax.sgd(rivals.RATE), iterations)
    shape = (SMALL.side, SMALL.side, SMALL.channels)
    chunk = _CHUNK.value

    def item(params: Any, first: jax.Array) -> inversion.Clones:
        keys = inversion.restart_keys(jax.random.key(1), 0, first + jnp.arange(chunk))
        seeds = jax.vmap(lambda key: jax.random.uniform(key, shape))(keys)
        targets = jnp.zeros(chunk, int)
        return inversion.invert(recognizer.logits, params, seeds, targets, keys, settings)

    attack = sharding.item_by_item(mesh, item)
    params = recognizer.init(jax.random.key(0), SMALL.classes, shape)
    shared = sharding.replicate(mesh, params)
    return lambda firsts: attack(shared, sharding.spread(mesh, firsts))


def start_process(call: str, count: int = 1) -> subprocess.Popen[str]:
    """Starts a process with so many virtual devices that calls a function of this file."""
    program = (
        "import sys; from experiments import benchmark; "
        f"benchmark.flags.FLAGS(['benchmark', *sys.argv[1:]]); benchmark.{call}"
    )
    virtual = f"--xla_force_host_platform_device_count={count}"
    xla = f"{os.environ.get('XLA_FLAGS', '')} {virtual}"
    return subprocess.Popen(
        [sys.executable, "-c", program, *sys.argv[1:]],
        cwd=pathlib.Path(__file__).parent.parent,
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
    firsts = np.arange(sharding.width(mesh)) * _CHUNK.value
    lengths = (SHORT, SHORT + _ITERATIONS.value)
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
        spent, restarts = times[f"{count}"], count * _CHUNK.value
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
    items = workload.divide(["person"], restarts, _CHUNK.value)
    with tempfile.TemporaryDirectory() as directory:
        workdir = storage.WorkDirectory(directory)
        for wave in workload.waves(items, sharding.width(mesh)):
            made = attack(np.array([item.first for item in wave]))
            clones.write_parts(workdir, wave, made, "{}")
        for _ in clones.join_parts(workdir, items):
            pass
    # Not getrusage: on Linux it begins with the peak of the process that started this one.
    status = pathlib.Path("/proc/self/status").read_text()
    print(int(status.split("VmHWM:")[1].split()[0]) / 1024, flush=True)


def measure_memory() -> dict[str, Any]:
    """Measures peak memory."""
    if sys.platform != "linux":
        raise ValueError(f"--suite=memory reads /proc, which {sys.platform} does not have")
    peaks = {}
    for restarts in MANY_RESTARTS:
        with start_process(f"memory_process({restarts})") as process:
            peaks[f"peak_{restarts}_mib"] = answer(process)
        logging.info("Attacked with %d restarts", restarts)
    least, *_, most = peaks.values()
    return {**peaks, "limit_mib": least + MOST_MIB, "bounded": most <= least + MOST_MIB}


SUITES: dict[str, Callable[[], Any]] = {
    "step": measure_step,
    "train": measure_train,
    "peers": measure_peers,
    "scale": measure_scale,
    "memory": measure_memory,
}


def about() -> dict[str, Any]:
    """Describes how and where the figures were measured."""
    versions = provenance.versions()
    for package in ("torch", "adversarial-robustness-toolbox"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, IndexError):
        information = pathlib.Path("/proc/cpuinfo").read_text()
        processor = information.split("model name")[1].split("\n")[0].strip("\t :")
    settings = ("suite", "rounds", "iterations", "classes", "restarts", "chunk", "image_size")
    return {
        "definitions": (__doc__ or "").splitlines(),
        "settings": {name: flags.FLAGS[name].value for name in settings},
        "versions": versions,
        "commit": provenance.commit(),
        "processor": processor,
        "cores": devices.cores(),
        "devices": jax.device_count(),
        "device": jax.devices()[0].device_kind,
        "load_average": os.getloadavg()[0],  # At the start, over a minute; 0 is an idle machine.
    }


def show(suite: str, figures: Any) -> None:
    """Prints a table, a line for each figure."""
    if isinstance(figures, list):
        figures = {f"devices_{row['devices']}": row for row in figures}
    if not all(isinstance(column, dict) for column in figures.values()):
        figures = {"": figures}
    text = lambda value: f"{value:.4g}" if isinstance(value, float) else str(value)  # noqa: E731
    widths = [max(len(title), 12) for title in figures]
    rows = [(f"\n{suite:<28}", *figures)]
    for name in next(iter(figures.values())):
        rows.append((f"{name:<28}", *[text(column[name]) for column in figures.values()]))
    for name, *cells in rows:
        print(name, *[cell.rjust(width) for cell, width in zip(cells, widths, strict=True)])


def main() -> None:
    """Measures the suites that the flags ask for."""
    if not _SUITE.value or not set(_SUITE.value) <= set(SUITES):
        raise ValueError(f"--suite={','.join(_SUITE.value)}: choose among {', '.join(SUITES)}")
    if "peers" in _SUITE.value:
        rivals.need("peers")
    if _JSON.value:
        path = pathlib.Path(_JSON.value)
        if path.is_dir():
            raise ValueError(f"--json={path} is a directory: name a file")
        storage.check_writable(path.parent)
    devices.start()
    if {"step", "train"} & set(_SUITE.value) and not rivals.has_torch():
        print("PyTorch is not installed, so it is not compared: pip install -e '.[benchmark]'")
    result = about()
    for suite in _SUITE.value:
        result[suite] = SUITES[suite]()
        show(suite, result[suite])
        if _JSON.value:
            storage.write_json(path, result)
    if "memory" in result and not result["memory"]["bounded"]:
        raise ValueError(
            f"{MANY_RESTARTS[-1]} restarts took over {MOST_MIB} MiB more memory than "
            f"{MANY_RESTARTS[0]}: see the table"
        )


if __name__ == "__main__":
    console.run(main)
