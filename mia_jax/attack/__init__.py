"""The attack: clones of a person from the model alone.

A space is searched (`spaces`, `generators`) and an objective descended (`objectives`, `losses`) by
one loop (`inversion`). `recipes` puts whole attacks together.
"""

from mia_jax.attack.cases import Case, make_cases, restart_keys
from mia_jax.attack.check import ModelCheck, check_model, from_confidences
from mia_jax.attack.inversion import Attack, Clones, StoppingRule, invert
from mia_jax.attack.objectives import ApplyFn, Objective, classification
from mia_jax.attack.selection import robust_scores
from mia_jax.attack.spaces import Space

__all__ = [
    "ApplyFn",
    "Attack",
    "Case",
    "Clones",
    "ModelCheck",
    "Objective",
    "Space",
    "StoppingRule",
    "check_model",
    "classification",
    "from_confidences",
    "invert",
    "make_cases",
    "restart_keys",
    "robust_scores",
]
