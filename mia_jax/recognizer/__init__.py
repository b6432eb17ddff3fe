"""Face recognizers, the paper's first, and their training: what is attacked, and what judges."""

from mia_jax.recognizer.architectures import ARCHITECTURES, CNN, RESNET, Architecture
from mia_jax.recognizer.network import (
    CHANNELS,
    CONVOLUTIONS,
    KERNELS,
    SMALLEST_SIDE,
    UNITS,
    Params,
    Recognizer,
    classify,
    convolve,
    fast_on_cpu,
    features,
    in_bfloat16,
    init,
    last_layer,
    logits,
    plain,
)
from mia_jax.recognizer.training import RecognizerFacts

__all__ = [
    "ARCHITECTURES",
    "CHANNELS",
    "CNN",
    "CONVOLUTIONS",
    "KERNELS",
    "RESNET",
    "SMALLEST_SIDE",
    "UNITS",
    "Architecture",
    "Params",
    "Recognizer",
    "RecognizerFacts",
    "classify",
    "convolve",
    "fast_on_cpu",
    "features",
    "in_bfloat16",
    "init",
    "last_layer",
    "logits",
    "plain",
]
