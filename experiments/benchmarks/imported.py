"""The suite imported: networks that PyTorch made, against PyTorch and onnxruntime."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import flags

from experiments import devices
from experiments.benchmarks import rivals, speed
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
from mia_jax.recognizer import importers
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import sharding

FEATURES = 128  # Of the embedder.
NETWORKS: dict[str, tuple[str, Callable[[rivals.Network], Any], int | None]] = {
    "resnet_18": ("ResNet-18", rivals.resnet_18, None),
    "mobile_face_net": ("MobileFaceNet", rivals.mobile_face_net, FEATURES),
}


def _forward(model: Imported, images: np.ndarray) -> Callable[[], Any]:
    """Shows all images to a network, as many at a time as onnxruntime gets, on all devices."""
    chunks = np.split(images, range(rivals.CHUNK, len(images), rivals.CHUNK))
    count = math.gcd(jax.device_count(), *map(len, chunks))
    mesh = sharding.make_mesh(devices=jax.devices()[:count])
    place = jax.NamedSharding(mesh, jax.P(sharding.ITEMS))
    apply_fn, params = jax.jit(model.apply_fn), sharding.replicate(mesh, model.params)
    return lambda: [apply_fn(params, jax.device_put(chunk, place)) for chunk in chunks]


def measure_imported() -> dict[str, Any]:
    """Measures each network: its gradient as the attack takes it, and its way forward."""
    side, channels = flags.FLAGS.image_size, int(flags.FLAGS.channels or 3)
    shape, count = (side, side, channels), speed.RESTARTS.value
    images = np.random.default_rng(0).random((count, *shape), np.float32)
    results = {}
    for name, (title, build, outputs) in NETWORKS.items():
        network = rivals.Network(side, channels, outputs or speed.CLASSES.value)
        net = build(network)
        proto = rivals.written(net, network)
        model = importers.onnx.convert(proto, title)
        forward = _forward(model, images)
        reference = rivals.onnxruntime_forward(proto, images, devices.cores())
        how = functools.partial(speed.paper_from_noise, shape, apply_fn=model.apply_fn)
        short, long = speed.two_lengths(how, model.params)
        first = milliseconds(short) / 1e3
        steps = rivals.torch_attack(net, network, count, ITERATIONS.value)
        samplers: dict[str, Sampler] = {
            "mia_jax": difference(short, long),
            "torch": each(steps),
            "forward": functools.partial(milliseconds, forward),
            "onnxruntime": functools.partial(milliseconds, reference),
        }
        times = take_turns(f"imported, {name}", samplers)
        results[name] = {
            **summary(times),
            "ratio": ratio(times, "mia_jax", "torch"),
            "forward_ratio": ratio(times, "forward", "onnxruntime"),
            "gradient_ratio": ratio(times, "mia_jax", "onnxruntime"),
            "first_iteration_s": first,
            "channels": channels,
        }
    return results
