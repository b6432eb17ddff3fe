"""Models of Keras 3, as functions of JAX: Keras itself evaluates them, on its JAX backend.

What runs code, such as Lambda layers, is refused by Keras's own safe mode. What a file declares is
measured before Keras allocates it.
"""

import functools
import io
import math
import os
import pathlib
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from mia_jax.recognizer.importers import model
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import bounds, packages, storage
from mia_jax.runtime.errors import MissingError, UserError

_BACKEND = "KERAS_BACKEND"
_CHUNK = 2**20  # Numbers that are unpacked together, whatever their array has.


def load(path: str | os.PathLike[str], output: str | None = None, trust: bool = False) -> Imported:
    """Reads a model that Keras 3 saved.

    Args:
      path: The file, which ends in .keras.
      output: Not used: a model of several outputs is refused.
      trust: Whether code in the file may run, and it may be of any size.

    Returns:
      The model. Its weights are {"trainable": [...], "fixed": [...]}.

    Raises:
      MissingError: If the file or Keras is missing.
      UserError: If the file is damaged, needs code of its own, or is no model of pictures, or if
        Keras was imported with another backend before.
    """
    del output
    keras = _keras()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    if not zipfile.is_zipfile(path):
        raise UserError(f"{path} is no whole file of Keras 3: save the model as .keras")
    try:
        if not trust:
            _check_size(keras, str(path))
        loaded = keras.saving.load_model(path, compile=False, safe_mode=not trust)
    except UserError:
        raise
    except Exception as error:  # Whatever Keras raises.
        reason, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{path} cannot be read by Keras without its own code ({reason})"
        ) from error
    return of_model(loaded, str(path))


def _check_size(keras: Any, path: str) -> None:
    """Refuses a model that declares more numbers than the file holds, or too many for memory."""
    with zipfile.ZipFile(path) as archive:
        bounds.check_unpacked(path, archive.infolist())
        config = storage.parse_json(archive.read("config.json").decode())
        for member in archive.infolist():
            if member.filename.endswith(".h5"):
                _check_chunks(path, archive.read(member))
        stored = sum(each.file_size for each in archive.infolist())
    try:
        with keras.StatelessScope(initialize_variables=False):  # Shapes, and no weights.
            shapes = keras.saving.deserialize_keras_object(config, safe_mode=True)
        for layer in getattr(shapes, "layers", ()):
            sides = getattr(getattr(layer, "output", None), "shape", ())
            bounds.check_elements(path, [side for side in sides if side is not None])
        declared = sum(math.prod(each.shape) for each in shapes.variables)
    finally:
        keras.utils.clear_session(free_memory=False)  # Else Keras makes those weights later.
    if declared > stored:
        raise UserError(f"{path} declares {declared} weights, and holds {stored} bytes")


def _check_chunks(path: str, content: bytes) -> None:
    """Refuses weights of which HDF5 would unpack much more than is read."""
    import h5py

    def check(name: str, each: Any) -> None:
        chunks = getattr(each, "chunks", None)  # None of a group, and of what lies in one piece.
        if chunks and math.prod(chunks) > max(each.size, _CHUNK):
            raise UserError(f"{path} packs {each.size} weights in pieces of {math.prod(chunks)}")

    with h5py.File(io.BytesIO(content)) as file:
        file.visititems(check)


def of_model(loaded: Any, where: str) -> Imported:
    """Makes a function of a model in memory.

    Args:
      loaded: `keras.Model`, from pictures to vectors.
      where: What to call it in an error.

    Returns:
      The model.

    Raises:
      UserError: If it takes or returns anything else.
    """
    for what, found in (("takes", loaded.inputs), ("returns", loaded.outputs)):
        if len(found) != 1:
            raise UserError(f"{where} {what} {len(found)} arrays: a recognizer {what} one")
    sides = list(loaded.inputs[0].shape)
    model.check_batch(where, sides[0] if sides else None)
    params = {
        "trainable": [each.value for each in loaded.trainable_variables],
        "fixed": [_fixed(each) for each in loaded.non_trainable_variables],
    }
    first = model.channels_first(where, sides)
    apply_fn = functools.partial(_apply, where, loaded, first, sides[0] == 1)
    return Imported(apply_fn, params, model.image_shape(where, sides))


def _fixed(variable: Any) -> jax.Array:
    """Returns what does not train; for a random layer, which is at rest here, always the same.

    Such a layer keeps the state of a generator, which is another each time that Keras reads it.
    """
    state = variable.name == "seed_generator_state"
    return jnp.zeros_like(variable.value) if state else variable.value


def _apply(
    where: str, loaded: Any, first: bool, single: bool, params: Mapping[str, Any], images: jax.Array
) -> jax.Array:
    """Evaluates the model on pictures whose channels are last."""

    def batch(pictures: jax.Array) -> jax.Array:
        given = pictures.transpose(0, 3, 1, 2) if first else pictures
        result, _ = loaded.stateless_call(
            params["trainable"], params["fixed"], given, training=False
        )
        return model.vectors(where, result)

    return jax.vmap(lambda each: batch(each[None])[0])(images) if single else batch(images)


def _keras() -> Any:
    """Imports Keras with its JAX backend, which it takes from the environment once."""
    before = os.environ.get(_BACKEND)
    if "keras" not in sys.modules:
        os.environ[_BACKEND] = "jax"
    try:
        import keras
    except ImportError as error:
        raise MissingError(
            f"a model of Keras needs the package keras: {packages.hint('keras')}"
        ) from error
    finally:
        if before is None:
            os.environ.pop(_BACKEND, None)
        else:
            os.environ[_BACKEND] = before
    if keras.config.backend() != "jax":
        raise UserError(
            f"Keras runs on {keras.config.backend()} in this process: set {_BACKEND}=jax before it "
            "is imported"
        )
    return keras
