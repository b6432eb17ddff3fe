"""Every operation of ONNX over its attributes and opsets, as graphs of one node each."""

import numpy as np
import onnx_sweep_pictures
from onnx import numpy_helper
from onnx_cases import (
    COLUMN,
    DRAW,
    FLAG,
    PER_CHANNEL,
    POSITIVE,
    TIED,
    WHOLE,
    F,
    X,
    i64,
    over,
    versions,
)

from mia_jax.recognizer.importers.operations import OPERATIONS

UNARY = (  # Of any numbers.
    "Abs",
    "Ceil",
    "Cos",
    "Elu",
    "Erf",
    "Exp",
    "Floor",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Relu",
    "Round",
    "Selu",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Cosh",
    "Softplus",
    "Softsign",
    "Tan",
    "Tanh",
    "Atan",
    "Asinh",
    "Celu",
    "ThresholdedRelu",
    "IsNaN",
    "IsInf",
    "Swish",
    "Gelu",
    "Shrink",
    "Acos",
    "Asin",
    "Atanh",
)
ALPHAS = ("Elu", "LeakyRelu", "Celu", "ThresholdedRelu", "Swish")
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean")
COMPARE = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual")
REDUCE = [kind for kind in OPERATIONS if kind.startswith("Reduce")]


def elementwise():
    for kind in UNARY:
        yield from over(kind, X)
    for kind in ALPHAS:
        yield from over(kind, X, alpha=[0.3, 1.5])
    yield from over("Selu", X, alpha=[1.2], gamma=[0.7])
    yield from over("HardSigmoid", X, alpha=[0.3], beta=[0.4])
    yield from over("Gelu", X, approximate=["tanh"])
    yield from over("Shrink", X, lambd=[0.3], bias=[0.1])
    ends = np.where(np.abs(X) > 0.5, np.copysign(F(np.inf), X), X)
    yield from over("IsInf", ends, detect_negative=[0, 1], detect_positive=[0, 1])
    for kind in ("Log", "Sqrt", "Reciprocal"):
        yield from over(kind, POSITIVE)
    yield from over("Acosh", 1 + POSITIVE)
    for kind in BINARY:
        for other in (COLUMN, F(0.7), X[:, :1] + 2, np.stack([COLUMN, 2 * COLUMN])[:, None]):
            # Before opset 8, some take arrays of one shape only.
            yield from over(
                kind, X, np.asarray(other, F), opsets=[max(v, 8) for v in versions(kind)]
            )
        yield from over(kind, X, 2 * X + 3, opsets=[7])
    for kind in ("Add", "Sub", "Mul"):
        yield from over(kind, WHOLE, i64(3))
    yield from over("Div", WHOLE, i64(3))
    yield from over("Pow", POSITIVE, F([2.5]))
    yield from over("Pow", X, F([2]))
    yield from over("Pow", WHOLE, F([2]), opsets=(12, 13, 15))
    for kind in COMPARE:
        whole = [opset for opset in versions(kind) if opset != 7 or kind == "Equal"]
        yield from over(kind, WHOLE, i64(3), opsets=whole)
        if kind != "Equal":
            yield from over(kind, TIED, F([1]))
    yield from over("Equal", TIED, F([1]), opsets=(11, 13, 19))
    for kind in ("And", "Or", "Xor"):
        yield from over(kind, FLAG, FLAG[:1])
    yield from over("Not", FLAG)
    yield from over("Clip", X, opsets=(7,), min=[-0.3, None], max=[0.4, None])
    yield from over("Clip", X, np.array(-0.3, F), opsets=(11, 12, 13))
    yield from over("Clip", X, np.array(-0.3, F), np.array(0.4, F), opsets=(11, 12, 13))
    yield from over("Clip", X, "", np.array(0.4, F), opsets=(11, 12, 13))
    yield from over("Mod", X, F([0.4]), fmod=[1])
    yield from over("Mod", WHOLE, i64(3), fmod=[0, 1])
    yield from over("Mod", WHOLE, i64(-3), fmod=[0, 1])
    yield from over("PRelu", X, COLUMN)
    yield from over("PRelu", X, F([0.2]))
    yield from over("Dropout", X, opsets=(7, 10), ratio=[0.3])
    yield from over("Dropout", X, np.array(0.3, F), opsets=(12, 13, 22), outputs=2, seed=[None, 1])
    yield from over("Where", FLAG, X, F([0]))
    for to in (1, 10, 11, 6, 7, 9, 2, 3, 5):
        yield from over("Cast", 3 * POSITIVE, to=[to])
        yield from over("Cast", np.abs(WHOLE), to=[to])
    yield from over("CastLike", 3 * X, i64(1), opsets=(15, 19, 21, 23, 24, 25))


def shapes():
    yield from over("Concat", X, X[:, :1], axis=[1, -3])
    yield from over("Concat", X, X, axis=[0, 3], opsets=(7, 13))
    yield from over("Expand", X[:, :1], i64(2, 3, 1, 6))
    yield from over("Expand", X, i64(5, 1, 1, 1, 1))
    yield from over("Flatten", X, axis=[0, 1, 2, 4])
    yield from over("Flatten", X, opsets=(11, 13, 25), axis=[-1, -3])
    for mode in ("constant", "reflect", "edge"):
        pads = ([0, 0, 1, 2, 0, 1, 2, 0], [0, -1, 1, 2, 0, 0, -2, 1], [0, 0, -1, -1, 0, 0, -1, -1])
        pads = ([0, 0, 1, 2, 0, 0, 2, 0], *pads[1:]) if mode == "reflect" else pads
        yield from over(
            "Pad",
            X,
            opsets=(7,),
            pads=pads,
            mode=[mode],
            value=[None, 0.3] if mode == "constant" else [None],
        )
        for flat in pads:
            yield from over("Pad", X, i64(*flat), mode=[mode], opsets=(11, 13, 18, 23, 24, 25))
        yield from over("Pad", X, i64(1, 0, 0, 2), "", i64(-1, 1), mode=[mode], opsets=(18, 21))
    yield from over("Pad", X, i64(0, 0, 1, 2, 0, 1, 2, 0), np.array(0.3, F), opsets=(11, 18))
    yield from over("Pad", X, i64(0, 0, 1, 2, 0, 0, 2, 0), mode=["wrap"], opsets=(19, 21))
    yield from over("Reshape", X, i64(0, -1, 12))
    yield from over("Reshape", X, i64(2, 2, -1), opsets=(14, 25), allowzero=[0, 1])
    yield from over("Shape", X)
    yield from over("Shape", X, opsets=(15, 19, 25), start=[None, 1, -2], end=[None, 3, -1])
    yield from over("Size", X)
    yield from over("Slice", X, opsets=(7,), starts=[[1, -2]], ends=[[9, -1]], axes=[[2, 1]])
    yield from over("Slice", X, opsets=(7,), starts=[[0, 1]], ends=[[2, 3]])
    for cut in (
        ((-1, 1), (-9, 5), (3, 2), (-1, 2)),
        ((5, 0), (0, 99), (2, 3), (-2, 3)),
        ((-99, 2), (99, -1), (1, 2), (1, 1)),
        ((0,), (2**63 - 1,), (-1,), (4,)),
        ((-1,), (-(2**63) + 1,), (1,), (-1,)),
    ):
        yield from over("Slice", X, *(i64(*part) for part in cut), opsets=(10, 11, 13))
    yield from over("Split", X, opsets=(7, 11), outputs=2, axis=[1, 2], split=[None])
    yield from over("Split", X, opsets=(7, 11), outputs=2, axis=[1], split=[[1, 3]])
    yield from over("Split", X, i64(1, 3), opsets=(13, 18), outputs=2, axis=[1, -3])
    yield from over("Split", X, opsets=(13,), outputs=2, axis=[1, 3])
    yield from over("Split", X, opsets=(18,), outputs=4, axis=[2], num_outputs=[4])
    yield from over("Split", X, opsets=(18,), outputs=3, axis=[1], num_outputs=[3])
    yield from over("Squeeze", X[:, :1], opsets=(7,), axes=[[1], None])
    yield from over("Squeeze", X[:, :1], opsets=(11,), axes=[[-3]])
    yield from over("Squeeze", X[:, :1], i64(1), opsets=(13, 21, 23, 24, 25))
    yield from over("Squeeze", X[:, :1], opsets=(13, 21, 23, 24, 25))
    yield from over("Unsqueeze", X, opsets=(7,), axes=[[0, 3]])
    yield from over("Unsqueeze", X, opsets=(11,), axes=[[1, -1]])
    yield from over("Unsqueeze", X, i64(1, -1), opsets=(13, 21, 23, 24, 25))
    yield from over("Tile", X, i64(1, 2, 1, 3))
    yield from over("Transpose", X, perm=[None, [0, 2, 3, 1], [0, 3, 1, 2], [1, 0, 2, 3]])
    yield from over("Trilu", X, upper=[0, 1])
    yield from over("Trilu", X, np.array(1, np.int64), upper=[0, 1])
    for kind in ("DepthToSpace", "SpaceToDepth"):
        yield from over(kind, X, blocksize=[2], opsets=(7, 11, 13, 28))
    yield from over("DepthToSpace", X, blocksize=[2], mode=["CRD", "DCR"], opsets=(11, 13))
    yield from over("ConstantOfShape", i64(2, 3), value=[None, numpy_helper.from_array(i64(7))])
    yield from over("Range", *i64(3, 20, 4)[:, None].reshape(3), opsets=(11,))
    yield from over("Range", *F([1, 0, -0.3]), opsets=(11, 27))
    yield from over("NonZero", FLAG)
    yield from over("Compress", X, np.array([True, False, True]), axis=[1, None])
    yield from over("EyeLike", X[0, 0], k=[0, 1, -2])


def indexing():
    yield from over("Gather", X, i64(0, 2, -1).reshape(3, 1), axis=[1, 2, 3, -2])
    yield from over("Gather", X, np.array(1, np.int64), axis=[None, 1])
    inside = DRAW.integers(-2, 2, (2, 3, 6, 6))
    yield from over("GatherElements", X, inside, axis=[1, 3, -2], opsets=(11, 13))
    yield from over("GatherND", X, i64(0, 1, 1, -1).reshape(2, 2), opsets=(11, 12, 13))
    yield from over("GatherND", X, i64(0, 1, 1, 3).reshape(2, 2), batch_dims=[1], opsets=(12, 13))
    updates = DRAW.normal(size=(2, 3, 6, 6)).astype(F)
    place = np.stack([DRAW.permutation(4)[:3] for _ in range(72)], 0)
    place = place.reshape(2, 6, 6, 3).transpose(0, 3, 1, 2)
    yield from over("ScatterElements", X, place, updates, axis=[1, -3], opsets=(11, 13, 16, 18))
    points = i64(0, 1, 1, 2).reshape(2, 2)
    yield from over("ScatterND", X, points, X[:, 0], opsets=(11, 13, 16, 18))
    for how in ("add", "mul"):
        yield from over(
            "ScatterElements", X, inside, updates, axis=[1], reduction=[how], opsets=(16, 18)
        )
        yield from over("ScatterND", X, points, X[:, 0], reduction=[how], opsets=(16, 18))
    yield from over("ScatterND", X, points, X[:, 0], reduction=["max", "min"], opsets=(18,))
    yield from over(
        "OneHot",
        i64(0, 2, -1),
        np.array(4, np.int64),
        F([0.2, 0.9]),
        axis=[-1, 0, 1],
        opsets=(11, 28),
    )
    yield from over("OneHot", i64(0, 2), np.array(4, np.int64), F([0.2, 0.9]), opsets=(9,))
    yield from over("ArgMax", TIED, keepdims=[0, 1], axis=[None, 1, -1], opsets=(7, 11, 13))
    yield from over(
        "ArgMin", TIED, keepdims=[0, 1], axis=[1], opsets=(12, 13), select_last_index=[0, 1]
    )
    yield from over("ArgMin", TIED, opsets=(7, 11), axis=[2])
    yield from over("ArgMax", TIED, axis=[1], opsets=(12, 13), select_last_index=[1])
    yield from over("TopK", X, opsets=(7,), outputs=2, k=[2], axis=[None, 1])
    yield from over("TopK", X, i64(2), opsets=(10,), outputs=2, axis=[None, 1])
    yield from over(
        "TopK", TIED, i64(3), opsets=(11, 24), outputs=2, axis=[None, 1], largest=[0, 1]
    )
    for axis in (1, -1):
        yield from over("CumSum", X, np.array(axis, np.int64), exclusive=[0, 1], reverse=[0, 1])


def reductions():
    for kind in REDUCE:
        x = POSITIVE if "Log" in kind else X
        old = tuple(v for v in versions(kind) if v < (13 if kind == "ReduceSum" else 18))
        new = tuple(v for v in versions(kind) if v >= (13 if kind == "ReduceSum" else 18))
        yield from over(
            kind, x, opsets=old, axes=[None, [1], [2, 3], [-1, -2], [1, 2]], keepdims=[None, 0]
        )
        for axes in ((1,), (2, 3), (-1, 1), (0, 1, 2, 3)):
            yield from over(kind, x, i64(*axes), opsets=new, keepdims=[None, 0])
        yield from over(kind, x, opsets=new, keepdims=[None, 0], noop_with_empty_axes=[None, 1])


def linear():
    a, b, c = (DRAW.normal(size=s).astype(F) for s in ((3, 5), (5, 4), (3, 4)))
    yield from over("Gemm", a, b, c, static=False, alpha=[None, 0.5], beta=[None, 2.0])
    yield from over("Gemm", a.T.copy(), b.T.copy(), c[0], static=False, transA=[1], transB=[1])
    yield from over("Gemm", a, b, static=False, opsets=(11, 13))
    yield from over("MatMul", a, b, static=False)
    yield from over("MatMul", X, X[0, 0], static=False)
    yield from over("Einsum", a, b, static=False, equation=["ij,jk->ik", "ij,jk->ki", "ij,jk"])
    yield from over("Einsum", X, static=False, equation=["bchw->bhwc", "...w->...", "bcii->bc"])


def quantization():
    one, zero = np.array(0.03, F), np.array(3, np.int8)
    q = DRAW.integers(-128, 127, (2, 4, 6, 6)).astype(np.int8)
    for zeros in (zero, zero.astype(np.uint8)):
        yield from over("QuantizeLinear", X, one, zeros)
        yield from over(
            "QuantizeLinear",
            X,
            PER_CHANNEL / 90,
            np.full(4, zeros),
            axis=[1],
            opsets=(13, 19, 21, 25),
        )
    yield from over("QuantizeLinear", X, np.array(0.0041, F))
    yield from over(
        "QuantizeLinear", X, PER_CHANNEL / 90, np.zeros(4, np.int16), axis=[-3], opsets=(21, 25)
    )
    yield from over("DequantizeLinear", q, one, zero)
    yield from over("DequantizeLinear", q, one)
    yield from over(
        "DequantizeLinear",
        q,
        PER_CHANNEL,
        np.arange(4, dtype=np.int8),
        axis=[1],
        opsets=(13, 19, 21, 25),
    )
    scales = DRAW.uniform(0.01, 0.1, (2, 2, 6, 6)).astype(F)
    zeros = DRAW.integers(-9, 9, (2, 2, 6, 6)).astype(np.int8)
    yield from over("DequantizeLinear", q, scales, zeros, opsets=(21, 25), axis=[1], block_size=[2])
    yield from over("QuantizeLinear", X, scales, zeros, opsets=(21, 25), axis=[1], block_size=[2])


CASES = [
    case
    for family in (
        elementwise,
        onnx_sweep_pictures.windows,
        shapes,
        indexing,
        reductions,
        onnx_sweep_pictures.normalization,
        onnx_sweep_pictures.resizing,
        linear,
        quantization,
    )
    for case in family()
]
