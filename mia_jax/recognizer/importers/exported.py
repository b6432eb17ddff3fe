"""Archives of `jax.export`, as functions of JAX.

An archive has no rule for `vmap`, which the attack uses; but each picture of a batch is on its own,
so that another axis becomes part of the batch. It may call functions of the process by name, such
as Python's by a number, so that the names are looked at first.
"""

import functools
import os
import pathlib
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from mia_jax.recognizer.importers import model
from mia_jax.recognizer.importers.model import Imported
from mia_jax.runtime import bounds
from mia_jax.runtime.errors import MissingError, UserError, shorten

# What jax.export itself adds to a function; kernels of libraries are not among them.
_CALLED = ("Sharding", "SPMDFullToShardShape", "SPMDShardToFullShape", "shape_assertion")
_CALL = re.compile(r"custom_call(?: @([\w.]+)\()?")
# What waits for somebody else: a host, or another device.
_WAITING = re.compile(
    r"\b(?:stablehlo|mhlo)\."
    r"(infeed|outfeed|send|recv|all_reduce|all_gather|all_to_all|reduce_scatter|collective_\w+)\b"
)
_PATIENCE = 300  # Seconds, of which most archives take less than ten.
_MEMORY = 2**34  # Bytes that reading an archive, or compiling it, may take.
_WORKING = 2**32  # Bytes that evaluating it on one picture may take.
# Compiling runs nothing. Sides that are left open are one picture of 64 by 64 pixels.
_COMPILE = f"""
import pathlib, resource, sys
import jax
resource.setrlimit(resource.RLIMIT_DATA, ({_MEMORY}, {_MEMORY}))
def spec(aval, sides):
    shape = [side if isinstance(side, int) else open for side, open in zip(aval.shape, sides)]
    return jax.ShapeDtypeStruct(shape, aval.dtype)
try:
    exported = jax.export.deserialize(bytearray(pathlib.Path(sys.argv[1]).read_bytes()))
    exported.mlir_module()
    image, *_ = given = [spec(each, (1, 64, 64, 64)) for each in exported.in_avals]
    functions = [(exported.call, given)]
    if exported.has_vjp():
        exported.vjp().mlir_module()
        given = [*given, *jax.eval_shape(lambda *x: [exported.call(*x)], *given)]
        functions.append((exported.vjp().call, given))
    for function, given in functions:
        lowered = jax.jit(function).lower(*given)
        compiled = lowered.compile(compiler_options={{"xla_backend_optimization_level": 0}})
        print("needs", compiled.memory_analysis().temp_size_in_bytes)
except MemoryError:
    print("needs", {_MEMORY})
"""
_NEEDS = re.compile(r"^needs (\d+)$", re.MULTILINE)
_ARRAY = re.compile(r"tensor<((?:[0-9?]+x)+)")


def load(path: str | os.PathLike[str], output: str | None = None, trust: bool = False) -> Imported:
    """Reads an archive that holds weights and function: `images -> logits`.

    Args:
      path: The file, bytes of `jax.export.Exported.serialize(vjp_order=1)`.
      output: Not used.
      trust: Whether it may call whatever functions it names.

    Returns:
      The model; its weights are within the function, and `params` is empty.

    Raises:
      MissingError: If the file is missing.
      UserError: If it is damaged, takes anything but pictures, has no gradient, is not for this
        kind of device, or calls what is not known to be harmless.
    """
    del output
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    needed = 0 if trust else _memory(str(path))
    try:
        exported = jax.export.deserialize(bytearray(pathlib.Path(path).read_bytes()))
    except Exception as error:  # flatbuffers and jax each have their own.
        raise UserError(f"{path} is no whole archive of jax.export ({_line(error)})") from error
    if not trust:
        _check_calls(str(path), exported)
    if needed > _WORKING:
        raise UserError(
            f"{path} needs {needed} bytes of memory for one picture: at most {_WORKING} are given"
        )
    return of_exported(exported, str(path))


def _memory(path: str) -> int:
    """Lets another process compile the archive first, and say how many bytes it needs.

    jaxlib crashes on some that are damaged.
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-P", "-c", _COMPILE, path]
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{path} cannot be read within {_PATIENCE} seconds: export the model to ONNX"
        ) from None
    if done.returncode < 0:
        raise UserError(
            f"{path} is no whole archive of jax.export (jaxlib crashes on it): export it anew"
        )
    return max((int(each) for each in _NEEDS.findall(done.stdout)), default=0)


def _check_calls(path: str, exported: Any) -> None:
    """Refuses an archive whose function or gradient calls what may run code, or asks for much."""
    try:
        modules = [exported.mlir_module()]
        if exported.has_vjp():
            modules.append(exported.vjp().mlir_module())
    except Exception as error:  # Whatever jaxlib raises.
        raise UserError(f"{path} is no whole archive of jax.export ({_line(error)})") from error
    for text in modules:
        called = {found or "one without a name" for found in _CALL.findall(text)} - {*_CALLED}
        called |= set(_WAITING.findall(text))
        if called:
            raise UserError(
                f"{path} calls {shorten(min(called))}, which may run code: export a function of "
                "jax.numpy and jax.lax alone, or to ONNX, or say --trust_model if you know who "
                "made it"
            )
        for shape in {*_ARRAY.findall(text)}:
            sides = shape.removesuffix("x").split("x")
            bounds.check_elements(path, [int(side) for side in sides if side != "?"])


def _line(error: Exception) -> str:
    """Returns the first line of an error's message."""
    first, *_ = str(error).strip().splitlines() or [type(error).__name__]
    return shorten(first)


def of_exported(exported: Any, where: str) -> Imported:
    """Makes a function of an archive in memory.

    Args:
      exported: `jax.export.Exported`.
      where: What to call it in an error.

    Returns:
      The model.

    Raises:
      UserError: As `load`.
    """
    if len(exported.in_avals) != 1 or len(exported.out_avals) != 1:
        raise UserError(
            f"{where} takes {len(exported.in_avals)} arrays and returns "
            f"{len(exported.out_avals)}: export a function of pictures alone, its weights within"
        )
    if not exported.has_vjp():
        raise UserError(f"{where} has no gradient: write it with serialize(vjp_order=1)")
    backend = jax.default_backend()
    if backend not in exported.platforms:
        raise UserError(
            f"{where} is for {', '.join(exported.platforms)}, and this is {backend}: export it "
            f"with platforms=[..., {backend!r}]"
        )
    sides = [side if isinstance(side, int) else None for side in exported.in_avals[0].shape]
    model.check_batch(where, sides[0] if sides else None)
    first, single = model.channels_first(where, sides), sides[0] == 1
    call = _rows(exported.call, single)
    backward = _rows(lambda x, g: exported.vjp().call(x, g)[0], single)

    @jax.custom_vjp
    def outputs(images: jax.Array) -> jax.Array:
        return call(images)

    outputs.defvjp(lambda images: (call(images), images), lambda x, g: (backward(x, g),))
    apply_fn = functools.partial(_apply, where, outputs, first)
    return Imported(apply_fn, {}, model.image_shape(where, sides))


def _rows(function: Callable[..., Any], single: bool) -> Callable[..., Any]:
    """Gives a function of batches its rule for `vmap`: more rows, or one after the other."""

    def of_batch(*arrays: jax.Array) -> jax.Array:
        if single:
            return jax.lax.map(lambda rows: function(*[r[None] for r in rows])[0], arrays)
        return function(*arrays)

    batched = custom_vmap(of_batch)

    @batched.def_vmap
    def rule(size: int, which: list[bool], *arrays: jax.Array) -> tuple[jax.Array, bool]:
        whole = [
            a if is_batched else jnp.broadcast_to(a, (size, *a.shape))
            for a, is_batched in zip(arrays, which, strict=True)
        ]
        result = batched(*[a.reshape(-1, *a.shape[2:]) for a in whole])
        return result.reshape(size, -1, *result.shape[1:]), True

    return batched


def _apply(
    where: str,
    outputs: Callable[[jax.Array], jax.Array],
    first: bool,
    params: Mapping[str, Any],
    images: jax.Array,
) -> jax.Array:
    """Evaluates the archive on pictures whose channels are last."""
    del params
    return model.vectors(where, outputs(images.transpose(0, 3, 1, 2) if first else images))
