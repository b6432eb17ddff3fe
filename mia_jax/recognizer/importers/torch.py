"""Models of PyTorch, as functions of JAX: programs of torch.export, and modules with their state.

A module is exported first, so that both go one way: PyTorch's own exporter writes the program as
ONNX, in memory, and `onnx` reads it, with everything that makes it fast on CPU. torchax would go
the direct way, but its last release, 0.0.13, cannot be imported beside PyTorch 2.13, which has no
named tensors. Nothing that is pickled is read, and a program is looked at by `programs` before
torch sees it.

PyTorch's own words stay here: they are long, colored, and advise to load what is pickled. What a
user's module says of itself is passed on.
"""

import contextlib
import io
import logging
import os
import pathlib
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mia_jax.recognizer.importers import onnx, programs
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import bounds, packages
from mia_jax.runtime.asking import describe
from mia_jax.runtime.errors import MissingError, UserError, list_some


def _torch() -> Any:
    """Imports PyTorch, if onnxscript, by which it writes ONNX, is there too."""
    try:
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise MissingError(
            f"a model of PyTorch needs the packages torch and onnxscript: {packages.hint('torch')}"
        ) from error
    return torch


def load(path: str | os.PathLike[str], output: str | None = None, trust: bool = False) -> Imported:
    """Reads a program that `torch.export.save` wrote.

    Args:
      path: The file, which ends in .pt2.
      output: Not used: a program of several outputs is refused.
      trust: Whether PyTorch may read the file as it is, and run what is in it.

    Returns:
      The model.

    Raises:
      MissingError: If the file, torch or onnxscript are missing.
      UserError: If the file is damaged, holds what may run, or is no program of pictures.
    """
    del output
    source = path if trust else programs.copied(path)
    torch = _torch()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    with _in_our_words(
        f"{path} is no whole program of torch.export, or of a release that PyTorch "
        f"{torch.__version__} cannot read: export it anew, or to ONNX"
    ):
        program = torch.export.load(source)
    return of_program(program, str(path))


def of_module(module: Any, image_shape: Sequence[int], where: str) -> Imported:
    """Makes a function of a `torch.nn.Module`, in evaluation mode.

    Args:
      module: The module, from `[n, channels, height, width]` to `[n, outputs]`.
      image_shape: Height, width and channels.
      where: What to call it in an error.

    Returns:
      The model.

    Raises:
      UserError: If the module fails, or `torch.export` cannot follow it.
    """
    torch = _torch()
    height, width, channels = image_shape
    module = module.eval()
    while isinstance(module, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        module = module.module
    example = (torch.zeros(2, channels, height, width),)
    dynamic = ({0: torch.export.Dim("n")},)
    pictures = f"pictures of {height}x{width}x{channels}"
    try:
        with _quiet(), torch.no_grad():
            module(*example)
    except Exception as error:  # Whatever the user's module raises.
        raise UserError(f"{where} fails on {pictures}: {describe(error)}") from error
    with _in_our_words(
        f"{where} answers {pictures}, but torch.export cannot follow it for any number of them, as "
        "where it looks at values or at the size of the batch: export it yourself, with "
        "torch.export or to ONNX"
    ):
        program = torch.export.export(module, example, dynamic_shapes=dynamic)
    return of_program(program, where)


def of_program(program: Any, where: str) -> Imported:
    """Makes a function of a program in memory, by way of ONNX.

    Args:
      program: `torch.export.ExportedProgram`.
      where: What to call it in an error.

    Returns:
      The model. Its weights are the program's, with batch normalization folded into kernels.

    Raises:
      UserError: If it cannot be written as ONNX, or as `importers.onnx.convert`.
    """
    torch = _torch()
    with _in_our_words(
        f"{where} cannot be written as ONNX, which knows none of its operations or forms: write it "
        "of usual layers"
    ):
        written = torch.onnx.export(program, dynamo=True, verbose=False)
    return onnx.convert(written.model_proto, where)


@contextlib.contextmanager
def _in_our_words(sentence: str) -> Iterator[None]:
    """Says a sentence instead of whatever PyTorch raises, with the kind of error alone."""
    try:
        with _quiet():
            yield
    except Exception as error:  # Of torch, onnxscript or sympy: each has their own.
        raise UserError(f"{sentence} ({type(error).__name__})") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps PyTorch from advice, and from printing graphs and packages that it does without."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads weights by name, from safetensors or from what `torch.save` wrote of a state_dict.

    Where a training script saved more than the weights, the one state_dict in it is taken.

    Args:
      path: The file: .safetensors, .pt or .pth.

    Returns:
      Tensors by name.

    Raises:
      MissingError: If the file or torch are missing.
      UserError: If it holds anything that is pickled, no state_dict, or several.
    """
    torch = _torch()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of weights")
    if pathlib.Path(path).suffix == ".safetensors":
        from safetensors.torch import load_file

        with _in_our_words(f"{path} is no whole file of safetensors"):
            return load_file(path)
    if zipfile.is_zipfile(path):
        with _in_our_words(f"{path} is no whole file"), zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        bounds.check_unpacked(str(path), members)
    with _in_our_words(
        f"{path} holds no plain tensors, or is no whole file: save the state_dict of the model, "
        "not the model, or use safetensors"
    ):
        state = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(state, Mapping):
        raise UserError(f"{path} is no state_dict: tensors by name are needed")
    if _is_state(torch, state):
        return dict(state)
    within = {f"{name}": each for name, each in state.items() if _is_state(torch, each)}
    if len(within) > 1 and within.keys() & {"state_dict"}:
        within = {"state_dict": within["state_dict"]}
    if len(within) != 1:
        found = f"several of them, {list_some([*within])}" if within else "none"
        raise UserError(
            f"{path} is no state_dict, tensors by name, and holds {found}: save the one of the "
            "model alone"
        )
    return dict(*within.values())


def _is_state(torch: Any, value: Any) -> bool:
    """Tells whether something is tensors by name."""
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and torch.is_tensor(v) for k, v in value.items())
    )


def fill(module: Any, path: str | os.PathLike[str], where: str) -> Any:
    """Gives a module the weights of a file.

    What wraps a module while it is trained, such as `DataParallel`, puts the same word before all
    names: where they fit without it, or with it, they are taken so.

    Args:
      module: The module.
      path: As for `read_state`.
      where: What to call it in an error.

    Returns:
      The module.

    Raises:
      UserError: If names or shapes do not fit, naming which.
    """
    own = module.state_dict()
    state = _renamed(read_state(path), own)
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    lacking = sorted(own.keys() - state.keys() - counters)  # Files of old releases count nothing.
    unknown = sorted(state.keys() - own.keys())
    shapes = [
        f"{name} ({_shape(state[name])} for {_shape(own[name])})"
        for name in own
        if name in state and _shape(state[name]) != _shape(own[name])
    ]
    faults = {"lacks": lacking, "has more than it, such as": unknown, "has other shapes": shapes}
    said = [f"{what} {list_some(names)}" for what, names in faults.items() if names]
    if said:
        raise UserError(f"{path} does not fit {where}: it {'; it '.join(said)}")
    with _in_our_words(f"{path} does not fit {where}"):
        module.load_state_dict(state, strict=False)  # But for counters, names are the same.
    return module


def _renamed(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Takes off what stands before all names, or puts it there, where more are a module's then."""
    ways = [
        {f"{before}{name.removeprefix(prefix)}": each for name, each in state.items()}
        for before in ["", *_prefixes(own)]
        for prefix in ["", *_prefixes(state)]
    ]
    return max(ways, key=lambda names: len(names.keys() & own.keys()))


def _prefixes(names: Iterable[str]) -> list[str]:
    """Lists what all names begin with, up to a dot, the shortest first."""
    listed = list(names)
    parts = listed[0].split(".")[:-1] if listed else []
    found = [".".join([*parts[: length + 1], ""]) for length in range(len(parts))]
    return [prefix for prefix in found if all(name.startswith(prefix) for name in listed)]


def _shape(tensor: Any) -> str:
    """Writes the shape of a tensor."""
    return "x".join(map(str, tensor.shape)) or "one number"


def is_module(value: Any) -> bool:
    """Tells whether something is a module of PyTorch, without importing PyTorch for that."""
    return any(kind.__module__.startswith("torch.nn.") for kind in type(value).__mro__)
