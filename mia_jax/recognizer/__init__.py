"""The paper's face recognizer and its training."""

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
    logits,
    plain,
)

__all__ = [
    "CHANNELS",
    "CONVOLUTIONS",
    "KERNELS",
    "SMALLEST_SIDE",
    "UNITS",
    "Params",
    "Recognizer",
    "classify",
    "convolve",
    "fast_on_cpu",
    "features",
    "in_bfloat16",
    "init",
    "logits",
    "plain",
]
