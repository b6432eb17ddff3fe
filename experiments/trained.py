"""What every stage asks of a recognizer, whether it was trained here or elsewhere."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from mia_jax.attack.oracle import Predict
from mia_jax.recognizer import templates
from mia_jax.recognizer.architectures import ApplyFn, Architecture


class Remote(NamedTuple):
    """A target that may only be asked.

    Attributes:
      name: What it is called, module:function.
      answer: From pictures as it takes them to what it returns.
      through: From another way to ask it, such as one that counts, to the target asked that way.
    """

    name: str
    answer: Callable[[np.ndarray], Any]
    through: Callable[[Callable[[np.ndarray], np.ndarray]], "Trained"]


class Trained(NamedTuple):
    """A trained recognizer.

    Attributes:
      params: Its weights.
      logits: From weights and images to logits.
      architecture: All functions that apply the weights; None for a target that was trained
        elsewhere, of which only logits are asked.
      predict: `images -> confidences` of a target that may only be asked; else None.
      remote: Of such a target, how it is asked (`experiments.asked_target.through`); else None.
    """

    params: Any
    logits: ApplyFn
    architecture: Architecture | None
    predict: Predict | None = None
    remote: Remote | None = None

    def look(self) -> Callable[[ArrayLike], jax.Array]:
        """Returns what shows it images: compiled, or as it is where it may only be asked."""
        logits = jax.jit(self.logits) if self.predict is None else self.logits
        return functools.partial(logits, self.params)

    def templates(self) -> np.ndarray | None:
        """Returns an embedder's templates `[classes, features]`; None for a classifier."""
        if not isinstance(self.params, Mapping) or templates.TEMPLATES not in self.params:
            return None
        return np.asarray(self.params[templates.TEMPLATES])

    def embed(self) -> Callable[[ArrayLike], jax.Array]:
        """Returns what shows it images and gives features: logits, of a classifier."""
        enrolled = self.templates()
        if enrolled is None:
            return self.look()
        # The similarities to templates that are the axes are the features, of length 1, scaled.
        width = enrolled.shape[1]
        axes = {**self.params, templates.TEMPLATES: jnp.eye(width)}
        return self._replace(params=axes).look()
