"""The model to audit, as the flags say: its file, how its pictures are prepared, its answers."""

import pathlib
from typing import Any

from absl import flags

from experiments import imported, path_flags
from experiments.imported import ModelFacts
from mia_jax.evidence import embedders
from mia_jax.faces import alignment
from mia_jax.recognizer import preprocessing, templates
from mia_jax.recognizer.answers import FEATURES, LOGITS, PROBABILITIES
from mia_jax.recognizer.importers import Imported
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError

flags.adopt_module_key_flags(imported)
_WEIGHTS = path_flags.define(
    "weights",
    None,
    "Weights for --model=module:function: .safetensors or .npz, or a state_dict in .pt or .pth.",
)
_OUTPUT = flags.DEFINE_string("output", None, "Which output to take of a model with several.")
_PREPROCESSING = path_flags.define(
    "preprocessing",
    None,
    "A JSON file that says how the model's pictures are prepared, with the names of the flags "
    "below; by default the model's file with .json added, where there is one.",
)
_SIZE = flags.DEFINE_list("size", None, "Side of the model's pictures, or height and width.")
_CHANNELS = flags.DEFINE_enum(
    "channel_order", None, preprocessing.ORDERS, "Of the model's pictures (JSON: channels)."
)
_RANGE = flags.DEFINE_float(
    "range", None, "The value of white in the model's pictures before mean and deviation; 1 or 255."
)
_MEAN = flags.DEFINE_list("mean", None, "What is subtracted: one number, or one for each channel.")
_DEVIATION = flags.DEFINE_list("deviation", None, "What it is divided by after that, alike.")
_CROP = flags.DEFINE_float("crop", None, "The part of a photograph's side that the model sees.")
_ALIGN = flags.DEFINE_enum(
    "align",
    None,
    [*alignment.ALIGNMENTS, alignment.NONE],
    "Find the face in each photograph of --gallery_dir and --auxiliary_dir, and bring it to where "
    "the model's pictures have it: arcface112 are the usual chips of 112x112 pixels; the JSON file "
    "may give size and points of others. none if the photographs are such chips already. Needs the "
    "extra judge; the license of its landmarks excludes commercial use.",
)
_RETURNS = flags.DEFINE_enum(
    "returns",
    None,
    [LOGITS, PROBABILITIES, FEATURES],
    "What the model returns, which is compared with what it answers; by default features with "
    "--templates, else logits or probabilities as they look.",
)
TEMPLATES = path_flags.define(
    "templates",
    None,
    "For an embedder, the enrolled templates: an .npz file of names and vectors; by default they "
    "are made of the gallery's enrollment photographs.",
)
SCALE = flags.DEFINE_float(
    "scale", templates.SCALE, "What an embedder's similarities are multiplied by.", 1e-3
)
THRESHOLD = flags.DEFINE_float(
    "threshold",
    None,
    "The similarity from which an embedder takes a picture for a person, beside those at which 1% "
    "and 0.1% of the gallery's strangers are taken for each other.",
    -1.0,
    1.0,
)
_WORDS = {"size": "--size", "channels": "--channel_order"}


def from_flags() -> tuple[Imported, ModelFacts]:
    """Reads the model that the flags name.

    Returns:
      The model, and what is said of it; `returns` is "" where no flag says it, and `threshold` is
      that of the flag.

    Raises:
      MissingError: If faces are to be aligned, and dlib is not installed.
      UserError: If a flag is missing, or the model cannot be read.
    """
    name = imported.MODEL.value
    if not name:
        raise UserError("--model is needed: a file of a model, or module:function")
    given = {**_from_file(name), **_given()}
    if given.get("align") and not embedders.dlib_installed():
        raise MissingError(
            f"--align (or align in the JSON file) needs dlib and its landmarks: "
            f"{packages.hint('judge')}, or give --align=none for photographs that are chips already"
        )
    files = imported.files_digest(name, _WEIGHTS.value)
    trust = imported.TRUST.value
    found = imported.read(name, _WEIGHTS.value, _OUTPUT.value, given.get("size"), given, trust)
    how = preprocessing.of_model(name, found.image_shape, given, _WORDS)
    returns = _RETURNS.value or (FEATURES if TEMPLATES.value else "")
    digest = imported.digest(name, _WEIGHTS.value, found.params)
    facts = ModelFacts(
        *(name, _WEIGHTS.value, _OUTPUT.value, digest, files, how, returns),
        *(SCALE.value, THRESHOLD.value),
    )
    return found, facts


def _from_file(name: str) -> dict[str, Any]:
    """Reads the JSON file that describes the model's pictures."""
    beside = pathlib.Path(f"{name}.json")
    path = _PREPROCESSING.value or (str(beside) if beside.is_file() else None)
    return preprocessing.read(path) if path else {}


def _given() -> dict[str, Any]:
    """Returns what flags say of the model's pictures."""
    named = {
        "size": _SIZE,
        "channels": _CHANNELS,
        "range": _RANGE,
        "mean": _MEAN,
        "deviation": _DEVIATION,
        "crop": _CROP,
        "align": _ALIGN,
    }
    found: dict[str, Any] = {k: flag.value for k, flag in named.items() if flag.value is not None}
    for field in ("size", "mean", "deviation"):
        if field in found:
            try:
                found[field] = [float(number) for number in found[field]]
            except ValueError:
                said = ",".join(found[field])
                raise UserError(f"--{field}={said} is no number, nor several") from None
    return preprocessing.fields(found)
