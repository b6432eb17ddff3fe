"""Whether everybody's photographs are their own: the attacker's must not be the victims'."""

import numpy as np
from absl import logging

from experiments.options import FacesOptions
from mia_jax.faces import Faces, copies
from mia_jax.runtime.errors import UserError, list_some

_PREPARED = 20_000  # Photographs of a prepared data set that are looked through, at most.


def check_people(wanted: FacesOptions, loaded: Faces) -> None:
    """Refuses a folder that holds a photograph of one person as another's too.

    Half of the people of a data set are the attacker's where no flag says otherwise. Of a prepared
    data set, in which nobody can take a photograph away, it is only said.

    Args:
      wanted: Which faces.
      loaded: The same, read.

    Raises:
      UserError: If a photograph in the folder is that of two people.
    """
    if wanted.dataset != "folder" and len(loaded.images) > _PREPARED:
        return
    numbers = loaded.identities
    pairs = copies.find(loaded.images, loaded.images, (numbers, numbers))
    if not len(pairs):
        return
    once = sorted({tuple(sorted(pair)) for pair in pairs.tolist()})
    said = [f"{photograph(loaded, one)} and {photograph(loaded, other)}" for one, other in once]
    sentence = (
        f"{wanted.data_dir or wanted.dataset} holds one photograph as that of two people: "
        f"{list_some(said)}"
    )
    if wanted.dataset == "folder":
        raise UserError(f"{sentence}: take away the one that is not the person's")
    logging.warning("%s", sentence)


def check_auxiliary(wanted: FacesOptions, loaded: Faces) -> None:
    """Refuses an attacker who has photographs of the people of the data set.

    Args:
      wanted: Which faces.
      loaded: The same, read.

    Raises:
      UserError: If a file of --auxiliary_dir is a copy of a photograph of the data set.
    """
    assert loaded.auxiliary is not None
    pairs = copies.find(loaded.auxiliary, loaded.images)
    if len(pairs):
        said = [f"{loaded.auxiliary_names[i]} is {photograph(loaded, place)}" for i, place in pairs]
        raise UserError(
            f"--auxiliary_dir={wanted.auxiliary_dir} holds {len(pairs)} copies of photographs of "
            f"the people under attack ({list_some(said)}): the attacker's faces must be other "
            "people's"
        )


def photograph(loaded: Faces, place: int) -> str:
    """Names a photograph of the data set, for messages."""
    person = loaded.names[loaded.identities[place]]
    number = int(np.flatnonzero(loaded.indices_of(person) == place)[0])
    return f"photograph {number + 1} of {person}"
