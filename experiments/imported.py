"""The target that was trained elsewhere: what is written down of it, and how it is read.

A work directory may be somebody else's. No module that only it names is imported, and none that
lies in one; and its files are those of their digest before they are read.

<workdir>/target/model.json       which file, how its pictures are prepared, what it returns
<workdir>/target/templates.npz    for an embedder, a template for each class
<workdir>/target/recognizer.json  what it is, as of every recognizer; written last
"""

import dataclasses
import functools
import hashlib
import importlib
import importlib.machinery
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from experiments import options, path_flags
from experiments.trained import Remote, Trained
from mia_jax.attack import from_confidences
from mia_jax.recognizer import importers, preprocessing, templates
from mia_jax.recognizer.answers import FEATURES, PROBABILITIES
from mia_jax.recognizer.architectures import ApplyFn
from mia_jax.recognizer.importers import Imported, functions
from mia_jax.recognizer.preprocessing import Preprocessing
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError, shorten
from mia_jax.runtime.workdir import WorkDirectory

MODEL = path_flags.define(
    "model",
    None,
    "The model to audit: a file (.onnx, .pt2 of torch.export, .keras, .jaxexport of jax.export), "
    "or module:function, which returns (apply_fn, params), a torch.nn.Module or a keras.Model; or "
    "which takes pictures and answers: a model that may only be asked (--scenario). Of a model "
    "that is audited already only module:function is needed again.",
)
TRUST = flags.DEFINE_bool(
    "trust_model",
    False,
    "Let code within the file of --model run, such as custom operators of a .pt2 or functions of a "
    ".keras: only for a file that was made by somebody whose programs would be run as well.",
)
_BLOCK = 16  # Images that are prepared at a time.
_prepare = jax.jit(preprocessing.prepare, static_argnums=0)


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """Everything in `target/model.json`.

    Attributes:
      model: Path or module:function.
      weights: Path or None.
      output: The output that is taken, None for the only one.
      digest: SHA-256 of the files; of a function, of its weights.
      files: SHA-256 of the bytes of the files alone, which needs no look into them.
      preprocessing: How pictures are prepared.
      returns: "logits", "probabilities" or "features".
      scale: Of an embedder's similarities.
      threshold: The similarity from which an embedder takes a picture for a person; None where
        nobody said it.
    """

    model: str
    weights: str | None
    output: str | None
    digest: str
    files: str
    preprocessing: Preprocessing
    returns: str
    scale: float
    threshold: float | None


class Prepared(NamedTuple):
    """A model whose pictures are in [0, 1].

    Attributes:
      apply_fn: From weights and pictures to what the model returns.
      params: The weights.
      raw: The same function of pictures that are prepared already.
    """

    apply_fn: ApplyFn
    params: Any
    raw: ApplyFn


def read(
    name: str,
    weights: str | None,
    output: str | None,
    size: Any,
    given: dict[str, Any],
    trust: bool = False,
) -> Imported:
    """Reads a model.

    Args:
      name: A file, or module:function.
      weights: A file of weights for a function; None without.
      output: The output to take; None for the only one.
      size: Height and width of the pictures, of a model that leaves them open.
      given: What is said of its pictures; only whether they are gray matters.
      trust: Whether code within a file may run.

    Returns:
      The model.

    Raises:
      UserError: If it cannot be read.
    """
    if not is_function(name):
        if weights:
            raise UserError(f"--weights is for --model=module:function, and {name} has its own")
        sides = size if size and len(size) == 2 else (None, None)
        return importers.load(name, output, (*sides, None), trust=trust)
    if size is None:
        raise UserError(f"--model={name} needs --size, the side of its pictures")
    channels = 1 if given.get("channels") == preprocessing.GRAY else 3
    imported = functions.load(imported_function("model", name), name, (*size, channels), weights)
    importers.check_finite(imported, name)
    return imported


def is_function(name: str) -> bool:
    """Tells module:function from a file."""
    return ":" in name and not pathlib.Path(name).exists()


def imported_function(flag: str, path: str) -> Callable[..., Any]:
    """Imports a user's function.

    Args:
      flag: The flag that names it.
      path: "module:function".

    Returns:
      The function.

    Raises:
      UserError: If there is none, or it lies in a work directory.
    """
    module, _, name = path.partition(":")
    _check_outside(f"--{flag}={path}", module)
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # Whatever the user's module raises.
        raise UserError(
            f"--{flag}={path} cannot be imported ({type(error).__name__}: {error}): give "
            "module:function of a module in the current directory or on PYTHONPATH"
        ) from error
    if not callable(function):
        raise UserError(f"--{flag}={path} is no function but a {type(function).__name__}")
    return function


def _check_outside(flag: str, module: str) -> None:
    """Refuses a module that lies in a work directory, before any part of it is imported."""
    places: Any = None
    for depth in range(1, module.count(".") + 2):
        name = ".".join(module.split(".")[:depth])
        found = importlib.machinery.PathFinder.find_spec(name, places)
        if found is None:
            return  # Built in, or not there.
        for place in (found.origin, *(found.submodule_search_locations or ())):
            for home in pathlib.Path(place).resolve().parents if place else ():
                own = (
                    options.WORKDIR.value and home == pathlib.Path(options.WORKDIR.value).resolve()
                )
                if own or (home / "protocol.json").exists():
                    raise UserError(
                        f"{flag} lies in the work directory {home}: code is imported from "
                        "elsewhere only, so move it, and take the directory off PYTHONPATH"
                    )
        places = found.submodule_search_locations


def files_digest(name: str, weights: str | None) -> str:
    """Tells files from others without a look into them.

    Args:
      name: A file, or module:function.
      weights: A file of weights; None without.

    Returns:
      SHA-256 of their bytes, 64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for path in (name, weights):
        if path and pathlib.Path(path).is_file():
            with pathlib.Path(path).open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def digest(name: str, weights: str | None, params: Any) -> str:
    """Tells one model from another.

    Args:
      name: A file, or module:function.
      weights: A file of weights; None without.
      params: The weights that were read.

    Returns:
      SHA-256 of the bytes of files and weights, 64 hexadecimal digits.
    """
    total = hashlib.sha256()
    for path in (name, weights):
        if path and pathlib.Path(path).is_file():
            total.update(pathlib.Path(path).read_bytes())
    for leaf in jax.tree.leaves(params):
        total.update(np.ascontiguousarray(np.asarray(leaf)).data)
    return total.hexdigest()


def prepared(imported: Imported, facts: ModelFacts) -> Prepared:
    """Lets the model take pictures in [0, 1], in compute's own type.

    Args:
      imported: The model.
      facts: How its pictures are prepared.

    Returns:
      The model.
    """

    def raw(params: Any, pictures: jax.Array) -> jax.Array:
        return imported.apply_fn(params, pictures).astype(jnp.float32)

    apply_fn = preprocessing.preparing(raw, facts.preprocessing)
    return Prepared(apply_fn, imported.params, raw)


def recognizer(
    apply_fn: ApplyFn, params: Any, facts: ModelFacts, enrolled: np.ndarray | None
) -> tuple[ApplyFn, Any]:
    """Makes a function of logits, whatever the model returns.

    Args:
      apply_fn: The model.
      params: Its weights.
      facts: What it returns.
      enrolled: The templates of an embedder, `[classes, features]`.

    Returns:
      The function and its weights.
    """
    if facts.returns == FEATURES:
        weights = {templates.EMBEDDER: params, templates.TEMPLATES: enrolled}
        return templates.recognizer(apply_fn, facts.scale), weights
    return from_confidences(apply_fn) if facts.returns == PROBABILITIES else apply_fn, params


@functools.cache  # The stages of an audit share it, and what is compiled for it.
def load(root: str) -> Trained:
    """Reads the target of a work directory again.

    Args:
      root: The work directory.

    Returns:
      The target, without an architecture.

    Raises:
      UserError: If the model is no longer what it was, or is a function that no flag names.
    """
    workdir = WorkDirectory(root)
    facts = records.read(workdir.model, ModelFacts)
    named = facts.model == MODEL.value
    if is_function(facts.model) and not named:
        raise UserError(
            f"{workdir.model} names the function {shorten(ascii(facts.model))}, and no code runs "
            "that only a work directory names: say --model=module:function with the same name, if "
            "it is yours"
        )
    other = UserError(
        f"{facts.model} is not the model for which {workdir.root} was made: restore it, or "
        "choose another --workdir"
    )
    if files_digest(facts.model, facts.weights) != facts.files:
        raise other
    how = facts.preprocessing
    given = {"channels": how.channels}
    trust = named and TRUST.value
    imported = read(facts.model, facts.weights, facts.output, how.size, given, trust)
    if digest(facts.model, facts.weights, imported.params) != facts.digest:
        raise other
    enrolled = None
    if facts.returns == FEATURES:
        enrolled = storage.read_arrays(workdir.templates)["vectors"]
    ready = prepared(imported, facts)
    logits, params = recognizer(ready.apply_fn, ready.params, facts, enrolled)
    if imported.answer is None:
        return Trained(params, logits, None)
    return _asked(imported.answer, params, facts, enrolled)


def _asked(
    answer: Callable[[np.ndarray], Any], params: Any, facts: ModelFacts, enrolled: np.ndarray | None
) -> Trained:
    """Makes a target of what answers; it is not asked itself, but through another way."""

    def through(ask: Callable[[np.ndarray], np.ndarray]) -> Trained:
        how = facts.preprocessing

        def show(images: np.ndarray) -> np.ndarray:
            return ask(pictures(how, images))

        apply_fn = functions.asking(show).apply_fn
        logits, _ = recognizer(apply_fn, (), facts, enrolled)

        def predict(images: np.ndarray) -> np.ndarray:
            return np.asarray(jax.nn.softmax(logits(params, jnp.asarray(images))))

        return Trained(params, logits, None, predict, remote)

    def nobody(pictures: np.ndarray) -> np.ndarray:
        raise AssertionError(
            "a target that may only be asked is asked through experiments.asked_target"
        )

    remote = Remote(facts.model, answer, through)
    return through(nobody)


def pictures(how: Preprocessing, images: np.ndarray) -> np.ndarray:
    """Prepares images for a model that is asked.

    They are prepared in blocks of one size, so that an image is the same picture whatever stands
    beside it: what a model answered about it is remembered by its picture.

    Args:
      how: What the model wants its pictures to be.
      images: `[n, height, width, channels]` in [0, 1], one or more.

    Returns:
      The pictures, `[n, ...]` float32.
    """
    made = []
    for first in range(0, len(images), _BLOCK):
        few = np.asarray(images[first : first + _BLOCK], np.float32)
        whole = np.concatenate([few, np.repeat(few[-1:], _BLOCK - len(few), axis=0)])
        made.append(np.asarray(_prepare(how, whole))[: len(few)])
    return np.concatenate(made)
