"""What is put before the judges: whose clones, and what to compare these with."""

from collections.abc import Container, Sequence

import jax
import numpy as np

from experiments import clones, experiment
from experiments.scenarios import SCENARIOS
from experiments.trained import Trained
from mia_jax.attack import inversion, selection
from mia_jax.evidence import examination
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.runtime import storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.keys import key_for
from mia_jax.runtime.workdir import WorkDirectory

_MEAN_OF = 8192  # The most unrelated faces to read for the mean face.


def attacked(workdir: WorkDirectory, roles: Protocol, known: Container[str]) -> tuple[str, ...]:
    """Lists the identities that have clones and are known to the first judge.

    Args:
      workdir: The work directory.
      roles: Who is who.
      known: Whom the judge knows who leads the report.

    Returns:
      Their names, the targeted ones first.

    Raises:
      MissingError: If there are none.
    """
    names = dict.fromkeys([*roles.targeted, *roles.classes[TARGET]])
    found = tuple(name for name in names if name in known and workdir.clones_of(name).exists())
    if not found:
        raise MissingError(
            f"{workdir.clones} holds no clones of an identity that the judge knows: run "
            "python -m experiments.attack with the same --workdir first"
        )
    return found


def origin(workdir: WorkDirectory, names: Sequence[str], weights: str) -> clones.Origin:
    """Checks that all clones were made alike, from the target as it is now.

    Args:
      workdir: The work directory.
      names: The attacked people.
      weights: Digest of the target's weights.

    Returns:
      What they were made with.

    Raises:
      UserError: If recipes are mixed, or the target was trained anew since.
    """
    origins = {name: clones.origin_of(workdir.clones_of(name)) for name in names}
    recipes = sorted({each.recipe for each in origins.values()})
    if len(recipes) > 1:
        raise UserError(f"{workdir.clones} mixes recipes: {' and '.join(recipes)}")
    for name, each in origins.items():
        if each.weights != weights:
            raise UserError(
                f"{workdir.clones_of(name)} was made from other weights than the target has now: "
                "delete it and run python -m experiments.attack again"
            )
    return origins[names[0]]


def diverged(workdir: WorkDirectory, names: Sequence[str]) -> bool:
    """Tells whether descents ended above their beginning, in the median over all restarts.

    Args:
      workdir: The work directory.
      names: Whose clones.

    Returns:
      See `inversion.diverged`. A search that only asks has no rate, and never diverges.
    """
    paths = [workdir.clones_of(name) for name in names]
    scenario = clones.origin_of(paths[0]).attack.arguments.get("scenario")
    if scenario is not None and SCENARIOS[str(scenario)].asks:
        return False
    first, last = (
        np.concatenate([np.asarray(storage.map_array(path, name)) for path in paths])
        for name in ("loss_trace", "last_loss")
    )
    return inversion.diverged(first[:, 0], last)


def mean_face(loaded: Faces, roles: Protocol) -> np.ndarray:
    """Returns the mean of the attacker's faces.

    Args:
      loaded: All faces.
      roles: Who is who.

    Returns:
      `[height, width, channels]` in [0, 1].
    """
    return experiment.auxiliary_faces(loaded, roles, _MEAN_OF).mean(axis=0)


def gather(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    names: Sequence[str],
    name: str,
    mean_face: np.ndarray,
) -> examination.Evidence:
    """Collects the images of one person, and those to compare them with.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      names: The attacked people.
      name: The person.
      mean_face: `[height, width, channels]`: the mean of the auxiliary faces.

    Returns:
      The images.
    """
    path = workdir.clones_of(name)
    own = storage.map_array(path, "clones")
    return examination.Evidence(
        clones=own,
        seeds=storage.map_array(path, "seed"),
        mean_face=mean_face[None],
        others=of_others(workdir, name, names, len(own)),
        training=experiment.photographs_of(loaded, name, roles.training[TARGET]),
        test=experiment.photographs_of(loaded, name, roles.test),
    )


def of_others(workdir: WorkDirectory, name: str, names: Sequence[str], restarts: int) -> np.ndarray:
    """Reads clones aimed at others, to compare a person's with.

    Args:
      workdir: The work directory.
      name: The person.
      names: All attacked people.
      restarts: Clones of each.

    Returns:
      `[restarts, height, width, channels]`, of the people of `examination.share_of_others`; none
      where nobody else was attacked.
    """
    shares = examination.share_of_others(name, names, restarts)
    clones = {
        other: storage.map_array(workdir.clones_of(other), "clones") for other in [*shares, name]
    }
    taken = [clones[other][:count] for other, count in shares.items()]
    return np.concatenate([*taken, clones[name][:0]])


def robust_scores(
    attacked: Trained,
    images: np.ndarray,
    place: int,
    seed: int,
    views: int = selection.VIEW_COUNT,
) -> np.ndarray:
    """Asks the target about views of clones: by this an attacker without a judge picks one.

    Args:
      attacked: The target.
      images: `[n, height, width, channels]` in [0, 1].
      place: The class at which they were aimed.
      seed: The experiment's; all clones are seen in the same views.
      views: How many, where the target may only be asked.

    Returns:
      `[n]` in [0, 1].
    """
    key = key_for(jax.random.key(seed), "the attacker's pick")
    if attacked.predict is not None:
        return selection.asked_scores(attacked.predict, images, place, key, views)
    logits = attacked.logits
    return selection.robust_scores(logits, attacked.params, images, place, key)
