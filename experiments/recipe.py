"""The recipe that the flags ask for: one of the library's, and the arguments that flags change."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import optax
from absl import flags

from mia_jax import recognizer
from mia_jax.attack import Attack, descents, losses, mi_face, recipes, seeds
from mia_jax.attack.generators import landmarks, mobile_stylegan_files
from mia_jax.recognizer.architectures import ApplyFn
from mia_jax.runtime.errors import UserError


class Family(NamedTuple):
    """A recipe of the library, and what it does if no flag asks for anything else.

    Attributes:
      make: `(model, auxiliary, **arguments) -> attack`.
      defaults: From the number of auxiliary faces to the arguments whose defaults are not those of
        `make`'s signature.
      look: Refuses by a `MissingError` where a package is missing.
    """

    make: Callable[..., Attack]
    defaults: Callable[[int], Mapping[str, Any]]
    look: Callable[[], object] = lambda: None


def _look_for_generator() -> None:
    """Looks for the package of the photorealistic generator, whose reading takes seconds."""
    if not mobile_stylegan_files.installed():
        mobile_stylegan_files.load()  # Says what to install.


LINEAR = "linear"
RECIPES = {
    "paper": Family(recipes.paper, lambda _: descents.PAPER),
    "best": Family(recipes.of_eigenfaces, recipes.choice),
    "eigenfaces": Family(recipes.of_eigenfaces, lambda _: descents.FEW_FACES),
    "components": Family(recipes.of_components, lambda _: descents.FEW_FACES),
    "shapes": Family(recipes.of_shapes, lambda _: descents.FEW_FACES, landmarks.dlib_landmarks),
    "autoencoder": Family(recipes.of_autoencoder, lambda _: descents.FEW_FACES),
    "photographs": Family(
        recipes.of_photographs, lambda _: descents.GENERATED, _look_for_generator
    ),
    "retouched": Family(recipes.of_retouched, lambda _: descents.RETOUCHED, _look_for_generator),
    LINEAR: Family(recipes.of_templates, lambda _: descents.FROM_TEMPLATES),
    "mi_face": Family(mi_face.mi_face, lambda _: {"loss": losses.shortfall}),
}
SEEN = ("features", "mirrored", "templates")  # Arguments that are no settings, but seen of a model.
LOSSES = {
    "least_squares": losses.least_squares,
    "infomax": losses.infomax,
    "max_margin": losses.max_margin,
    "shortfall": losses.shortfall,
    "top_margin": losses.top_margin,
    "logit": losses.logit,
    "poincare": losses.poincare,
}
OPTIMIZERS = {
    "gradient_descent": optax.sgd,
    "momentum": functools.partial(optax.sgd, momentum=0.9),
    "adam": optax.adam,
}
SEEDS = {
    "mean_of_subset": seeds.mean_of_subset,
    "noisy_mean": seeds.noisy_mean,
    "uniform_noise": seeds.uniform_noise,
    "black": seeds.black,
}
PRECISIONS: dict[str, Callable[[ApplyFn], ApplyFn]] = {
    "float32": lambda apply_fn: apply_fn,
    "bfloat16": recognizer.in_bfloat16,
}

_RECIPE = flags.DEFINE_enum(
    "recipe",
    "paper",
    list(RECIPES),
    "How to attack: as the paper does; with what works best for so many auxiliary faces; or over "
    "one prior of faces: eigenfaces, local components, shapes and textures (dlib's landmarks), an "
    "autoencoder trained on the auxiliary faces, or the photographs that the generator of the "
    "package random-face makes, also retouched by eigenfaces; by one linear map from templates to "
    "pixels, and a descent from there; or as MI-FACE did, from black. The "
    "other flags of this module change single arguments of it.",
)
_PRECISION = flags.DEFINE_enum(
    "precision",
    "float32",
    list(PRECISIONS),
    "Of the recognizer's weights and activations in the attack; images and losses are float32.",
)
_MARGIN = flags.DEFINE_float(
    "margin",
    None,
    "With --loss=max_margin, the lead of the target's logit that is enough, in spreads of the "
    "logits over the auxiliary faces (in logits with --nostandardized); by default that of the "
    "recipe; inf for as much as there is, which exaggerates faces. Photographs of ORL have about "
    "2.5.",
    0.0,
)
_SEED_IMAGE = flags.DEFINE_enum(
    "seed_image",
    None,
    list(SEEDS),
    "Where a restart starts: the mean of 256 unrelated faces, another subset for each restart; the "
    "mean of all of them, with noise; noise alone; or black.",
)
_FUNCTIONS: tuple[tuple[flags.FlagHolder, Mapping[str, Callable[..., Any]]], ...] = (
    (flags.DEFINE_enum("loss", None, list(LOSSES), "What the attack descends."), LOSSES),
    (flags.DEFINE_enum("optimizer", None, list(OPTIMIZERS), "How it descends."), OPTIMIZERS),
    (_SEED_IMAGE, SEEDS),
)
_VALUES = (
    flags.DEFINE_integer(
        "components",
        None,
        "Numbers that make a face: of eigenfaces, of each window of local components, of shapes, "
        "or of the generator's photographs.",
        1,
    ),
    flags.DEFINE_integer(
        "waves", None, "Frequencies along each axis of waves that complete the eigenfaces.", 0
    ),
    flags.DEFINE_float(
        "wave_deviation", None, "Standard deviation of a pixel over random draws of waves.", 0.0
    ),
    flags.DEFINE_integer("windows", None, "Windows of local components along each axis.", 1),
    flags.DEFINE_float(
        "independence",
        None,
        "How freely local components combine: near 0 as in whole faces, 1 each for itself.",
        0.0,
        1.0,
    ),
    flags.DEFINE_float(
        "retouch", None, "Deviations of what retouches photographs, as a fraction of best's.", 0.0
    ),
    flags.DEFINE_float(
        "gain", None, "How far from the mean face the linear map puts its image.", 0.0
    ),
    flags.DEFINE_integer("latents", None, "Numbers that make a face of the autoencoder.", 1),
    flags.DEFINE_integer("steps", None, "Steps of the autoencoder's training.", 1),
    flags.DEFINE_float(
        "spread", None, "Standard deviation of the first point, in a prior's coordinates.", 0.0
    ),
    flags.DEFINE_float("prior", None, "Weight of half the squared coordinates of a prior.", 0.0),
    flags.DEFINE_float("rate", None, "Rate of the descent, alpha in the paper."),
    flags.DEFINE_bool(
        "standardized",
        None,
        "Let the loss take logits in units of their spread over the auxiliary faces, so that the "
        "same settings fit every model.",
    ),
    flags.DEFINE_bool("falling_rate", None, "Let the rate fall to zero, as half a cosine wave."),
    flags.DEFINE_integer("iterations", None, "Number of updates of each restart.", 1),
    flags.DEFINE_integer(
        "draws", None, "Of how many first points a restart takes the one that the target likes.", 1
    ),
    flags.DEFINE_integer(
        "views_per_iteration",
        None,
        "Random views of the image in each iteration: rotated, scaled and shifted a little; 0 "
        "shows the image as it is.",
        0,
    ),
    flags.DEFINE_float("mirror", None, "Probability that a view is a mirror image.", 0.0, 1.0),
    flags.DEFINE_float("noise", None, "Largest standard deviation of noise in a view.", 0.0),
    flags.DEFINE_float("total_variation", None, "Weight of the image's total variation.", 0.0),
    flags.DEFINE_float(
        "l2", None, "Weight of the image's mean squared distance from mid-gray.", 0.0
    ),
    flags.DEFINE_float(
        "stop_score",
        None,
        "Confidence of the target at which a restart ends early; by default it never does. A chunk "
        "ends when all of its restarts have.",
        0.0,
        1.0,
    ),
    flags.DEFINE_integer(
        "stop_patience",
        None,
        "Iterations without a lower loss after which a restart ends early; by default never.",
        1,
    ),
    flags.DEFINE_integer(
        "cost_patience",
        None,
        "Of MI-FACE: it ends at a cost no lower than each of so many before.",
        1,
    ),
    flags.DEFINE_float("cost_enough", None, "Of MI-FACE: the cost that is low enough.", 0.0, 1.0),
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to attack.

    Attributes:
      name: In `RECIPES`.
      given: The arguments that are not the recipe's own.
      precision: In `PRECISIONS`.
    """

    name: str
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    precision: str = "float32"

    def arguments(self, faces: int) -> dict[str, Any]:
        """Returns all keyword arguments, with so many auxiliary faces."""
        return {**_defaults(RECIPES[self.name], faces), **self.given}

    def attack(self, apply_fn: ApplyFn, auxiliary: np.ndarray, **seen: np.ndarray) -> Attack:
        """Fits the attack to a model and unrelated faces `[n, height, width, channels]`.

        What else of the model a recipe needs, such as features of the faces, is `seen`.
        """
        model = PRECISIONS[self.precision](apply_fn)
        return RECIPES[self.name].make(model, auxiliary, **seen, **self.arguments(len(auxiliary)))

    def described(self, faces: int) -> dict[str, str | float | None]:
        """Returns the arguments as plain values, to be stored with the clones."""
        return {name: _plain(value) for name, value in self.arguments(faces).items()} | {
            "precision": self.precision
        }


def from_flags() -> Recipe:
    """Returns the recipe that the flags ask for.

    Raises:
      UserError: If a flag has no effect on the recipe or on the loss, or a package is missing.
    """
    name = _RECIPE.value
    usual = _defaults(RECIPES[name], 0)
    given: dict[str, Any] = {f.name: f.value for f in _VALUES if f.value is not None}
    for flag, functions in _FUNCTIONS:
        if flag.value is not None:
            given[flag.name] = functions[flag.value]
    if _MARGIN.value is not None:
        loss = given.get("loss", usual["loss"])
        if getattr(loss, "func", loss) is not losses.max_margin:
            raise UserError(f"--margin is only for --loss=max_margin, not for {_plain(loss)}")
        given["loss"] = descents.lead_of(_MARGIN.value)
    for argument in given:
        if argument not in usual:
            fitting = [other for other, one in RECIPES.items() if argument in _defaults(one, 0)]
            raise UserError(f"--{argument} is only for --recipe={' or '.join(fitting)}")
    if given.get("rate", 1) <= 0:
        raise UserError(f"--rate={given['rate']} does not descend: give a rate above 0")
    for argument in ("mirror", "noise"):
        if given.get(argument) and not (usual | given)["views_per_iteration"]:
            raise UserError(f"--{argument} is for random views: give --views_per_iteration too")
    RECIPES[name].look()
    return Recipe(name, given, _PRECISION.value)


def _defaults(family: Family, faces: int) -> dict[str, Any]:
    """Returns the keyword arguments of a recipe, and what they are with so many faces."""
    parameters = inspect.signature(family.make).parameters.values()
    own = {
        each.name: each.default
        for each in parameters
        if each.kind is each.KEYWORD_ONLY and each.name not in SEEN
    }
    return {**own, **family.defaults(faces)}


def _plain(value: Any) -> str | float | None:
    """Writes a function as its name, with the arguments that are bound to it."""
    if isinstance(value, functools.partial):
        bound = ", ".join(f"{name}={each}" for name, each in value.keywords.items())
        return f"{_plain(value.func)}({bound})"
    return value.__name__ if callable(value) else value
