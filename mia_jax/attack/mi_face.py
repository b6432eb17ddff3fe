"""MI-FACE, the first inversion of a face recognizer, as a recipe.

With `cases.known` and `cases.mask` it is the white box of which a part of each image is known: the
rest is descended. `masks` makes such masks.
"""

import jax.numpy as jnp
import optax

from mia_jax.attack import filters, losses, seeds, spaces
from mia_jax.attack.check import check_faces
from mia_jax.attack.inversion import Attack, StoppingRule
from mia_jax.attack.objectives import ApplyFn, classification
from mia_jax.attack.recipes import Faces
from mia_jax.runtime.errors import UserError


def mi_face(
    apply_fn: ApplyFn,
    auxiliary: Faces,
    *,
    loss: losses.LossFn = losses.shortfall,
    rate: float = 0.1,
    iterations: int = 5000,
    cost_patience: int = 100,
    cost_enough: float = 0.01,
    process: filters.Filter = filters.none,
    seed_image: seeds.SeedFn = seeds.black,
) -> Attack:
    """Descends 1 - confidence from a black image, until it is small or rises.

    The gradient is the confidence times that of the cross-entropy: against many classes the attack
    hardly leaves the ground. Of all iterates the one of least cost is returned. Every gradient that
    was paid for is used, so that the last iterate, one step after the end of the published loop, is
    returned where its cost is lower still.

    Args:
      apply_fn: `(params, images [n, height, width, channels] in [0, 1]) -> logits [n, classes]`.
      auxiliary: `[n, height, width, channels]` in [0, 1]; the black image has its shape.
      loss: The cost; what is enough is one of confidence whatever it is.
      rate: Lambda, above 0.
      iterations: Alpha, the most updates.
      cost_patience: Beta: the attack ends when a cost is no lower than each of so many before it.
      cost_enough: Gamma, in [0, 1): the cost that is low enough.
      process: The published `process`, after each update: nothing for softmax and MLP, denoising
        and sharpening for the autoencoder.
      seed_image: Where a restart starts; from `seeds`.

    Returns:
      The attack.

    Raises:
      UserError: If an argument is out of range.

    Source: Fredrikson, Jha and Ristenpart 2015, "Model inversion attacks that exploit confidence
    information and basic countermeasures", algorithm 1, as others have coded it; their pixels are
    not said to be clipped, and are here. The defaults are remembered, not read: unverified.
    """
    check_faces(auxiliary)
    if not rate > 0:
        raise UserError(f"rate={rate} does not descend: give a rate above 0")
    if not 0 <= cost_enough < 1:
        raise UserError(
            f"cost_enough={cost_enough} must be in [0, 1): it is a cost, 1 - confidence"
        )
    return Attack(
        space=spaces.pixels(jnp.asarray(auxiliary), seed_image),
        objective=classification(apply_fn, loss),
        optimizer=optax.sgd(rate),
        iterations=iterations,
        filter=process,
        stop=StoppingRule(score=1 - cost_enough, window=cost_patience),
    )
