"""Models from elsewhere, as functions of JAX: ONNX, PyTorch, Keras, `jax.export`, Python.

Each importer returns an `Imported`: one function, its weights and the shape of its pictures.
"""

import os
import pathlib
from collections.abc import Callable, Mapping

import equinox
import jax
import numpy as np

from mia_jax.recognizer.importers import batches, exported, keras, onnx, torch
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime.errors import UserError, shorten

IMPORTERS: Mapping[str, Callable[..., Imported]] = {
    ".onnx": onnx.load,
    ".pt2": torch.load,
    ".keras": keras.load,
    ".jaxexport": exported.load,
}
_INSTEAD = {
    **dict.fromkeys(
        (".pt", ".pth", ".ckpt", ".bin", ".safetensors"),
        "it holds weights and no network: give the function that makes the module, "
        "--model=module:function --weights=FILE, or export the model with torch.export.save (.pt2) "
        "or torch.onnx.export (.onnx)",
    ),
    **dict.fromkeys(
        (".pkl", ".pickle", ".joblib"), "a pickle may run any code: export the model to ONNX"
    ),
    **dict.fromkeys((".h5", ".hdf5"), "save the model as .keras with Keras 3"),
    **dict.fromkeys((".pb", ".tflite"), "convert the model to ONNX, with tf2onnx"),
}


def load(
    path: str | os.PathLike[str],
    output: str | None = None,
    image_shape: tuple[int | None, int | None, int | None] = (None, None, None),
    *,
    trust: bool = False,
) -> Imported:
    """Reads a model of any kind that a file holds whole, by the end of its name.

    Two pictures are shown to it, and each alone: where that makes a difference, the model is shown
    one picture at a time from then on.

    Args:
      path: The file: .onnx, .pt2, .keras or .jaxexport.
      output: The name of the output to take, where a model in ONNX has several.
      image_shape: Height, width and channels of its pictures, where the file leaves them open;
        None for what is not known.
      trust: Whether what the file holds may run, such as operators and layers of its own; else it
        is refused.

    Returns:
      The model.

    Raises:
      MissingError: If the file or a package is missing.
      UserError: If the file is of another kind or damaged, the model uses what is not supported,
        its weights are not finite, or its answers depend on the pictures beside it.
    """
    kind = pathlib.Path(path).suffix.lower()
    if kind not in IMPORTERS:
        said = _INSTEAD.get(kind, f"models come as {', '.join(IMPORTERS)} or module:function")
        raise UserError(f"{path} is of no kind that is read here: {said}")
    try:
        imported = IMPORTERS[kind](path, output, trust)
        check_finite(imported, str(path))
        return batches.separate(imported, str(path), image_shape, bounded=not trust)
    except UserError:
        raise
    except Exception as error:  # Whatever those raise who evaluate what somebody else wrote.
        first, *_ = str(error).strip().splitlines() or [""]
        raise UserError(
            f"{path} cannot be evaluated ({type(error).__name__}: {shorten(first)})"
        ) from error


def check_finite(imported: Imported, where: str) -> None:
    """Refuses weights that are not finite.

    Args:
      imported: The model.
      where: What to call it.

    Raises:
      UserError: If some are not, naming the first.
    """
    arrays, _ = equinox.partition(imported.params, equinox.is_array_like)
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        array = np.asarray(leaf)
        if np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise UserError(
                f"{where} has weights that are not finite ({name}): its training failed, or the "
                "file is damaged"
            )


__all__ = ["IMPORTERS", "Imported", "check_finite", "load"]
