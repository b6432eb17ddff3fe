"""The suites step, train and peers: against PyTorch, ART and the arithmetic floor."""

import dataclasses
import functools
import math
import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import devices
from experiments.benchmarks import rivals
from experiments.benchmarks.timing import (
    ITERATIONS,
    Sampler,
    difference,
    each,
    milliseconds,
    ratio,
    summary,
    take_turns,
)
from mia_jax import recognizer
from mia_jax.attack import Attack, Case, Clones, invert, recipes, restart_keys, seeds
from mia_jax.recognizer import placement, training
from mia_jax.recognizer.architectures import ApplyFn
from mia_jax.recognizer.views import STILL
from mia_jax.runtime import sharding
from mia_jax.runtime.errors import UserError

CLASSES = flags.DEFINE_integer(
    "classes", 2041, "Registered identities; by default the paper's.", lower_bound=5
)
RESTARTS = flags.DEFINE_integer("restarts", 100, "Restarts of one iteration.", lower_bound=1)
CHUNK = flags.DEFINE_integer("chunk", 50, "Restarts that run side by side.", lower_bound=1)

BATCH = 32
FEW_CLASSES = 14
SHORT = 2  # Iterations; a loop of one would be compiled as none.
PRODUCT = 2048


def models(classes: int) -> dict[str, rivals.Network]:
    """Returns the CNNs to measure, of both numbers of channels unless a flag says which."""
    channels = [flags.FLAGS.channels] if flags.FLAGS.channels else ["1", "3"]
    side = flags.FLAGS.image_size
    return {f"channels_{number}": rivals.Network(side, int(number), classes) for number in channels}


def paper_from_noise(
    shape: tuple[int, int, int], iterations: int, apply_fn: ApplyFn = recognizer.logits
) -> Attack:
    """Returns the paper's attack on images of a shape, from noise, so that no faces are needed."""
    return recipes.paper(
        apply_fn,
        np.zeros((1, *shape), np.float32),
        rate=rivals.RATE,
        iterations=iterations,
        seed_image=seeds.uniform_noise,
    )


def two_lengths(
    how: Callable[[int], Attack], params: Any, people: int = 1
) -> list[Callable[[], Any]]:
    """Prepares an attack on all devices in two lengths.

    Args:
      how: From a number of iterations to the attack.
      params: The recognizer's weights.
      people: How many the --restarts aim at, in turn.

    Returns:
      Runs the attack of `SHORT` iterations, and runs that of --iterations more.

    Raises:
      UserError: If --restarts is no multiple of --chunk.
    """
    restarts, chunk = RESTARTS.value, min(CHUNK.value, RESTARTS.value)
    if restarts % chunk:
        raise UserError(f"--restarts={restarts} is no multiple of --chunk={chunk}")
    numbers = jnp.arange(restarts)
    cases = Case(numbers % people, restart_keys(jax.random.key(1), 0, numbers))
    count = math.gcd(restarts // chunk, jax.device_count())
    mesh = sharding.make_mesh(devices=jax.devices()[:count])
    divided = jax.tree.map(lambda array: array.reshape(count, -1, chunk), cases)
    place = jax.NamedSharding(mesh, jax.P(sharding.ITEMS))
    divided = jax.device_put(divided, place)

    def item(shared: Any, chunks: Case) -> Clones:
        return jax.lax.map(lambda chunk: invert(shared[0], chunk, shared[1]), chunks)

    def attack(iterations: int) -> Callable[[], Any]:
        shared = sharding.replicate(mesh, (params, how(iterations)))
        return functools.partial(sharding.item_by_item(mesh, item), shared, divided)

    return [attack(length) for length in (SHORT, SHORT + ITERATIONS.value)]


def our_attacks(network: rivals.Network, people: int) -> list[Callable[[], Any]]:
    """Prepares the paper's attack in two lengths: infomax loss, plain descent on the pixels."""
    shape = (network.side, network.side, network.channels)
    params = recognizer.init(jax.random.key(0), network.classes, shape)
    return two_lengths(functools.partial(paper_from_noise, shape), params, people)


def our_training(network: rivals.Network, settings: training.Settings) -> Sampler:
    """Returns what measures one training step."""
    shape = (network.side, network.side, network.channels)
    state = training.start(jax.random.key(0), network.classes, shape)
    mesh = sharding.make_mesh(devices=devices.for_training(settings.batch_size))
    state = sharding.place(mesh, state, placement.split_units(sharding.width(mesh)))
    images = np.random.default_rng(1).random((settings.batch_size, *shape), np.float32)
    labels = np.arange(settings.batch_size) % network.classes
    batch, key = (sharding.spread(mesh, images), sharding.spread(mesh, labels)), jax.random.key(2)

    def run() -> training.State:
        nonlocal state
        for _ in range(ITERATIONS.value):
            state, _ = training.train_step(state, *batch, key, settings, mesh)
        return state

    return each(run)


def floor(flops: float) -> Sampler:
    """Returns what measures how long so much arithmetic takes in a large matrix product."""
    product = jax.jit(jnp.matmul)
    matrix = jax.random.normal(jax.random.key(0), (PRODUCT, PRODUCT))
    share = flops / (2 * PRODUCT**3)
    return lambda: share * min(milliseconds(lambda: product(matrix, matrix)) for _ in range(3))


def measure_step() -> dict[str, Any]:
    """Measures the attack."""
    results = {}
    iterations, restarts = ITERATIONS.value, RESTARTS.value
    for name, network in models(CLASSES.value).items():
        flops = 2 * rivals.forward_flops(network) * restarts
        short, long = our_attacks(network, 1)
        first = milliseconds(short) / 1e3
        samplers = {"mia_jax": difference(short, long), "floor": floor(flops)}
        if rivals.has_torch():
            net = rivals.paper_cnn(network)
            samplers["torch"] = each(rivals.torch_attack(net, network, restarts, iterations))
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
    for classes in (FEW_CLASSES, CLASSES.value):
        for name, network in models(classes).items():
            samplers = {
                "mia_jax": our_training(network, still),
                "mia_jax_augmented": our_training(network, augmented),
            }
            if rivals.has_torch():
                rate = still.learning_rate
                steps = rivals.torch_training(network, BATCH, rate, ITERATIONS.value)
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
    *_, network = models(CLASSES.value).values()
    samplers, ours = {}, {}
    for labels, people in (("one_label", 1), ("five_labels", 5)):
        targets = np.arange(RESTARTS.value) % people
        samplers[f"mia_jax_{labels}"] = difference(*our_attacks(network, people))
        for helped in (False, True):
            art = f"art_{labels}" + "_helped" * helped
            samplers[art] = each(rivals.art_attack(network, targets, ITERATIONS.value, helped))
            ours[art] = f"mia_jax_{labels}"
    times = take_turns("peers", samplers)
    ratios = {f"{art}_ratio": ratio(times, art, our) for art, our in ours.items()}
    return {**ratios, **summary(times), "channels": network.channels}
