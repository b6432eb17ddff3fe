"""Graphs of ONNX of one node each, and what they are shown."""

import itertools
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from mia_jax.recognizer.importers.operations import OPERATIONS

DRAW = np.random.default_rng(0)
F = np.float32
X = (2 * DRAW.random((2, 4, 6, 6), F) - 1).round(3)  # As ONNX has it.
TIED = (4 * X).round()
POSITIVE = np.abs(X) + F(0.1)
FLAG = X > 0
WHOLE = (10 * X).astype(np.int64)
PER_CHANNEL = np.linspace(0.5, 1.5, 4, dtype=F)
COLUMN = PER_CHANNEL.reshape(4, 1, 1)

ROI = np.zeros(0, F)  # Not used, and required by opset 11.


def i64(*numbers):
    return np.array(numbers, np.int64)


class Case(NamedTuple):
    """A node: its first input is traced as a picture; what comes after is constant.

    With `static`, all of them are constant, so that the package onnx computes it.
    """

    kind: str
    inputs: tuple
    attributes: dict
    opsets: tuple = ()
    outputs: int = 1
    static: bool = True


def versions(kind):
    """The opsets that brought a version of the operation, or had one when they are read: 7."""
    return tuple(dict.fromkeys(max(each, 7) for each in sorted(OPERATIONS[kind].versions)))


def over(kind, *inputs, opsets=(), outputs=1, static=True, **attributes):
    """Cases of every combination of the listed values."""
    for values in itertools.product(*attributes.values()):
        given = {k: v for k, v in zip(attributes, values, strict=True) if v is not None}
        yield Case(kind, inputs, given, opsets, outputs, static)


def model(case, opset, constant):
    """A graph of one node, after one that makes its first input of floats."""
    arrays = [np.asarray(each) if not isinstance(each, str) else None for each in case.inputs]
    names = ["" if array is None else f"in_{i}" for i, array in enumerate(arrays)]
    outputs = [f"out_{i}" for i in range(case.outputs)]
    kind = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
    nodes = [helper.make_node(case.kind, names, outputs, "node", **case.attributes)]
    given = []
    if not constant:
        nodes.insert(0, helper.make_node("Cast", ["image"], ["in_0"], "first", to=kind))
        sides = [None] * arrays[0].ndim
        given.append(helper.make_tensor_value_info("image", TensorProto.FLOAT, sides))
    weights = [
        numpy_helper.from_array(array, name)
        for array, name in zip(arrays, names, strict=True)
        if array is not None and (constant or name != "in_0")
    ]
    made = [helper.make_empty_tensor_value_info(name) for name in outputs]
    graph = helper.make_graph(nodes, "one", given, made, weights)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def label(case):
    return f"{case.kind}-{'-'.join(f'{k}={v}' for k, v in case.attributes.items())}"
