"""What every stage asks of a recognizer, whether it was trained here or elsewhere."""

from typing import Any, NamedTuple

from mia_jax.attack.oracle import Predict
from mia_jax.recognizer.architectures import ApplyFn, Architecture


class Trained(NamedTuple):
    """A trained recognizer.

    Attributes:
      params: Its weights.
      logits: From weights and images to logits.
      architecture: All functions that apply the weights; None for a target that was trained
        elsewhere, of which only logits are asked.
      predict: `images -> confidences` of a target that may only be asked; else None.
    """

    params: Any
    logits: ApplyFn
    architecture: Architecture | None
    predict: Predict | None = None
