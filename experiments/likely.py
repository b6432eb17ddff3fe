"""Other photographs of the victims among the attacker's faces, as far as judges can tell.

A copy is found by its pixels (`experiments.strangers`); another photograph of the same person is
known by the face alone. The target knows its people's faces best, so it picks which of the
attacker's faces are shown to the judges: to look at all would take dlib minutes. Named is what a
judge finds nearer to a person than 99.9% of other people's photographs, and than the farthest of
the person's own that trained nothing. No more than that: judges err.
"""

from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.typing import ArrayLike

from experiments import experiment, strangers
from mia_jax.evidence import scores, verification
from mia_jax.evidence.judges import Judge
from mia_jax.faces import Faces
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.runtime import storage
from mia_jax.runtime.errors import list_some
from mia_jax.runtime.workdir import WorkDirectory

_LOOKED_AT = 8192  # Of the attacker's faces, by the target.
_EACH = 3  # For each person, of those that the target takes most for the person.
_MOST = 300  # Of these by the judges, in all: five seconds of two cores with dlib.
_FALSE_ACCEPTS = 0.001
_AT_ONCE = 128


def say(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    names: Sequence[str],
    look: Callable[[jax.Array], ArrayLike] | None,
    asked: Sequence[Judge],
    impostors: Mapping[str, verification.Impostors],
) -> None:
    """Names the attacker's faces that judges take for people under attack, and writes them down.

    Args:
      workdir: The work directory.
      loaded: All faces.
      roles: Who is who.
      names: Who is attacked.
      look: From images to the target's logits; None where it may only be asked: then the judges
        see an arbitrary choice of the attacker's faces.
      asked: The judges; those who share nothing with the target are heard.
      impostors: What each says of other people's photographs, for its threshold.
    """
    images, _ = experiment.auxiliary_photographs(loaded, roles)
    positions = experiment.auxiliary_positions(loaded, roles, _LOOKED_AT)
    if look is None:
        chosen = positions[:: -(-len(positions) // _MOST)]
    else:
        logits = np.concatenate(
            [
                np.asarray(look(jnp.asarray(images[positions[first : first + _AT_ONCE]])))
                for first in range(0, len(positions), _AT_ONCE)
            ]
        )
        chosen = positions[_likeliest(logits, [roles.classes[TARGET].index(n) for n in names])]
    logging.info("Independent judges look for the people in %d faces of the attacker", len(chosen))
    shown, found = np.asarray(images[chosen]), dict[str, dict[str, list[str]]]()
    for judge in asked:
        known = [name for name in names if name in judge.people]
        if not judge.stranger or not known:
            continue
        threshold = verification.threshold(impostors[judge.name].single, _FALSE_ACCEPTS)
        seen = _scores(judge, shown)
        for name in known:
            own = _scores(judge, experiment.photographs_of(loaded, name, roles.test))
            place = judge.people.index(name)
            enough = max(threshold, float(own[:, place].min()))
            for row in np.flatnonzero(seen[:, place] > enough):
                called = _called(loaded, int(chosen[row]))
                found.setdefault(name, {}).setdefault(called, []).append(judge.name)
    storage.write_json(workdir.likely, found)
    said = [f"{face} like {name}" for name, faces in found.items() for face in faces]
    if said:
        logging.warning(
            "%d of the attacker's faces look to judges like people under attack, and whoever has a "
            "victim's face needs no model: %s; see %s, and take away what shows them",
            *(len(said), list_some(said), workdir.likely),
        )


def _scores(judge: Judge, images: np.ndarray) -> np.ndarray:
    """Returns what a judge says of images, `[n, people]`."""
    return judge.confidence(scores.match(judge, scores.features(judge, images)))


def _likeliest(logits: np.ndarray, classes: Sequence[int]) -> np.ndarray:
    """Picks the rows that lead for each class, in turn, until there are enough; rising."""
    leading = np.argsort(-logits[:, classes], axis=0, kind="stable")[:_EACH]
    return np.sort(np.array([*dict.fromkeys(leading.ravel().tolist())][:_MOST], int))


def _called(loaded: Faces, position: int) -> str:
    """Names one of the attacker's faces."""
    if loaded.auxiliary is None:
        return strangers.photograph(loaded, position)
    return loaded.auxiliary_names[position]
