"""The methods of the comparison, by name: the paper's, and those that it stands among.

A user's own is a line more. Where a published method is given only by a description, or in small,
its line says so; its docstring in the library has the rest.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments import options
from experiments.recipe import Recipe
from experiments.scenarios import GRAY_BOX, WHITE_BOX, Method, method
from mia_jax.attack import losses, seeds

QUERIES = 5000  # Of each person, for two clones.


def _gray(recipe: str, given: Mapping[str, Any] | None = None, **options: Any) -> Method:
    """Names a method that descends on the weights."""
    return method(GRAY_BOX, Recipe(recipe, given or {}), **options)


def _asked(scenario: str, **options: Any) -> Method:
    """Names a method that asks."""
    return method(scenario, Recipe("best"), queries=QUERIES, leading=40, **options)


METHODS: Mapping[str, Method] = {
    # White box of which a part is known: Fredrikson 2015, Hidano 2017 (without the known part it is
    # `mi_face`).
    "mi_face_known": method(WHITE_BOX, Recipe("mi_face", {"iterations": 1000})),
    "best_known": method(WHITE_BOX, Recipe("best")),
    # Gray box: the paper, and what is better here.
    "mi_face": _gray("mi_face", {"iterations": 1000}),
    "paper": _gray("paper"),
    "best": _gray("best"),
    # Losses of PPA, LOMMA and Diff-MI, over eigenfaces in place of their generators.
    "poincare": _gray("best", {"loss": losses.poincare}),
    "logit_and_features": _gray("best", {"loss": losses.logit}, feature_weight=0.2),
    "top_margin_and_features": _gray("best", {"loss": losses.top_margin}, feature_weight=0.2),
    # Seeds of section 6, then the paper's descent over pixels. A VAE is in the place of a GAN; the
    # Mendelian variant is from a description of its code.
    "seed_of_generator": _gray("paper", seeding="generator", queries=1000),
    "seed_of_genetic": _gray("paper", seeding="genetic", queries=1000),
    "seed_of_mendelian": _gray("paper", seeding="mendelian", queries=1000),
    "seed_of_evolution": _gray("paper", seeding="differential_evolution", queries=1000),
    # Filters of section 6; the last two are stand-ins.
    "filter_median": _gray("paper", filter="median", filter_every=10),
    "filter_total_variation": _gray("paper", filter="total_variation", filter_every=10),
    "filter_morphology": _gray("paper", filter="mean_of_morphology", filter_every=10),
    "filter_inhibition": _gray("paper", filter="lateral_inhibition"),
    # Black box with confidences.
    "differences": _asked("confidences"),
    "cma_es": _asked("confidences", strategy="cma_es"),
    "differential_evolution": _asked("confidences", strategy="differential_evolution"),
    "genetic": _asked("confidences", strategy="genetic"),
    "mendelian": _asked("confidences", strategy="mendelian"),  # From a description of the code.
    "random_steps": _asked("confidences", strategy="random_steps"),  # From a description.
    # GAMIN, from a description: no faces at all.
    "gamin": method(
        "confidences",
        Recipe("paper", {"seed_image": seeds.uniform_noise}),
        strategy="gamin",
        queries=QUERIES,
    ),
    # A copy first; queries are in all.
    "extraction": _asked("extraction"),
    "extraction_of_labels": _asked("extraction_of_labels"),  # LOKT in small.
    # Labels.
    "boundary": _asked("labels", strategy="boundary"),  # BREP-MI, from a description of the code.
}


def chosen(names: Sequence[str]) -> dict[str, Method]:
    """Returns the methods of these names; all if there are none.

    Args:
      names: Some of `METHODS`.

    Raises:
      UserError: If one is unknown.
    """
    return options.choose("methods", "unknown", names, METHODS)
