"""Models in ONNX, as a function of JAX: the graph is evaluated node by node while it is traced.

Written here since nothing that is maintained does it: of jaxonnxruntime there is no release since
2023, and it lacks HardSwish, LpNormalization, Resize and more of what face networks use; jax2onnx
goes the other way. `onnx_files` reads the file, `onnx_tidy` makes the graph plain with what the
package onnx has for that, `onnx_graphs` tells weights from constants and computes what follows from
constants alone, `onnx_evaluation` evaluates the rest, and `operations` says what each operation
computes.
"""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax

from mia_jax.recognizer.importers import (
    model,
    onnx_evaluation,
    onnx_files,
    onnx_graphs,
    onnx_tidy,
)
from mia_jax.recognizer.importers.model import Imported
from mia_jax.recognizer.importers.onnx_graphs import Steps
from mia_jax.runtime.errors import UserError, list_some


class Graph(NamedTuple):
    """A model as it is evaluated.

    Attributes:
      where: What to call it in an error.
      steps: What is computed.
      images: The name of the pictures, and whether their channels come second.
      single: Whether the model takes but one picture at a time.
    """

    where: str
    steps: Steps
    images: tuple[str, bool]
    single: bool


def load(path: str | os.PathLike[str], output: str | None = None, trust: bool = False) -> Imported:
    """Reads a model.

    Args:
      path: The file.
      output: The name of the output to take, where there are several.
      trust: Not used: nothing in such a file runs.

    Returns:
      The model. Its weights are the file's, by name, as float32; kernels are turned so that
      features are last, and what follows from weights alone is computed.

    Raises:
      MissingError: If the file or the package onnx is missing.
      UserError: If the file is damaged, does not take pictures, has several outputs of which none
        is named, uses what is not supported, or asks for too much memory.
    """
    return convert(onnx_files.read(path), str(path), output)


def convert(proto: Any, where: str, output: str | None = None) -> Imported:
    """Makes a function of a model in memory.

    Args:
      proto: `onnx.ModelProto`.
      where: What to call it in an error.
      output: The name of the output to take, where there are several.

    Returns:
      The model.

    Raises:
      UserError: As `load`.
    """
    onnx_files.package()
    wanted = _chosen(where, [each.name for each in proto.graph.output], output)
    try:
        proto = onnx_tidy.inlined(proto)
        onnx_tidy.sort(proto.graph)
        nodes, names = onnx_tidy.needed(proto.graph.node, wanted)
        _check_names(proto.graph, nodes, names)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    own = {each.name for each in proto.graph.initializer}
    image = _pictures(
        where, [each for each in proto.graph.input if each.name in names - own], wanted
    )
    sides = _sides(image)
    model.check_batch(where, sides[0] if sides else None)
    shape = model.image_shape(where, sides)
    try:
        steps = onnx_graphs.read(proto, nodes, image.name, wanted)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    graph = Graph(
        where=where,
        steps=steps,
        images=(image.name, model.channels_first(where, sides)),
        single=sides[0] == 1,
    )
    return Imported(functools.partial(_apply, graph), steps.params, shape)


def _check_names(graph: Any, nodes: Sequence[Any], names: set[str]) -> None:
    """Refuses a graph that reads what nothing writes."""
    there = onnx_tidy.defined(graph)
    missing = sorted(names - there)
    if missing:
        reader = next((n.name or n.op_type for n in nodes if missing[0] in onnx_tidy.reads(n)), "")
        raise UserError(f"{reader or 'its output'} reads {missing[0]}, which nothing writes")


def _pictures(where: str, inputs: Sequence[Any], output: str) -> Any:
    """Returns the only input that is read."""
    if not inputs:
        raise UserError(f"{where}: its output {output} does not depend on the pictures")
    if len(inputs) != 1:
        named = list_some([each.name for each in inputs])
        raise UserError(f"{where} takes {len(inputs)} inputs ({named}): a recognizer takes one")
    return inputs[0]


def _sides(value: Any) -> list[int | None]:
    """Reads the shape of an input; None for sides that are left open."""
    sides = value.type.tensor_type.shape.dim
    return [int(side.dim_value) if side.dim_value > 0 else None for side in sides]


def _chosen(where: str, outputs: Sequence[str], wanted: str | None) -> str:
    """Returns the output that is asked for, or the only one."""
    if wanted is None and len(outputs) == 1:
        return outputs[0]
    if wanted is None or wanted not in outputs:
        said = f"--output={wanted} is none of them" if wanted else "name one as --output"
        raise UserError(f"{where} has the outputs {list_some(outputs)}: {said}")
    return wanted


def _apply(graph: Graph, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
    """Evaluates the model on pictures whose channels are last."""

    def evaluate(pictures: Any) -> jax.Array:
        return onnx_evaluation.evaluate(graph.where, graph.steps, graph.images, params, pictures)

    if graph.steps.blocked is not None:
        images = _without_gradient(graph.where, graph.steps.blocked)(images)
    if not graph.single:
        result = evaluate(images)
        if result.ndim > 1 and result.shape[0] == len(images):
            return model.vectors(graph.where, result)

    # The graph takes one picture at a time, or makes of several something that is not theirs.
    def of_one(image: Any) -> jax.Array:
        result = evaluate(image[None])
        whole = result[None] if result.ndim == 1 else result  # Its axis of one may be squeezed.
        if len(whole) != 1:
            raise UserError(
                f"{graph.where} returns {model.spell(result.shape)} for one picture where a "
                "recognizer returns [1, classes] or [1, features]"
            )
        return model.vectors(graph.where, whole)[0]

    return jax.vmap(of_one)(images)


def _without_gradient(where: str, blocked: str) -> Callable[[jax.Array], jax.Array]:
    """Makes a function that passes pictures, and says why no gradient will reach them."""

    @jax.custom_jvp
    def same(x: jax.Array) -> jax.Array:
        return x

    @same.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise UserError(
            f"{where} has no gradient with respect to the image: its node {blocked} has none, and "
            "everything goes through it (attack it by asking: scenario confidences)"
        )

    return same
