"""The pictures of a study with observers: clones, seeds, photographs, chosen by the seed."""

from collections.abc import Sequence

import numpy as np

from experiments import exhibits, experiment
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol, shuffled
from mia_jax.runtime import checkpoints, records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study import panels
from mia_jax.study.design import Stimuli


def people_of(workdir: WorkDirectory, roles: Protocol, most: int) -> tuple[str, ...]:
    """Lists the attacked people whom a study asks about, and checks that their clones are fresh.

    Args:
      workdir: The work directory.
      roles: Who is who.
      most: How many at most; the targeted ones come first.

    Returns:
      Their names.

    Raises:
      MissingError: If nobody was attacked.
      UserError: If the clones are stale or of several recipes.
    """
    target = experiment.load_recognizer(workdir, TARGET)
    names = exhibits.attacked(workdir, roles, roles.classes[TARGET])[:most]
    exhibits.origin(workdir, names, checkpoints.digest(target.params))
    return names


def clones_of(workdir: WorkDirectory, roles: Protocol, name: str, count: int) -> np.ndarray:
    """Reads some of a person's clones, chosen by the seed and not by what they look like.

    Args:
      workdir: The work directory.
      roles: Who is who.
      name: The person.
      count: How many.

    Returns:
      `[count, height, width, channels]`.

    Raises:
      UserError: If there are fewer.
    """
    stored = storage.map_array(workdir.clones_of(name), "clones")
    if count > len(stored):
        raise UserError(f"--clones={count}: there are {len(stored)} of {name}")
    return np.asarray(stored[_chosen(roles, range(len(stored)), name)[:count]])


def _chosen(roles: Protocol, numbers: Sequence[int], name: str) -> list[int]:
    """Orders numbers of one person's pictures at random."""
    return shuffled(roles.seed, numbers, name, "quiz")


def for_observers(
    workdir: WorkDirectory, loaded: Faces, roles: Protocol, people: Sequence[str], clones: int
) -> Stimuli:
    """Collects what observers see.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      people: Whom to ask about.
      clones: How many clones of each to show.

    Returns:
      The pictures.
    """

    def one(name: str, numbers: Sequence[int]) -> np.ndarray:
        chosen = {name: _chosen(roles, numbers, name)[:1]}
        return experiment.photographs_of(loaded, name, chosen)[0]

    seeds = [storage.map_array(workdir.clones_of(name), "seed") for name in people]
    return Stimuli(
        people=tuple(people),
        references=np.stack([one(name, roles.training[TARGET][name]) for name in people]),
        photographs=np.stack([one(name, roles.test[name]) for name in people]),
        clones=np.stack([clones_of(workdir, roles, name, clones) for name in people]),
        seeds=np.stack([np.asarray(seed[0]) for seed in seeds]),
        mean_face=exhibits.mean_face(loaded, roles),
    )


def for_panels(
    workdir: WorkDirectory, loaded: Faces, roles: Protocol, people: Sequence[str], clones: int
) -> dict[str, panels.Faces]:
    """Collects what stands in panels.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      people: Whom to ask about.
      clones: How many clones of each to show.

    Returns:
      The pictures of each person.
    """
    return {
        name: panels.Faces(
            clones=clones_of(workdir, roles, name, clones),
            training=experiment.photographs_of(loaded, name, roles.training[TARGET]),
            test=experiment.photographs_of(loaded, name, roles.test),
        )
        for name in people
    }


def credit_of(workdir: WorkDirectory, loaded: Faces) -> str:
    """Says where the photographs come from, but not in which folder they lie."""
    own = records.read(workdir.protocol, experiment.Plan).faces.dataset == "folder"
    return "" if own else loaded.credit
