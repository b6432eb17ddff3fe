"""The networks that a recognizer can be, as values: what tells one from another, and nothing else.

Training, attack and judges take these functions and do not ask which network it is. A judge of
another architecture than the target's is not fooled by all that fools the target's relatives.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax

from mia_jax.recognizer import network, resnet
from mia_jax.recognizer.network import Params

Name = Literal["cnn", "resnet"]
ApplyFn = Callable[[Any, jax.Array], jax.Array]


class Architecture(NamedTuple):
    """A network.

    Attributes:
      init: From a key, the number of classes and the shape of an image to fresh weights: a mapping
        of layers by name.
      convolve: From weights and images `[n, height, width, channels]` in [0, 1] to `[n, values]`:
        what each device does with its part of a batch. It takes the weights without `dense`.
      classify: From weights, that, and None or factors of dropout `[*dropped]` with the batch in
        the middle, to logits `[n, classes]` and penultimate features `[n, features]`.
      last_layer: From weights and features to logits.
      logits: From weights and images to logits; an `apply_fn` for the attack.
      features: From weights and images to penultimate features.
      dense: The layers that only `classify` uses.
      dropped: How many layers leave out units in training, and how many units each has.
    """

    init: Callable[[jax.Array, int, Sequence[int]], Params]
    convolve: ApplyFn
    classify: Callable[..., tuple[jax.Array, jax.Array]]
    last_layer: ApplyFn
    logits: ApplyFn
    features: ApplyFn
    dense: tuple[str, ...]
    dropped: tuple[int, int]


CNN = Architecture(
    init=network.init,
    convolve=network.convolve,
    classify=network.classify,
    last_layer=network.last_layer,
    logits=network.logits,
    features=network.features,
    dense=("L5", "L6", "L7"),
    dropped=(2, network.UNITS),
)
RESNET = Architecture(
    init=resnet.init,
    convolve=resnet.convolve,
    classify=resnet.classify,
    last_layer=resnet.last_layer,
    logits=resnet.logits,
    features=resnet.convolve,
    dense=(resnet.LAST,),
    dropped=(1, resnet.FEATURES),
)
ARCHITECTURES: Mapping[Name, Architecture] = {"cnn": CNN, "resnet": RESNET}
