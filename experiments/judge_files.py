"""Judges that are files: any embedder that the importers read, prepared like a model to audit."""

import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from experiments import imported
from mia_jax.evidence import embedders
from mia_jax.evidence.embedders import Embedder
from mia_jax.recognizer import acquaintance, importers, preprocessing, templates
from mia_jax.recognizer.preprocessing import Preprocessing
from mia_jax.runtime import workload
from mia_jax.runtime.errors import UserError

_TOGETHER = 16  # Pictures in one call: a program is compiled for each smaller power of two.


class Sample(NamedTuple):
    """Photographs by which a judge's preparation is found out; none of them tests anything.

    Attributes:
      images: `[n, height, width, channels]` in [0, 1].
      people: `[n]`, who is on each, from 0, two photographs or more of everybody.
    """

    images: np.ndarray
    people: np.ndarray


class _Model(NamedTuple):
    """An embedder from a file.

    Attributes:
      embed: From its weights and prepared pictures to features, compiled.
      params: Its weights.
      ways: How its pictures may be prepared, by what to call it; the first is what is known of it.
      digest: Of the file.
    """

    embed: Callable[[Any, jax.Array], jax.Array]
    params: Any
    ways: dict[str, Preprocessing]
    digest: str


def name_of(path: str) -> str:
    """Names a judge that is a file, by the file's name without its ending."""
    return pathlib.Path(path).stem


def embedder(path: str, image_shape: Sequence[int], sample: Sample) -> Embedder:
    """Makes an embedder of a file.

    Its pictures are prepared as a JSON file beside it says, or else in that usual way in which it
    tells the people of the gallery apart best.

    Args:
      path: The file: .onnx, .pt2, .keras or .jaxexport.
      image_shape: Height, width and channels of the images that it will be shown.
      sample: Photographs of the gallery.

    Returns:
      The embedder, to features of length 1.

    Raises:
      UserError: If the file is that of --model, cannot be read, or is no embedder.
    """
    model, shape = _read(path), tuple(image_shape)
    target = imported.MODEL.value
    if target and pathlib.Path(target).is_file() and _digest(target) == model.digest:
        raise UserError(
            f"--judge={path} is the file of --model={target}, which cannot judge its own clones: "
            "name another model"
        )
    ways = model.ways
    if shape[-1] == 1:  # Red and blue are the same.
        ways = {way: how for way, how in ways.items() if how.channels == ways[""].channels}
    made = {way: functools.partial(_embedder, path, how, shape) for way, how in ways.items()}
    if not len(sample.images):
        return next(iter(made.values()))()
    apart = {way: _apart(each(), sample) for way, each in made.items()}
    best = max(apart, key=lambda way: apart[way])
    found = made[best]()
    seen = _named(found, sample)
    said = f"The judge {found.name} names {seen.right} of {seen.total} photographs of the gallery"
    if not seen.known:
        logging.warning(
            "%s right, no better than chance as far as so few can tell: say in %s.json how its "
            "pictures are prepared",
            *(said, path),
        )
    else:
        how = model.ways[best]
        logging.info(
            "%s right, by pictures in %s with white at %g, less %s, divided by %s",
            *(said, how.channels, how.range, _spell(how.mean), _spell(how.deviation)),
        )
    return found


@functools.cache
def _read(path: str) -> _Model:
    """Reads a file, and what lies beside it."""
    beside = pathlib.Path(f"{path}.json")
    given = preprocessing.read(beside) if beside.is_file() else {}
    sides = given.get("size", (None, None))
    found = importers.load(path, None, (*sides, None))
    words = {name: f"{name} in {beside}" for name in preprocessing.FIELDS}
    how = preprocessing.of_model(path, found.image_shape, given, words)
    said = {"range", "mean", "deviation"} & given.keys()
    others = {} if said else preprocessing.alternatives(how)
    if "channels" in given:
        others = {way: each for way, each in others.items() if each.channels == how.channels}
    return _Model(jax.jit(found.apply_fn), found.params, {"": how, **others}, _digest(path))


@functools.cache  # The looks before a run and its stages share them, and what they remember.
def _embedder(path: str, how: Preprocessing, image_shape: tuple[int, ...]) -> Embedder:
    """Makes an embedder that is shown pictures that are prepared in one way."""
    model = _read(path)

    def embed(images: np.ndarray) -> np.ndarray:
        def look(few: np.ndarray) -> jax.Array:
            return model.embed(model.params, preprocessing.prepare(how, jnp.asarray(few)))

        return np.asarray(templates.normalized(workload.in_batches(look, images, _TOGETHER)))

    made = embedders.own_embedder(name_of(path), embed, image_shape)
    return made._replace(params=model.params, digest=model.digest)


def _digest(path: str) -> str:
    """Tells one file from another."""
    with pathlib.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _apart(judge: Embedder, sample: Sample) -> float:
    """Says by how many deviations pairs of one person are nearer than pairs of two."""
    features = judge.embed(sample.images)
    upper = np.triu_indices(len(features), 1)
    cosines = (features @ features.T)[upper]
    mated = sample.people[upper[0]] == sample.people[upper[1]]
    if not mated.any() or mated.all():
        return 0.0
    spread = np.sqrt((cosines[mated].var() + cosines[~mated].var()) / 2)
    return float((cosines[mated].mean() - cosines[~mated].mean()) / max(spread, 1e-6))


def _named(judge: Embedder, sample: Sample) -> acquaintance.Acquaintance:
    """Enrolls every other photograph, and counts which of the rest are named right."""
    features, enrolled = judge.embed(sample.images), acquaintance.alternate(sample.people)
    vectors = templates.enroll(features[enrolled], sample.people[enrolled])
    return acquaintance.measure(features[~enrolled] @ vectors.T, sample.people[~enrolled])


def _spell(numbers: Sequence[float]) -> str:
    """Writes one number, or several."""
    return ", ".join(f"{number:g}" for number in numbers)
