"""Every operation of ONNX, over its attributes and opsets, gives what onnxruntime gives."""

import functools
import itertools

import jax
import numpy as np
import onnx_cases
import onnx_sweep
import onnxruntime
import pytest
from onnx import defs, reference

from mia_jax.recognizer.importers import onnx_evaluation, onnx_graphs, onnx_static, onnx_tensors
from mia_jax.recognizer.importers.operations import OPERATIONS, complete

CASES = {
    kind: list(cases)
    for kind, cases in itertools.groupby(
        sorted(onnx_sweep.CASES, key=lambda case: case.kind), lambda case: case.kind
    )
}
TRACED = [
    kind
    for kind in CASES
    if OPERATIONS[kind].compute
    and not OPERATIONS[kind].of_shape
    and 0 not in OPERATIONS[kind].shaped
]
QUICK = {"xla_backend_optimization_level": 0}


def of_runtime(model, case):
    """What onnxruntime gives, or the package onnx where that has no such version or type."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    given = {each.name: np.asarray(case.inputs[0], np.float32) for each in model.graph.input}
    try:
        providers = ["CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers)
        return session.run(None, given)
    except onnxruntime.capi.onnxruntime_pybind11_state.NotImplemented:
        return reference.ReferenceEvaluator(model).run(None, given)


def of_pictures(model, case):
    """Functions of the first input that evaluate each output, in either order of axes."""
    for place in range(case.outputs):
        steps = onnx_graphs.read(model, list(model.graph.node), "image", f"out_{place}")
        yield functools.partial(evaluate, steps, False)
        if np.ndim(case.inputs[0]) > 2:
            yield functools.partial(evaluate, steps, True)


def evaluate(steps, last, x):
    given = jax.numpy.moveaxis(x, 1, -1) if last else x
    return onnx_evaluation.evaluate("", steps, ("image", last), steps.params, given)


def same(given, expected):
    given, expected = np.asarray(given), np.asarray(expected)
    if given.shape != expected.shape:
        return False
    # Numbers of 16 bits are computed with 32.
    near = (2e-3 if expected.dtype == np.float16 else 2e-4) * (
        1 + np.abs(expected[np.isfinite(expected)].astype(float)).max(initial=0)
    )
    return np.allclose(given.astype(float), expected.astype(float), 0, near, equal_nan=True)


@pytest.mark.parametrize("kind", TRACED)
def test_an_operation_gives_what_onnxruntime_gives(kind):
    evaluations, inputs, expected, labels = [], [], [], []
    for case in CASES[kind]:
        for opset in case.opsets or onnx_cases.versions(kind):
            model = onnx_cases.model(case, opset, constant=False)
            wanted = of_runtime(model, case)
            for number, function in enumerate(of_pictures(model, case)):
                ways = 2 if np.ndim(case.inputs[0]) > 2 else 1
                evaluations.append(function)
                inputs.append(np.asarray(case.inputs[0], np.float32))
                expected.append(wanted[number // ways])
                labels.append(f"{onnx_cases.label(case)} opset {opset} way {number % ways}")

    @jax.jit(compiler_options=QUICK)
    def all_of_them(arrays):
        return [function(x) for function, x in zip(evaluations, arrays, strict=True)]

    results = all_of_them(inputs)
    wrong = [
        f"{label}: {np.ravel(given)[:3]} for {np.ravel(right)[:3]}"
        for label, given, right in zip(labels, results, expected, strict=True)
        if not same(given, right)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("kind", [kind for kind in CASES if OPERATIONS[kind].folds])
def test_an_operation_on_constants_gives_what_onnxruntime_gives(kind):
    wrong = []
    for case in CASES[kind]:
        for opset in (case.opsets or onnx_cases.versions(kind)) if case.static else ():
            model = onnx_cases.model(case, opset, constant=True)
            schema = defs.get_schema(kind, opset, "")
            (node,) = model.graph.node
            own = {each.name: onnx_tensors.attribute_of(each) for each in node.attribute}
            facts = complete(kind, OPERATIONS[kind], own, opset, schema)
            facts |= {"opset": opset, "outputs": case.outputs}
            arrays = [None if isinstance(each, str) else np.asarray(each) for each in case.inputs]
            given = onnx_static.evaluate(kind, facts, node, arrays)
            for one, right in zip(given, of_runtime(model, case), strict=True):
                if not same(one, right):
                    wrong.append(f"{onnx_cases.label(case)} opset {opset}")
    assert not wrong, "\n".join(wrong)


def test_the_sweep_knows_every_operation_and_every_version_of_it():
    assert set(CASES) == set(OPERATIONS)
    there = {(each.name, each.since_version) for each in defs.get_all_schemas_with_history()}
    listed = {(kind, since) for kind, each in OPERATIONS.items() for since in each.versions}
    assert listed <= there
    for kind, cases in CASES.items():
        swept = {
            defs.get_schema(kind, opset, "").since_version
            for case in cases
            for opset in case.opsets or onnx_cases.versions(kind)
        }
        assert swept >= {v for v in OPERATIONS[kind].versions if v >= 7}, kind


def test_every_attribute_that_is_computed_is_one_of_the_specification():
    for kind, operation in OPERATIONS.items():
        known = {
            name
            for since in operation.versions
            for name in defs.get_schema(kind, since, "").attributes
        }
        assert set(operation.attributes) <= known, kind
