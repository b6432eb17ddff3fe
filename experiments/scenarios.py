"""The scenarios: what an attacker has of the target, and how a method goes about it.

Each is a function that prepares one of the two loops, `invert` or `search`. None of them but those
of the weights calls anything of the target except `images -> confidences`.
"""

import dataclasses
import functools
import math
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.tree_util import Partial

from experiments import recipe, strategies
from experiments.trained import Trained
from mia_jax.attack import (
    Attack,
    extraction,
    filters,
    linear,
    losses,
    objectives,
    students,
)
from mia_jax.attack.black_box import answered
from mia_jax.attack.extraction import ask
from mia_jax.attack.generators import completion, eigenfaces
from mia_jax.attack.masks import outside
from mia_jax.attack.oracle import Budget, Predict, from_labels
from mia_jax.attack.strategies.strategy import Strategy, leading
from mia_jax.faces.images import pixels, read_image
from mia_jax.recognizer import templates
from mia_jax.recognizer.architectures import CNN
from mia_jax.recognizer.views import ViewRange
from mia_jax.runtime import workload
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.keys import key_for

PARTS = "parts"
# What is known of a target: weights and what they compute on the way, weights alone, or neither.
ALL, WEIGHTS, ANSWERS = "all", "weights", "answers"
PIXELS = ("paper", "mi_face")  # The recipes whose points are images.
LINEAR = recipe.LINEAR
GRAY_BOX, WHITE_BOX = "gray_box", "white_box"


@dataclasses.dataclass(frozen=True)
class Method:
    """One way to attack, in one scenario.

    Attributes:
      recipe: The recipe.
      scenario: In `SCENARIOS`.
      strategy: In `strategies.STRATEGIES`; for a model that may only be asked.
      queries: Of each person; of all people together where a copy of the model is made.
      leading: How many numbers of a point a strategy searches.
      mask: `PARTS`, or an image file that is bright where pixels are known.
      filter: In `strategies.FILTERS`, or None.
      filter_every: After each so many updates; None for the last only.
      feature_weight: Of the distance from features of the likeliest auxiliary faces.
      seeding: In `strategies.SEEDERS`: how the seed of a descent over pixels is found; None for the
        recipe's own.
    """

    recipe: recipe.Recipe
    scenario: str = GRAY_BOX
    strategy: str = "differences"
    queries: int = 10_000
    leading: int = 60
    mask: str = PARTS
    filter: str | None = None
    filter_every: int | None = None
    feature_weight: float = 0.0
    seeding: str | None = None

    def asks(self, people: int) -> int:
        """Returns how many images a model that may only be asked is shown at most."""
        return self.queries * (1 if SCENARIOS[self.scenario].copies else people)

    def described(self) -> dict[str, str | float | None]:
        """Returns what is not the recipe's, as plain values; nothing for the paper's scenario."""
        scenario = SCENARIOS[self.scenario]
        values = {name: getattr(self, name) for name in scenario.options}
        if self.scenario == GRAY_BOX and not self.seeding:
            del values["queries"]
        if self.scenario != GRAY_BOX:
            values["scenario"] = self.scenario
        return {name: value for name, value in values.items() if value not in (None, 0.0)}


class World(NamedTuple):
    """Whom and what an attacker faces.

    Attributes:
      attacked: The target.
      auxiliary: `[n, height, width, channels]` in [0, 1], unrelated faces.
      classes: How many people the target knows.
      photographs: Returns a photograph of each class that trained nothing, `[classes, height,
        width, channels]`: of which the white box knows a part.
      key: A typed `jax.random.key`: the experiment's.
      manners: How the target may be asked; how often is up to the method.
    """

    attacked: Trained
    auxiliary: np.ndarray
    classes: int
    photographs: Callable[[], np.ndarray]
    key: jax.Array
    manners: Budget = Budget(queries=0)


class Known(NamedTuple):
    """What is known of everybody's image.

    Attributes:
      photographs: `[classes, height, width, channels]` in [0, 1].
      mask: `[height, width, 1]` booleans: where.
      start: `(key, photograph) -> point`, or None for the space's own start.
    """

    photographs: jax.Array
    mask: jax.Array
    start: Callable[[jax.Array, jax.Array], Any] | None


class Searching(NamedTuple):
    """How a model is asked, instead of differentiated.

    Attributes:
      predict: The model.
      how: Where to search, and what to descend; made of `black_box.answered`.
      strategy: How.
      budget: Of each person.
    """

    predict: Predict
    how: Attack
    strategy: Strategy
    budget: Budget


class Prepared(NamedTuple):
    """An attack that is ready for anybody: an `invert`, a `search`, or one after the other.

    Attributes:
      params: Weights that are attacked: the target's or a copy's.
      how: The attack on them; None where the model is only asked.
      known: What is known of people's images, or None.
      searching: For a search, whose clones are where `how` starts; None for no search.
      queries: Asked already, once for everybody.
      agreement: Of a copy: the share of images, asked about but held out from its training, that it
        names as the target does.
    """

    params: Any
    how: Attack | None
    known: Known | None = None
    searching: Searching | None = None
    queries: int = 0
    agreement: float | None = None


class Scenario(NamedTuple):
    """What an attacker has.

    Attributes:
      needs: In words, besides unrelated faces and a class number.
      prepare: `(world, method) -> prepared`.
      options: The fields of `Method` that have a say in it.
      recipe: What the recipes are asked for where no flag says otherwise.
      asks: Whether the target is only asked, so that it needs no gradient.
      copies: Whether a copy of it is attacked, whose queries serve everybody.
    """

    needs: str
    prepare: Callable[[World, Method], Prepared]
    options: tuple[str, ...]
    recipe: Mapping[str, Any]
    asks: bool = True
    copies: bool = False


def gray_box(world: World, method: Method) -> Prepared:
    """Descends on the target's weights: the paper's scenario."""
    params, logits, architecture = world.attacked[:3]
    seen = _features(world) if method.recipe.name == LINEAR else {}
    how = _filtered(method.recipe.attack(logits, world.auxiliary, **seen), method)
    if method.feature_weight:
        assert architecture is not None  # By `check`.
        references = objectives.likely_features(
            *(logits, architecture.features, params), jnp.asarray(world.auxiliary)
        )
        objective = objectives.with_features(
            how.objective, architecture.features, references, method.feature_weight
        )
        how = how._replace(objective=objective)
    return Prepared(params, how, searching=_seeding(world, method))


def _features(world: World) -> dict[str, np.ndarray]:
    """Returns features of the auxiliary faces and of their mirror images, and everybody's template.

    Of an embedder these are its own; of a recognizer that was trained here those before the last
    layer, whose rows stand for the people.
    """
    target, architecture = world.attacked, world.attacked.architecture
    enrolled = target.templates()
    if enrolled is not None:
        features, mirrored = (
            np.array(templates.normalized(seen)) for seen in _shown(target.embed(), world.auxiliary)
        )
        return {"features": features, "mirrored": mirrored, "templates": enrolled}
    if architecture is None:
        raise UserError(
            f"--recipe={LINEAR} needs features: give a model that returns them, with "
            "--returns=features, or another recipe"
        )
    look = functools.partial(jax.jit(architecture.features), target.params)
    features, mirrored = _shown(look, world.auxiliary)
    last = functools.partial(architecture.last_layer, target.params)
    width = features.shape[1]
    rows = np.asarray(last(jnp.eye(width)) - last(jnp.zeros((1, width)))).T
    found = linear.templates_of_rows(features, rows, _LEAD)
    return {"features": features, "mirrored": mirrored, "templates": found}


def _shown(look: Callable[[Any], jax.Array], faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shows faces to a model, and their mirror images."""
    logging.info("The target is shown %d faces and their mirror images", len(faces))
    return workload.in_batches(look, faces), workload.in_batches(look, faces[:, :, ::-1])


def white_box(world: World, method: Method) -> Prepared:
    """Descends on the weights, and knows a part of a photograph that trained nothing."""
    photographs = jnp.asarray(world.photographs())
    mask = mask_of(method.mask, photographs.shape[1:])
    prepared = gray_box(world, method)
    if method.recipe.name in PIXELS:
        return prepared._replace(known=Known(photographs, mask, None))
    wanted = method.recipe.arguments(len(world.auxiliary))
    basis = eigenfaces.fit(world.auxiliary, wanted["components"])
    if wanted["waves"]:
        basis = eigenfaces.with_waves(basis, wanted["waves"], wanted["wave_deviation"])
    fitted = completion.fit(basis, mask)
    assert prepared.how is not None
    how = prepared.how._replace(space=completion.space(fitted, wanted["prior"]))
    start = Partial(completion.start, fitted, wanted["spread"])
    return prepared._replace(how=how, known=Known(photographs, mask, start))


def asked_for_confidences(world: World, method: Method) -> Prepared:
    """Searches by confidences."""
    return _asked(world, method, confidences_of(world))


def asked_for_labels(world: World, method: Method) -> Prepared:
    """Searches by labels."""
    return _asked(world, method, labels_of(world))


def copied(
    world: World, method: Method, of_labels: bool, draws: float = 1.5, steps: int = 800
) -> Prepared:
    """Asks once for everybody, trains a student on the answers, and descends on that.

    The student is the paper's CNN, whatever the target is. The images that are asked about are the
    auxiliary faces and draws of their eigenfaces, of which some are held out to see how far the
    student agrees. It learns for so many steps, or for `_PASSES` through the answers if those take
    longer.
    """
    predict = labels_of(world) if of_labels else confidences_of(world)
    init_key, draw_key = jax.random.split(key_for(world.key, "a copy"))
    count = max(0, method.queries - len(world.auxiliary))
    space = eigenfaces.space(world.auxiliary, min(method.leading, len(world.auxiliary)))
    drawn = students.draws(space, draw_key, count, draws) if count else world.auxiliary[:0]
    images = np.concatenate([world.auxiliary, drawn])[: method.queries]
    answers = ask(predict, images, _budget(world, method))
    lessons, held_out = answers.divide(min(_HELD_OUT, len(images) // 10))
    shape = images.shape[1:]
    copy = students.distill(
        lessons,
        lambda key: CNN.init(key, world.classes, shape),
        CNN.logits,
        init_key,
        lesson=students.of_labels if of_labels else students.of_confidences,
        views=ViewRange(rotation=3, scale=0.03, shift=0.02),
        steps=max(steps, _PASSES * len(lessons.images) // _BATCH),
        batch=_BATCH,
    )
    agreement = None
    if len(held_out.images):
        agreement = extraction.agreement(copy, held_out).first
        logging.info("The copy names %.1f%% of the images held out alike", 100 * agreement)
    how = _filtered(method.recipe.attack(CNN.logits, world.auxiliary), method)
    return Prepared(copy.params, how, queries=answers.queries, agreement=agreement)


SCENARIOS: Mapping[str, Scenario] = {
    GRAY_BOX: Scenario(
        "weights",
        gray_box,
        ("filter", "filter_every", "feature_weight", "seeding", "queries"),
        {},
        asks=False,
    ),
    WHITE_BOX: Scenario(
        "weights; a photograph with the middle of the face hidden",
        white_box,
        ("mask", "filter", "filter_every", "feature_weight"),
        # Waves would go on from the known pixels, wildly. The others were chosen on shadows of ORL.
        {"waves": 0, "spread": 0.0, "prior": 0.6},
        asks=False,
    ),
    "confidences": Scenario(
        "confidences", asked_for_confidences, ("strategy", "queries", "leading"), {"waves": 0}
    ),
    "labels": Scenario(
        "labels",
        asked_for_labels,
        ("strategy", "queries", "leading"),
        # All points of a class have one loss: a prior would return the one nearest the mean, and
        # labels have no spread to measure.
        {"waves": 0, "prior": 0.0, "standardized": False},
    ),
    "extraction": Scenario(
        "confidences",
        functools.partial(copied, of_labels=False),
        ("queries", "leading", "filter", "filter_every"),
        {},
        copies=True,
    ),
    "extraction_of_labels": Scenario(
        "labels",
        functools.partial(copied, of_labels=True),
        ("queries", "leading", "filter", "filter_every"),
        {},
        copies=True,
    ),
}
_ANY_SHAPE = (128, 128, 1)  # At which a mask is looked at before the faces are known.
CHECKED = 8  # Auxiliary faces by which a target is looked at before compute is spent on it.
_BLOCK = 16  # Images that a device is asked about at a time.
_PASSES, _BATCH = 10, 64  # Of a student's training; images in a step of it.
_LEAD = 12.0  # Of a template made of a row, as much as `best` asks for.
_HELD_OUT = 256  # Images on which a copy is compared with the target, at most.


def method(scenario: str, wanted: recipe.Recipe, **given: Any) -> Method:
    """Completes a recipe by what its scenario asks of it.

    Args:
      scenario: In `SCENARIOS`.
      wanted: The recipe; what it was given stays.
      **given: Fields of `Method`.

    Returns:
      The method.
    """
    usual = wanted.arguments(0)
    own = {name: v for name, v in SCENARIOS[scenario].recipe.items() if name in usual}
    return Method(dataclasses.replace(wanted, given={**own, **wanted.given}), scenario, **given)


def prepare(world: World, wanted: Method) -> Prepared:
    """Makes a method ready to attack anybody.

    Args:
      world: Whom and what it faces.
      wanted: The method.

    Returns:
      The attack.

    Raises:
      UserError: If the method does not fit its scenario.
    """
    check(wanted, known_of(world.attacked))
    return SCENARIOS[wanted.scenario].prepare(world, wanted)


def known_of(target: Trained) -> str:
    """Says what is known of a target.

    Args:
      target: The target.

    Returns:
      `ALL`, `WEIGHTS` or `ANSWERS`.
    """
    if target.predict is not None:
        return ANSWERS
    return WEIGHTS if target.architecture is None else ALL


def check(wanted: Method, known: str) -> None:
    """Refuses a method that does not fit its scenario or its target, before anything is attacked.

    Args:
      wanted: The method.
      known: What is known of the target, as from `known_of`.

    Raises:
      UserError: If it does not, or its mask cannot be read.
    """
    recipe, name = wanted.recipe.name, wanted.scenario
    asks, pixels = SCENARIOS[name].asks and not SCENARIOS[name].copies, recipe in PIXELS
    gamin = wanted.strategy == strategies.GAMIN
    if name == WHITE_BOX:
        mask_of(wanted.mask, _ANY_SHAPE)
    faults = {
        f"--recipe={recipe} cannot be told of known pixels: with --scenario={WHITE_BOX} give "
        f"{', '.join(PIXELS)}, best or eigenfaces": name == WHITE_BOX
        and recipe not in (*PIXELS, "best", "eigenfaces"),
        "--strategy=boundary needs labels only: give --scenario=labels": name == "confidences"
        and wanted.strategy == "boundary",
        f"--strategy={wanted.strategy} needs confidences: with --scenario=labels give boundary": (
            name == "labels" and wanted.strategy != "boundary"
        ),
        f"--strategy={strategies.GAMIN} searches pixels: give --recipe=paper": asks
        and gamin
        and recipe != "paper",
        f"--recipe={recipe} searches pixels, which are too many to ask for each: with "
        f"--scenario={name} give --recipe=best or another prior": asks and pixels and not gamin,
        f"--recipe={recipe} learns from features, which --scenario={name} does not have: give "
        f"--scenario={GRAY_BOX}": recipe == LINEAR and name != GRAY_BOX,
        "--precision is of weights: a model that is asked keeps its own": asks
        and wanted.recipe.precision != "float32",
        f"--seeding finds a seed image: give --recipe={' or '.join(PIXELS)}, not {recipe}": (
            wanted.seeding is not None and not pixels
        ),
        f"--filter is for pixels: give --recipe={' or '.join(PIXELS)}, not {recipe}": (
            wanted.filter is not None and not pixels
        ),
    }
    faults[
        "--feature_weight needs a target that was trained here: of another one only the logits are "
        "known"
    ] = bool(wanted.feature_weight) and known != ALL
    able = ", ".join(each for each, scenario in SCENARIOS.items() if scenario.asks)
    faults[
        f"the target may only be asked, and --scenario={name} needs its weights: give one of {able}"
    ] = known == ANSWERS and not SCENARIOS[name].asks
    for sentence, holds in faults.items():
        if holds:
            raise UserError(sentence)


def mask_of(name: str, image_shape: tuple[int, ...]) -> jax.Array:
    """Makes a mask: all but the parts of a face, or what an image file shows brightly.

    Args:
      name: `PARTS`, or a file.
      image_shape: Height, width and channels.

    Returns:
      `[height, width, 1]` booleans: what is known.

    Raises:
      UserError: If the file cannot be read, or hides nothing.
    """
    if name == PARTS:
        return outside(image_shape)
    if not pathlib.Path(name).is_file():
        raise UserError(f"--mask={name} is no image file: give {PARTS}, or a file")
    picture = read_image(name).resize((image_shape[1], image_shape[0]))
    mask = pixels(picture, 1) > 0.5
    if mask.all():
        raise UserError(f"--mask={name} hides nothing: it has to be dark where pixels are unknown")
    return jnp.asarray(mask)


def confidences_of(world: World) -> Predict:
    """Hides the target behind a function: all that may be called is `images -> confidences`.

    Args:
      world: With the target.

    Returns:
      The function.
    """
    if world.attacked.predict is not None:
        return world.attacked.predict
    look = jax.jit(lambda params, images: jax.nn.softmax(world.attacked.logits(params, images)))
    devices = jax.local_devices()[: math.ceil(world.manners.batch / _BLOCK)]  # No call needs more.
    weights = [jax.device_put(world.attacked.params, device) for device in devices]

    def predict(images: np.ndarray) -> np.ndarray:
        # The devices take turns with blocks of one size: one program, whose answer about an image
        # depends neither on the number of devices nor on what else is asked.
        padded = np.pad(images, [(0, -len(images) % _BLOCK), (0, 0), (0, 0), (0, 0)])
        answers = []
        for number, block in enumerate(padded.reshape(-1, _BLOCK, *images.shape[1:])):
            turn = number % len(devices)
            answers.append(look(weights[turn], jax.device_put(block, devices[turn])))
        return np.concatenate([np.asarray(answer) for answer in answers])[: len(images)]

    return predict


def labels_of(world: World) -> Predict:
    """Hides the target behind `images -> labels`.

    Args:
      world: With the target.

    Returns:
      The function, whose labels are written as confidences of 0 and 1.
    """
    predict = confidences_of(world)
    return from_labels(lambda images: predict(images).argmax(1), world.classes)


def _asked(world: World, method: Method, predict: Predict) -> Prepared:
    """Prepares a search over the leading coordinates of a prior; GAMIN's, over pixels."""
    how = method.recipe.attack(answered, world.auxiliary)._replace(iterations=method.queries)
    asked = 0
    if how.objective.faces is not None:
        # Of few faces, once for everybody: each one costs a query, and these were checked before.
        answers = jnp.asarray(predict(np.asarray(world.auxiliary[:CHECKED])))
        how = how._replace(objective=objectives.measured(how.objective, answers))
        asked = len(answers)
    strategy = strategies.STRATEGIES[method.strategy](world.auxiliary.shape[1:])
    if method.strategy != strategies.GAMIN:
        strategy = leading(strategy, method.leading)
    searching = Searching(predict, how, strategy, _budget(world, method))
    return Prepared(None, None, searching=searching, queries=asked)


def _seeding(world: World, method: Method) -> Searching | None:
    """Prepares the search for a seed image."""
    if method.seeding is None:
        return None
    seeder = strategies.SEEDERS[method.seeding]
    objective = objectives.classification(answered, losses.infomax)
    how = Attack(seeder.space(world.auxiliary), objective, None, method.queries)
    return Searching(confidences_of(world), how, seeder.strategy(), _budget(world, method))


def _budget(world: World, method: Method) -> Budget:
    """Says how often and how a method may ask."""
    return world.manners._replace(queries=method.queries)


def _filtered(how: Attack, method: Method) -> Attack:
    """Adds the filter of a method."""
    if method.filter is None:
        return how
    chosen = strategies.FILTERS[method.filter]()
    if method.filter_every is None:
        return how._replace(filter=filters.at_end(chosen))
    return how._replace(filter=filters.every(method.filter_every, chosen))
