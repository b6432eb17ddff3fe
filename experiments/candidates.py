"""The candidates of the calibration: every prior, and the settings worth a try, by name.

A user's own is a line more; so are other values of any flag of the recipes.
"""

import functools
from collections.abc import Sequence
from typing import Any

from experiments import options
from experiments.recipe import Recipe
from experiments.scenarios import GRAY_BOX, Method, method
from mia_jax.attack import descents, losses


def _recipe(
    name: str, margin: float | None = None, feature_weight: float = 0.0, **given: Any
) -> Method:
    """Names what differs from a recipe of the library."""
    loss = {} if margin is None else {"loss": descents.lead_of(float(margin))}
    return method(GRAY_BOX, Recipe(name, {**loss, **given}), feature_weight=feature_weight)


FALLING = {"falling_rate": True, "views_per_iteration": 2, "mirror": 0.5}
WEAK_WAVES = {"wave_deviation": 0.15}
CANDIDATES: dict[str, Method] = {
    "paper": _recipe("paper"),
    "best": _recipe("best"),
    **{
        f"eigenfaces_{components}_margin_{margin:g}{style}": _recipe(
            "eigenfaces", margin, components=components, **given
        )
        for components in (60, 500)
        for margin in (3.6, 6, 12)
        for style, given in {
            "": {},
            "_falling": FALLING,
            "_falling_weak_waves": FALLING | WEAK_WAVES,
        }.items()
    },
    "best_1000_components": _recipe("best", components=1000),
    "best_without_waves": _recipe("best", waves=0),
    "best_with_noise": _recipe("best", noise=0.2),
    **{
        f"best_{loss.__name__}_features_{weight}": _recipe("best", None, weight, loss=loss)
        for loss in (losses.logit, losses.top_margin)
        for weight in (0.2, 2)
    },
    **{f"best_features_{weight}": _recipe("best", None, weight) for weight in (0.2, 2)},
    "components": _recipe("components"),
    "components_margin_6_falling": _recipe("components", 6, **FALLING),
    "components_margin_12_falling": _recipe("components", 12, **FALLING),
    "shapes": _recipe("shapes"),
    "shapes_falling": _recipe("shapes", **FALLING),
    "autoencoder": _recipe("autoencoder"),
    "autoencoder_margin_6_falling": _recipe("autoencoder", 6, **FALLING),
    "photographs_margin_2": _recipe("photographs", 2),
    "photographs_margin_4": _recipe("photographs", 4),
    "photographs_weak_prior": _recipe("photographs", prior=0.06),
    "photographs_falling": _recipe("photographs", draws=100, falling_rate=True),
    "retouched": _recipe("retouched"),
    "retouched_margin_6": _recipe("retouched", 6),
    "retouched_less_margin_6": _recipe("retouched", 6, retouch=0.3),
}


def chosen(names: Sequence[str]) -> dict[str, Method]:
    """Returns the candidates of these names; all if there are none.

    Args:
      names: Some of `CANDIDATES`.

    Raises:
      UserError: If one is unknown.
    """
    return options.choose("candidates", "no candidate", names, CANDIDATES)


def as_flags(wanted: Method) -> str:
    """Writes what asks for a candidate on the command line of the other binaries.

    Args:
      wanted: The candidate; a lead that is enough is from `descents.lead_of`.

    Returns:
      Flags with spaces between them.
    """
    words = [f"--recipe={wanted.recipe.name}"]
    for name, value in wanted.recipe.given.items():
        if isinstance(value, functools.partial):
            words.append(f"--margin={value.keywords['enough']:g}")
        elif callable(value):
            words.append(f"--{name}={value.__name__}")
        elif value is True:
            words.append(f"--{name}")
        else:
            words.append(f"--{name}={value:g}")
    if wanted.feature_weight:
        words.append(f"--feature_weight={wanted.feature_weight:g}")
    return " ".join(words)
