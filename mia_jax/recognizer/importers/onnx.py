"""Models in ONNX, as a function of JAX: the graph is evaluated node by node while it is traced.

Written here since nothing that is maintained does it: of jaxonnxruntime there is no release since
2023, and it lacks HardSwish, LpNormalization, Resize and more of what face networks use; jax2onnx
goes the other way. `operations` says what each operation computes.
"""

import functools
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mia_jax.recognizer.importers import external, model
from mia_jax.recognizer.importers.model import Imported
from mia_jax.recognizer.importers.operations import (
    ELEMENTWISE,
    OF_CHANNELS_LAST,
    OPERATIONS,
    REDUCTIONS,
    STATIC,
)
from mia_jax.runtime import packages
from mia_jax.runtime.errors import MissingError, UserError, list_some

_CHANNELS_LAST = (0, 2, 3, 1)
_CHANNELS_FIRST = (0, 3, 1, 2)


class Value(NamedTuple):
    """A value on its way through the graph.

    Attributes:
      array: The numbers.
      last: Whether the channels are last here, where ONNX has them second.
    """

    array: Any
    last: bool


class Node(NamedTuple):
    """A step of the graph.

    Attributes:
      name: What the file calls it.
      operation: What it computes, by its name in `operations`.
      inputs: Names of values, "" for one left out.
      outputs: Names of values.
      attributes: Its own, and "opset", the version of the operations, and "outputs", their number.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


class Graph(NamedTuple):
    """A model as it is evaluated.

    Attributes:
      where: What to call it in an error.
      nodes: The steps, in order.
      constants: Integers, and what shapes follow from, by name.
      images: The name of the pictures.
      first: Whether the pictures' channels come second.
      output: The name of the output.
      single: Whether the model takes but one picture at a time.
    """

    where: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, np.ndarray]
    images: str
    first: bool
    output: str
    single: bool


def load(path: str | os.PathLike[str], output: str | None = None, trust: bool = False) -> Imported:
    """Reads a model.

    Args:
      path: The file.
      output: The name of the output to take, where there are several.
      trust: Not used: nothing in such a file runs.

    Returns:
      The model. Its weights are the file's, by name; kernels are turned so that features are last.

    Raises:
      MissingError: If the file or the package onnx is missing.
      UserError: If the file is damaged, does not take pictures, has several outputs of which none
        is named, or uses what is not supported.
    """
    del trust
    return convert(_read(path), str(path), output)


def _onnx() -> Any:
    """Imports the package."""
    try:
        import onnx
    except ImportError as error:
        raise MissingError(
            f"a model in ONNX needs the package onnx: {packages.hint('onnx')}"
        ) from error
    return onnx


def _read(path: str | os.PathLike[str]) -> Any:
    """Reads a file, with the weights that lie beside it."""
    onnx = _onnx()
    if not pathlib.Path(path).is_file():
        raise MissingError(f"{path} does not exist: name a file of a model")
    try:
        proto = onnx.load(path, load_external_data=False)
        external.check(proto, path)
        onnx.load_external_data_for_model(proto, str(pathlib.Path(path).parent))
        for output in proto.graph.output:  # Only the checker wants to know their shape.
            output.type.tensor_type.shape.SetInParent()
        onnx.checker.check_model(proto)
    except UserError:
        raise
    except Exception as error:  # protobuf, onnx and the file system each have their own.
        reason, *_ = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(f"{path} is no whole ONNX model ({reason})") from error
    return proto


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
    helper = _onnx().numpy_helper
    weights = {each.name: helper.to_array(each) for each in proto.graph.initializer}
    nodes = _nodes(proto, weights)
    _check_operations(where, nodes)
    image = _pictures(where, [each for each in proto.graph.input if each.name not in weights])
    sides = _sides(image)
    model.check_batch(where, sides[0] if sides else None)
    shape = model.image_shape(where, sides)
    nodes, params, constants = _divided(nodes, weights)
    graph = Graph(
        where=where,
        nodes=nodes,
        constants=constants,
        images=image.name,
        first=model.channels_first(where, sides),
        output=_chosen(where, [each.name for each in proto.graph.output], output),
        single=sides[0] == 1,
    )
    return Imported(functools.partial(_apply, graph), params, shape)


def _nodes(proto: Any, weights: dict[str, np.ndarray]) -> tuple[Node, ...]:
    """Reads the steps; constants become weights."""
    opset = max([each.version for each in proto.opset_import if each.domain in ("", "ai.onnx")])
    nodes = []
    for number, each in enumerate(proto.graph.node):
        attributes = {a.name: _attribute(a) for a in each.attribute}
        facts = {**attributes, "opset": opset, "outputs": len(each.output)}
        if each.op_type == "Constant" and set(attributes) <= {
            *("value", "value_float", "value_floats", "value_int", "value_ints")
        }:
            weights[each.output[0]] = OPERATIONS["Constant"](facts)
            continue
        kind = each.op_type if each.domain in ("", "ai.onnx") else f"{each.domain}.{each.op_type}"
        name = each.name or f"number {number}"
        nodes.append(Node(name, kind, tuple(each.input), tuple(each.output), facts))
    return tuple(nodes)


def _attribute(attribute: Any) -> Any:
    """Reads an attribute."""
    onnx = _onnx()
    value = onnx.helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return onnx.numpy_helper.to_array(value)
    return value


def _check_operations(where: str, nodes: Sequence[Node]) -> None:
    """Refuses what is not supported, naming each operation and a node of it."""
    missing = {
        each.operation: each.name
        for each in reversed(nodes)
        if each.operation not in OPERATIONS and each.operation not in OF_CHANNELS_LAST
    }
    if missing:
        named = [f"{kind} (node {name})" for kind, name in sorted(missing.items())]
        raise UserError(
            f"{where} uses operations that are not supported: {list_some(named)}; export the "
            "model without them, or give it as a Python function, --model=module:function"
        )


def _pictures(where: str, inputs: Sequence[Any]) -> Any:
    """Returns the only input."""
    if len(inputs) != 1:
        named = list_some([each.name for each in inputs]) or "none"
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


def _divided(
    nodes: Sequence[Node], weights: Mapping[str, np.ndarray]
) -> tuple[tuple[Node, ...], dict[str, jax.Array], dict[str, np.ndarray]]:
    """Tells weights that a gradient may know from what shapes follow from; turns kernels."""
    params: dict[str, jax.Array] = {}
    constants: dict[str, np.ndarray] = {}
    renamed = []
    for node in nodes:
        names = list(node.inputs)
        for place, name in enumerate(names):
            if name not in weights:
                continue
            array, static = weights[name], place in STATIC.get(node.operation, ())
            if static or not np.issubdtype(array.dtype, np.floating):
                names[place] = f"{name} as a constant"
                constants[names[place]] = array
            elif node.operation == "Conv" and place == 1 and array.ndim == 4:
                names[place] = f"{name} as a kernel"
                params[names[place]] = jnp.asarray(array.transpose(2, 3, 1, 0))
            else:
                params[name] = jnp.asarray(array)
        renamed.append(node._replace(inputs=tuple(names)))
    return tuple(renamed), params, constants


def _apply(graph: Graph, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
    """Evaluates the model on pictures whose channels are last."""
    if graph.single:
        return jax.vmap(lambda image: _evaluate(graph, params, image[None])[0])(images)
    return _evaluate(graph, params, images)


def _evaluate(graph: Graph, params: Mapping[str, Any], images: jax.Array) -> jax.Array:
    """Evaluates the graph."""
    values = {name: Value(array, False) for name, array in {**graph.constants, **params}.items()}
    values[graph.images] = Value(images, graph.first)
    uses = {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
    for number, node in enumerate(graph.nodes):
        given = [values[name] if name else None for name in node.inputs]
        try:
            results = _step(node, given)
        except UserError as error:
            raise UserError(
                f"{graph.where}: the node {node.name} ({node.operation}) is not supported: {error}"
            ) from None
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            reason, *_ = str(error).splitlines() or [type(error).__name__]
            raise UserError(
                f"{graph.where}: the node {node.name} ({node.operation}) cannot be evaluated on "
                f"pictures of shape {model.spell(images.shape[1:])}: {reason}"
            ) from error
        values.update(zip(node.outputs, results, strict=False))
        for name in {*node.inputs}:  # What nobody uses any more need not be kept.
            if uses[name] == number and name != graph.output:
                values.pop(name, None)
    return model.vectors(graph.where, _plain(values[graph.output]))


def _step(node: Node, given: Sequence[Any]) -> list[Value]:
    """Evaluates a node, in the order of axes that suits it; its inputs are values, or None."""
    kind, attributes = node.operation, node.attributes
    first: Any = given[0] if given else None
    if kind in OF_CHANNELS_LAST:
        arrays = [_last(first), *[_optional(each) for each in given[1:]]]
        if kind == "Conv" and not node.inputs[1].endswith(" as a kernel"):
            arrays[1] = arrays[1].transpose(2, 3, 1, 0)
        result = OF_CHANNELS_LAST[kind](attributes, *arrays)
        return [Value(result, result.ndim > 2)]
    if first is not None and kind == "Transpose" and first.array.ndim == 4:
        order = tuple(attributes.get("perm", (3, 2, 1, 0)))
        if first.last and order == _CHANNELS_LAST:
            return [Value(first.array, False)]
        if not first.last and order == _CHANNELS_FIRST:
            return [Value(first.array, True)]
    if any(each is not None and each.last for each in given):
        if kind in ELEMENTWISE:
            rank = max(each.array.ndim for each in given if each is not None)
            arrays = [None if each is None else _spread(each, rank) for each in given]
            return [Value(ELEMENTWISE[kind](attributes, *arrays), True)]
        if kind == "Concat":
            rank = first.array.ndim
            axis = _moved(attributes["axis"], rank)
            arrays = [_last(each) for each in given]
            return [Value(OPERATIONS[kind]({**attributes, "axis": axis}, *arrays), True)]
        if kind in REDUCTIONS:
            return [_reduced(kind, attributes, given)]
    result = OPERATIONS[kind](attributes, *[None if v is None else _plain(v) for v in given])
    return [Value(each, False) for each in (result if isinstance(result, tuple) else (result,))]


def _reduced(kind: str, attributes: Mapping[str, Any], given: Sequence[Any]) -> Value:
    """Reduces a picture over some axes."""
    x = given[0]
    named = attributes.get("axes", given[1].array if len(given) > 1 and given[1] else None)
    rank = x.array.ndim
    axes = None if named is None else {int(axis) % rank for axis in np.ravel(named)}
    keep = bool(attributes.get("keepdims", 1))
    if axes and (keep or axes == {*range(2, rank)}):
        facts = {**attributes, "axes": [_moved(axis, rank) for axis in axes]}
        return Value(REDUCTIONS[kind](facts, x.array), keep)
    arrays = [None if each is None else _plain(each) for each in given]
    return Value(REDUCTIONS[kind](attributes, *arrays), False)


def _moved(axis: int, rank: int) -> int:
    """Says where an axis of ONNX is while channels are last."""
    place = axis % rank
    return place if place == 0 else (place - 2) % (rank - 1) + 1


def _optional(value: Value | None) -> Any:
    """Returns the numbers of an input that may be left out."""
    return None if value is None else _plain(value)


def _last(value: Value) -> Any:
    """Returns the numbers with channels last."""
    return value.array if value.last else jnp.moveaxis(value.array, 1, -1)


def _plain(value: Value) -> Any:
    """Returns the numbers as ONNX has them."""
    return jnp.moveaxis(value.array, -1, 1) if value.last else value.array


def _spread(value: Value, rank: int) -> Any:
    """Returns the numbers with channels last, to be combined with an array of so many axes."""
    array = value.array
    if value.last or array.ndim == 0:
        return array
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    return array.transpose(0, *range(2, rank), 1)
