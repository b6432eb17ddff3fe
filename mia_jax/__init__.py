"""How much of the faces that a recognizer was trained on can be rebuilt from it.

The rooms, in the order in which data flows: `faces`, `recognizer`, `attack`, `evidence`, `report`,
over `runtime`. Here stand the names that an attack on a model of one's own needs.
"""

from mia_jax.attack import filters, gradients, losses, recipes, seeds, spaces
from mia_jax.attack.cases import Case, make_cases
from mia_jax.attack.check import check_model, from_confidences
from mia_jax.attack.inversion import Attack, Clones, StoppingRule, invert
from mia_jax.attack.objectives import classification
from mia_jax.attack.selection import robust_scores
from mia_jax.attack.spaces import Space
from mia_jax.runtime.errors import MissingError, UserError

__all__ = [
    "Attack",
    "Case",
    "Clones",
    "MissingError",
    "Space",
    "StoppingRule",
    "UserError",
    "check_model",
    "classification",
    "filters",
    "from_confidences",
    "gradients",
    "invert",
    "losses",
    "make_cases",
    "recipes",
    "robust_scores",
    "seeds",
    "spaces",
]
