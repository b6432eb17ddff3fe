"""The attack's recipes: what the flags say, as plain values that are stored with the clones."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import flags

from mia_jax import recognizer
from mia_jax.attack import eigenfaces, inversion, losses, seeds
from mia_jax.recognizer.views import STILL, ViewRange

JITTER = ViewRange(rotation=3, scale=0.03, shift=0.02)

LOSSES = {
    "least_squares": losses.least_squares,
    "infomax": losses.infomax,
    "max_margin": losses.max_margin,
}
OPTIMIZERS: dict[str, Callable[[float], optax.GradientTransformation]] = {
    "gradient_descent": optax.sgd,
    "momentum": functools.partial(optax.sgd, momentum=0.9),
    "adam": optax.adam,
}
SEEDS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "mean_of_subset": seeds.mean_of_subset,
    "noisy_mean": seeds.noisy_mean,
    "uniform_noise": seeds.uniform_noise,
}
PRECISIONS: dict[str, inversion.ApplyFn] = {
    "float32": recognizer.logits,
    "bfloat16": recognizer.in_bfloat16(recognizer.logits),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to attack.

    Attributes:
      name: "paper" or "best": the preset from which the other values come, unless a flag says else.
      space: "pixels", or "eigenfaces" for the coefficients of principal components.
      components: How many eigenfaces, where they are the space.
      waves: How many frequencies of smooth waves along each axis complete them; 0 for none.
      wave_deviation: Standard deviation of a pixel over random draws of the waves.
      loss: A name in `LOSSES`.
      margin: By how much the target's logit has to lead, where the loss is "max_margin"; 0 for as
        much as possible.
      optimizer: A name in `OPTIMIZERS`.
      rate: Its rate, alpha in equation 7.
      iterations: Number of updates.
      seed_image: A name in `SEEDS`.
      spread: Standard deviation of Gaussian noise on the first coefficients.
      prior: Weight of half the squared coefficients of eigenfaces: 1 weighs them as the logarithm
        of a standard normal density.
      total_variation: Weight of the image's total variation.
      l2: Weight of the mean squared distance of the image from mid-gray.
      views_per_iteration: Random views of the image in each iteration; 0 shows it as it is.
      stop_score: Confidence of the target at which a restart ends; 0 for none.
      stop_patience: Iterations without a lower loss after which a restart ends; 0 for none.
      precision: A name in `PRECISIONS`, of the recognizer's weights and activations.
    """

    name: str
    space: str = "pixels"
    components: int = 0
    waves: int = 0
    wave_deviation: float = 0.0
    loss: str = "infomax"
    margin: float = 0.0
    optimizer: str = "gradient_descent"
    rate: float = 10.0
    iterations: int = 100
    seed_image: str = "mean_of_subset"
    spread: float = 0.0
    prior: float = 0.0
    total_variation: float = 0.0
    l2: float = 0.0
    views_per_iteration: int = 0
    stop_score: float = 0.0
    stop_patience: int = 0
    precision: str = "float32"


PAPER = Recipe("paper")
BEST = Recipe(
    "best",
    space="eigenfaces",
    components=60,
    waves=24,
    wave_deviation=0.25,
    loss="max_margin",
    margin=18.0,
    optimizer="adam",
    rate=0.1,
    iterations=60,
    spread=0.5,
    prior=1.0,
    views_per_iteration=1,
)
PRESETS = {recipe.name: recipe for recipe in (PAPER, BEST)}

_RECIPE = flags.DEFINE_enum(
    "recipe",
    PAPER.name,
    list(PRESETS),
    "How to attack: as the paper does, or with the combination that works best on the ORL faces. "
    "The flags of this module change single values of it.",
)
_OVERRIDES = {
    "space": flags.DEFINE_enum(
        "space", None, ["pixels", "eigenfaces"], "What the attack searches over."
    ),
    "components": flags.DEFINE_integer("components", None, "Number of eigenfaces.", lower_bound=1),
    "waves": flags.DEFINE_integer(
        "waves", None, "Frequencies along each axis of waves that complete the eigenfaces.", 0
    ),
    "wave_deviation": flags.DEFINE_float(
        "wave_deviation", None, "Standard deviation of a pixel over random draws of waves.", 0.0
    ),
    "loss": flags.DEFINE_enum("loss", None, list(LOSSES), "What the attack descends."),
    "margin": flags.DEFINE_float(
        "margin",
        None,
        "With --loss=max_margin, the lead of the target's logit that is enough; 0 for as much as "
        "there is, which exaggerates faces. Photographs of ORL have about 10.",
        0.0,
    ),
    "optimizer": flags.DEFINE_enum("optimizer", None, list(OPTIMIZERS), "How it descends."),
    "rate": flags.DEFINE_float("rate", None, "Rate of the descent, alpha in the paper."),
    "iterations": flags.DEFINE_integer(
        "iterations", None, "Number of updates of each restart.", lower_bound=1
    ),
    "seed_image": flags.DEFINE_enum(
        "seed_image",
        None,
        list(SEEDS),
        "Where a restart starts: the mean of 256 unrelated faces, another subset for each restart; "
        "the mean of all of them, with noise; or noise alone.",
    ),
    "spread": flags.DEFINE_float(
        "spread", None, "Standard deviation of the first coefficients of eigenfaces.", 0.0
    ),
    "prior": flags.DEFINE_float(
        "prior", None, "Weight of half the squared coefficients of eigenfaces.", 0.0
    ),
    "total_variation": flags.DEFINE_float(
        "total_variation", None, "Weight of the image's total variation.", 0.0
    ),
    "l2": flags.DEFINE_float(
        "l2", None, "Weight of the image's mean squared distance from mid-gray.", 0.0
    ),
    "views_per_iteration": flags.DEFINE_integer(
        "views_per_iteration",
        None,
        "Random views of the image in each iteration: rotated, scaled and shifted a little; 0 "
        "shows the image as it is.",
        lower_bound=0,
    ),
    "stop_score": flags.DEFINE_float(
        "stop_score",
        None,
        "Confidence of the target at which a restart ends early; by default it never does. A chunk "
        "ends when all of its restarts have.",
        0.0,
        1.0,
    ),
    "stop_patience": flags.DEFINE_integer(
        "stop_patience",
        None,
        "Iterations without a lower loss after which a restart ends early; by default never.",
        lower_bound=0,
    ),
    "precision": flags.DEFINE_enum(
        "precision",
        None,
        list(PRECISIONS),
        "Of the recognizer's weights and activations in the attack; images and losses are float32.",
    ),
}


def from_flags() -> Recipe:
    """Returns the recipe that the flags ask for.

    Raises:
      ValueError: If a flag has no effect in the space that is searched or on the loss, or the rate
        is not above 0.
    """
    given: dict[str, Any] = {
        name: flag.value for name, flag in _OVERRIDES.items() if flag.value is not None
    }
    recipe = dataclasses.replace(PRESETS[_RECIPE.value], **given)
    if recipe.rate <= 0:
        raise ValueError(f"--rate={recipe.rate} does not descend: give a rate above 0")
    idle: dict[str, str] = {}
    if recipe.loss != "max_margin":
        idle["margin"] = f"--loss=max_margin, but the loss is {recipe.loss}"
    if recipe.space == "pixels":
        names = ("components", "waves", "wave_deviation", "spread", "prior")
        idle |= dict.fromkeys(names, "--space=eigenfaces")
    for name, needed in idle.items():
        if name in given:
            raise ValueError(f"--{name} is only for {needed}")
    off: dict[str, Any] = dict.fromkeys(idle, 0)
    recipe = dataclasses.replace(recipe, **off)  # Not stored as if they had played a part.
    if recipe.space == "eigenfaces" and recipe.components < 1:
        raise ValueError("--space=eigenfaces needs --components, such as 60")
    return recipe


def search_space(recipe: Recipe, auxiliary: np.ndarray) -> eigenfaces.Eigenfaces | None:
    """Fits the space that is searched.

    Args:
      recipe: The recipe.
      auxiliary: `[n, height, width, channels]` in [0, 1]: the unrelated faces.

    Returns:
      The eigenfaces, or None for pixels.

    Raises:
      ValueError: If there are too few faces, or pixels, for what the recipe asks.
    """
    if recipe.space == "pixels":
        return None
    faces = eigenfaces.fit(auxiliary, recipe.components)
    if not recipe.waves:
        return faces
    return eigenfaces.with_waves(faces, recipe.waves, recipe.wave_deviation)


def settings(recipe: Recipe, faces: eigenfaces.Eigenfaces | None) -> inversion.Settings:
    """Turns a recipe into the functions that the attack takes.

    Args:
      recipe: The recipe.
      faces: The eigenfaces, where they are the space.

    Returns:
      The settings.
    """

    def penalty(point: jax.Array, image: jax.Array) -> jax.Array:
        total = jnp.zeros(())
        if recipe.total_variation:
            total += recipe.total_variation * losses.total_variation(image)
        if recipe.l2:
            total += recipe.l2 * jnp.mean((image - 0.5) ** 2)
        if recipe.prior:
            total += recipe.prior / 2 * jnp.sum(point**2)
        return total

    stop = None
    if recipe.stop_score or recipe.stop_patience:
        limits = (recipe.stop_score or None, recipe.stop_patience or None)
        stop = inversion.StoppingRule(*limits)
    loss: losses.LossFn = LOSSES[recipe.loss]
    if recipe.margin:
        loss = functools.partial(losses.max_margin, enough=recipe.margin)
    space: dict[str, Any] = {}
    if faces:
        # Outside of [0, 1] the attack would find contrasts that no photograph has.
        space["decode"] = lambda point: inversion.clip_pixels(eigenfaces.decode(faces, point))
        space["project"] = lambda point: point
    return inversion.Settings(
        optimizer=OPTIMIZERS[recipe.optimizer](recipe.rate),
        iterations=recipe.iterations,
        loss=loss,
        penalty=penalty,
        views=JITTER if recipe.views_per_iteration else STILL,
        views_per_iteration=max(recipe.views_per_iteration, 1),
        stop=stop,
        **space,
    )


def starting_points(
    recipe: Recipe, keys: jax.Array, auxiliary: jax.Array, faces: eigenfaces.Eigenfaces | None
) -> jax.Array:
    """Draws the first point of each restart in the space that is searched.

    Args:
      recipe: The recipe.
      keys: `[restarts]` typed keys, consumed.
      auxiliary: `[n, height, width, channels]` in [0, 1]: the unrelated faces.
      faces: The eigenfaces, where they are the space.

    Returns:
      `[restarts, height, width, channels]` or `[restarts, components]`.
    """
    both = jax.vmap(jax.random.split)(keys)
    images = SEEDS[recipe.seed_image](both[:, 0], auxiliary)
    if faces is None:
        return images
    orthogonal = faces._replace(components=faces.components[: recipe.components])
    points = jax.vmap(functools.partial(eigenfaces.encode, orthogonal))(images)
    points = jnp.pad(points, ((0, 0), (0, len(faces.components) - recipe.components)))
    noise = jax.vmap(lambda key: jax.random.normal(key, points.shape[1:]))(both[:, 1])
    return points + recipe.spread * noise
