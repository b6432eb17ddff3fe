"""How much of the faces that a recognizer was trained on can be rebuilt from it.

The modules, in the order in which data flows: `faces` with `vgg_face2`, `protocol`, `recognizer`,
`training`, `seeds`, `eigenfaces`, `model_check`, `inversion`, `evaluation`, `figures`, `report`;
the leaves `convolution`, `losses`, `transforms` and `storage`; and for many devices `sharding` and
`workload`.
"""

from mia_jax.attack.check import check_model, from_confidences
from mia_jax.attack.eigenfaces import Eigenfaces
from mia_jax.attack.inversion import Clones, Settings, StoppingRule, invert, restart_keys
from mia_jax.attack.losses import infomax, least_squares, max_margin

__all__ = [
    "Clones",
    "Eigenfaces",
    "Settings",
    "StoppingRule",
    "check_model",
    "from_confidences",
    "infomax",
    "invert",
    "least_squares",
    "max_margin",
    "restart_keys",
]
