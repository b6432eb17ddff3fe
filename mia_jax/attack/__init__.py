"""The attack: clones of a person from the model alone.

A space is searched (`spaces`, `generators`) and an objective descended (`objectives`, `losses`) by
one loop (`inversion`), or by another where the model may only be asked (`black_box`, `strategies`).
`recipes` puts whole attacks together.
"""

from mia_jax.attack.black_box import Searched, StoppedSearch, answered, search
from mia_jax.attack.cases import Case, make_cases, restart_keys
from mia_jax.attack.check import ModelCheck, check_model, from_confidences
from mia_jax.attack.inversion import Attack, Clones, StoppingRule, invert
from mia_jax.attack.objectives import ApplyFn, Objective, classification
from mia_jax.attack.oracle import Budget
from mia_jax.attack.selection import robust_scores
from mia_jax.attack.spaces import Space

__all__ = [
    "ApplyFn",
    "Attack",
    "Budget",
    "Case",
    "Clones",
    "ModelCheck",
    "Objective",
    "Searched",
    "Space",
    "StoppedSearch",
    "StoppingRule",
    "answered",
    "check_model",
    "classification",
    "from_confidences",
    "invert",
    "make_cases",
    "restart_keys",
    "robust_scores",
    "search",
]
