"""How much of the faces that a recognizer was trained on can be rebuilt from it.

The rooms, in the order in which data flows: `faces`, `recognizer`, `attack`, `evidence`, `report`,
over `runtime`. Here stand the names that an attack on a model of one's own needs.
"""

from mia_jax.attack import (
    extraction,
    filters,
    gradients,
    image_filters,
    losses,
    masks,
    objectives,
    recipes,
    seeds,
    spaces,
    students,
)
from mia_jax.attack.black_box import Searched, StoppedSearch, answered, search
from mia_jax.attack.cases import Case, make_cases
from mia_jax.attack.check import check_model, from_confidences
from mia_jax.attack.inversion import Attack, Clones, StoppingRule, invert
from mia_jax.attack.mi_face import mi_face
from mia_jax.attack.objectives import classification
from mia_jax.attack.oracle import Budget, from_labels
from mia_jax.attack.selection import robust_scores
from mia_jax.attack.spaces import Space
from mia_jax.attack.strategies.strategy import Strategy, leading
from mia_jax.runtime.errors import MissingError, UserError

__all__ = [
    "Attack",
    "Budget",
    "Case",
    "Clones",
    "MissingError",
    "Searched",
    "Space",
    "StoppedSearch",
    "StoppingRule",
    "Strategy",
    "UserError",
    "answered",
    "check_model",
    "classification",
    "extraction",
    "filters",
    "from_confidences",
    "from_labels",
    "gradients",
    "image_filters",
    "invert",
    "leading",
    "losses",
    "make_cases",
    "masks",
    "mi_face",
    "objectives",
    "recipes",
    "robust_scores",
    "search",
    "seeds",
    "spaces",
    "students",
]
