"""Asks the attacked embedder and the judges whom they accept, as verification systems do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from absl import logging

from experiments import console, exhibits, imported
from experiments.trained import Trained
from mia_jax.evidence import examination, successful_attacks
from mia_jax.evidence.embedders import Embedder
from mia_jax.evidence.successful_attacks import Aimed, Enrollment, SuccessfulAttacks
from mia_jax.faces import Faces, protocol
from mia_jax.faces.protocol import TARGET, Protocol
from mia_jax.recognizer import templates
from mia_jax.report import successful_attacks as written
from mia_jax.runtime import records, storage, workload
from mia_jax.runtime.workdir import WorkDirectory

_PEOPLE = 300  # Whose photographs are impostors, at most: some 45,000 pairs of people.
_PHOTOGRAPHS = 6  # Of each who is not enrolled.

_Key = tuple[str, str]  # A person, and a kind of image.


class _Photographs(NamedTuple):
    """Whose photographs are compared, and which of them: positions among all faces by person."""

    everything: Mapping[str, np.ndarray]
    training: Mapping[str, np.ndarray]
    test: Mapping[str, np.ndarray]


def write(
    workdir: WorkDirectory,
    loaded: Faces,
    roles: Protocol,
    names: Sequence[str],
    target: Trained,
    judges: Sequence[Embedder],
) -> None:
    """Counts how many clones of an embedder's people it accepts, and the judges; writes it down.

    Args:
      workdir: The work directory, with clones.
      loaded: All faces.
      roles: Who is who.
      names: The attacked people.
      target: The attacked model; of a classifier nothing is written.
      judges: Embedders that share nothing with it.
    """
    if not workdir.model.exists():
        return
    facts = records.read(workdir.model, imported.ModelFacts)
    if facts.returns != imported.FEATURES:
        return
    photographs = _photographs(loaded, roles, names, only_registered=target.remote is not None)
    images = _images(workdir, loaded, names, photographs, exhibits.mean_face(loaded, roles))
    enrolled = target.templates()
    assert enrolled is not None  # By what it returns.
    vectors = dict(zip(roles.classes[TARGET], enrolled, strict=True))
    found = _features(target.embed(), images, TARGET)
    made_of = {
        name: templates.made_of(
            vectors[name],
            found[name, "photographs"],
            (photographs.training[name], np.arange(len(places))),
        )
        for name, places in photographs.everything.items()
        if name in photographs.training
    }
    gallery = _gallery(photographs, found, made_of, vectors)
    similar = successful_attacks.cosines
    aimed = _aimed(names, found)
    result = SuccessfulAttacks(
        target=successful_attacks.system(gallery, aimed, similar, own_threshold=facts.threshold),
        independent={
            judge.name: successful_attacks.system(
                _gallery(photographs, seen, made_of, None),
                _aimed(names, seen),
                successful_attacks.nearness,
            )
            for judge in judges
            for seen in [_features(judge.embed, images, judge.name)]
        },
        unlinkability=successful_attacks.linked(gallery.values(), similar),
    )
    records.write(workdir.successful_attacks, result)
    for sentence in written.sentences(result):
        logging.info("%s", sentence)


def _photographs(
    loaded: Faces, roles: Protocol, names: Sequence[str], only_registered: bool
) -> _Photographs:
    """Says whose photographs are compared: the attacked people's, and a sample of all others'."""
    registered = roles.training[TARGET]
    drawn = protocol.shuffled(roles.seed, loaded.names, "impostors")
    chosen = [*dict.fromkeys([*names, *drawn])][: max(_PEOPLE, len(names))]
    if only_registered:
        chosen = [name for name in chosen if name in registered]
    everything = {name: loaded.indices_of(name) for name in chosen}
    for name in everything.keys() - registered.keys():
        everything[name] = everything[name][:_PHOTOGRAPHS]
    return _Photographs(
        everything,
        {name: np.array(registered[name], int) for name in chosen if name in registered},
        {
            name: np.array(roles.test[name] if name in roles.test else range(len(places)), int)
            for name, places in everything.items()
        },
    )


def _images(
    workdir: WorkDirectory,
    loaded: Faces,
    names: Sequence[str],
    photographs: _Photographs,
    mean_face: np.ndarray,
) -> dict[_Key, np.ndarray]:
    """Collects all images, the clones mapped from their files."""
    images = {
        (name, "photographs"): np.asarray(loaded.images[places])
        for name, places in photographs.everything.items()
    }
    for name in names:
        path = workdir.clones_of(name)
        images[name, "clones"] = storage.map_array(path, "clones")
        images[name, "seeds"] = storage.map_array(path, "seed")
    return {**images, ("", "mean_face"): mean_face[None]}


def _features(
    embed: Callable[[Any], Any], images: Mapping[_Key, np.ndarray], who: str
) -> dict[_Key, np.ndarray]:
    """Shows all images to somebody, full batches of them."""
    groups = [*images.values()]
    ends = np.cumsum([len(group) for group in groups])
    with console.progress(int(ends[-1]), 0, f"compare by {who}", "image") as bar:

        def look(places: np.ndarray) -> np.ndarray:
            of = np.searchsorted(ends, places, side="right")
            few = [groups[g][p - ends[g]] for g, p in zip(of, places, strict=True)]
            bar.update(len(few))
            return np.asarray(embed(np.stack(few)))

        features = workload.in_batches(look, np.arange(ends[-1]))
    return dict(zip(images, np.split(features, ends[:-1]), strict=True))


def _gallery(
    photographs: _Photographs,
    found: Mapping[_Key, np.ndarray],
    made_of: Mapping[str, np.ndarray | None],
    vectors: Mapping[str, np.ndarray] | None,
) -> dict[str, Enrollment]:
    """Says what a system knows of everybody: its templates, or the mean of what made the target's.

    A photograph that is enrolled is no other photograph.
    """
    people = {}
    for name in photographs.everything:
        features, own = found[name, "photographs"], made_of.get(name)
        enrolled = features[[] if own is None else own]
        other = np.setdiff1d(photographs.test[name], [] if own is None else own)
        template = enrolled.mean(axis=0) if len(enrolled) else None
        if vectors is not None:
            template = np.asarray(vectors[name]) if name in vectors else None
        people[name] = Enrollment(template, enrolled, features[other])
    return people


def _aimed(names: Sequence[str], found: Mapping[_Key, np.ndarray]) -> dict[str, Aimed]:
    """Puts together what is put forward as each person."""
    aimed = {}
    for name in names:
        clones = found[name, "clones"]
        shares = examination.share_of_others(name, names, len(clones))
        others = [found[other, "clones"][:count] for other, count in shares.items()]
        aimed[name] = Aimed(
            clones,
            found[name, "seeds"],
            found["", "mean_face"],
            np.concatenate([*others, clones[:0]]),
        )
    return aimed
