"""Every operation of ONNX over its attributes and opsets, as graphs of one node each."""

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


def windows():
    shared = {"strides": [None, [2, 1]], "dilations": [None, [2, 1]]}
    pads = [None, [1, 1, 1, 1], [0, 1, 1, 0]]
    yield from over(
        "MaxPool",
        X,
        opsets=(10, 11, 12, 22),
        static=False,
        kernel_shape=[[2, 2], [3, 3]],
        strides=[None, [2, 2]],
        dilations=[None, [2, 2]],
        ceil_mode=[0, 1],
        pads=[None, [1, 1, 1, 1]],
    )
    yield from over(
        "MaxPool",
        X,
        opsets=(7, 8, 12),
        static=False,
        kernel_shape=[[2, 3]],
        auto_pad=["SAME_UPPER", "SAME_LOWER", "VALID"],
        strides=[None, [2, 2]],
    )
    yield from over(
        "AveragePool",
        X,
        opsets=(7, 10, 11, 19, 22),
        static=False,
        kernel_shape=[[2, 2], [3, 3]],
        pads=[None, [1, 1, 1, 1]],
        count_include_pad=[0, 1],
        strides=[None, [2, 2]],
    )
    yield from over(
        "AveragePool",
        X,
        opsets=(19, 22),
        static=False,
        kernel_shape=[[2, 3]],
        ceil_mode=[0, 1],
        strides=[[2, 2]],
        dilations=[None, [2, 1]],
        count_include_pad=[0, 1],
    )
    yield from over(
        "AveragePool",
        X,
        opsets=(10, 19),
        static=False,
        kernel_shape=[[3, 3]],
        ceil_mode=[1],
        strides=[[2, 2]],
        pads=[[1, 1, 1, 1]],
        count_include_pad=[0, 1],
    )
    yield from over(
        "AveragePool",
        X,
        opsets=(7, 22),
        static=False,
        kernel_shape=[[3, 2]],
        auto_pad=["SAME_UPPER", "SAME_LOWER", "VALID"],
        strides=[None, [2, 2]],
    )
    yield from over(
        "LpPool",
        X,
        opsets=(7, 11, 18, 22),
        static=False,
        kernel_shape=[[2, 3]],
        p=[None, 1, 3],
        strides=[None, [2, 2]],
        pads=[None, [1, 1, 1, 1]],
    )
    for kind in ("GlobalAveragePool", "GlobalMaxPool"):
        yield from over(kind, X, static=False)
    yield from over("GlobalLpPool", X, static=False, p=[1, 2, 3])
    for groups in (1, 2):
        kernel = DRAW.normal(size=(4, 4 // groups, 3, 2)).astype(F)
        yield from over("Conv", X, kernel, static=False, group=[groups], pads=pads, **shared)
        yield from over(
            "Conv",
            X,
            kernel,
            PER_CHANNEL,
            static=False,
            group=[groups],
            auto_pad=["SAME_UPPER", "SAME_LOWER", "VALID"],
            strides=[None, [2, 2]],
        )
        up = DRAW.normal(size=(4, 4 // groups, 3, 2)).astype(F)
        yield from over(
            "ConvTranspose",
            X,
            up,
            static=False,
            group=[groups],
            pads=pads,
            output_padding=[None, [1, 0]],
            strides=[[2, 1], [2, 2]],
            dilations=[None, [2, 1]],
        )
        yield from over(
            "ConvTranspose",
            X,
            up,
            PER_CHANNEL[: 4 // groups * groups],
            static=False,
            group=[groups],
            auto_pad=["SAME_UPPER", "SAME_LOWER", "VALID"],
            strides=[None, [2, 2]],
        )
        yield from over(
            "ConvTranspose",
            X,
            up,
            static=False,
            group=[groups],
            strides=[[2, 2]],
            output_shape=[[12, 12], [11, 12]],
        )
    line, cube = DRAW.normal(size=(4, 4, 3)).astype(F), DRAW.normal(size=(4, 4, 2, 2, 2)).astype(F)
    yield from over("Conv", X[..., 0], line, static=False, pads=[[1, 1]], strides=[[2]])
    yield from over("Conv", np.stack([X, X], 4), cube, static=False, opsets=(11, 22))
    yield from over("ConvTranspose", X[..., 0], line, static=False, pads=[[1, 1]], strides=[[2]])
    grid = DRAW.uniform(-1.3, 1.3, (2, 5, 3, 2)).astype(F)
    for opsets, modes in (((16,), ("bilinear", "nearest")), ((20, 22), ("linear", "nearest"))):
        yield from over(
            "GridSample",
            X,
            grid,
            opsets=opsets,
            static=False,
            mode=modes,
            padding_mode=["zeros", "border", "reflection"],
            align_corners=[0, 1],
        )


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


def normalization():
    four = (PER_CHANNEL, PER_CHANNEL - 1, PER_CHANNEL - F(0.7), PER_CHANNEL + F(0.1))
    yield from over(
        "BatchNormalization", X, *four, static=False, epsilon=[None, 0.1], momentum=[None, 0.5]
    )
    yield from over("BatchNormalization", X[:, :, 0, 0], *four, static=False)
    yield from over("InstanceNormalization", X, *four[:2], static=False, epsilon=[None, 0.1])
    yield from over(
        "GroupNormalization",
        X,
        *four[:2],
        static=False,
        opsets=(21,),
        num_groups=[1, 2, 4],
        epsilon=[None, 0.1],
    )
    yield from over(
        "GroupNormalization",
        X,
        *(f[:2] for f in four[:2]),
        static=False,
        opsets=(18,),
        num_groups=[2],
        epsilon=[None, 0.1],
    )
    six = np.linspace(0, 1, 6, dtype=F)
    yield from over("LayerNormalization", X, six, static=False, axis=[None, 3], epsilon=[None, 0.1])
    yield from over(
        "LayerNormalization",
        X,
        np.outer(six, six),
        six,
        static=False,
        axis=[2, -2],
    )
    yield from over("RMSNormalization", X, six, static=False, axis=[None, 3], epsilon=[None, 0.1])
    yield from over(
        "LRN", X, static=False, size=[3, 5], alpha=[None, 0.3], beta=[None, 0.5], bias=[None, 2.0]
    )
    yield from over("LpNormalization", X, axis=[None, 1, 2], p=[None, 1])
    yield from over("MeanVarianceNormalization", X, static=False, axes=[None, [2, 3], [1, 2, 3]])
    for kind in ("Softmax", "LogSoftmax"):
        yield from over(kind, X, static=False, axis=[None, 1, 3])
        yield from over(kind, X, static=False, opsets=(11, 13), axis=[-2])


def resizing():
    scales = (F([1, 1, 2, 1.5]), F([1, 1, 0.5, 0.7]), F([1, 1, 1.6, 0.9]), F([1, 1, 3, 1]))
    sizes = (i64(2, 4, 9, 4), i64(2, 4, 3, 11), i64(2, 4, 6, 1))
    places = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    for scale in scales:
        yield from over("Resize", X, scale, opsets=(10,), static=False, mode=["nearest", "linear"])
        if scale.min() >= 1:
            yield from over(
                "Upsample", X, scale, opsets=(9,), static=False, mode=["nearest", "linear"]
            )
            yield from over(
                "Upsample", X, opsets=(7,), static=False, scales=[scale.tolist()], mode=["nearest"]
            )
        for opset in (11, 13, 18, 19):
            yield from over(
                "Resize",
                X,
                ROI,
                scale,
                opsets=(opset,),
                static=False,
                mode=["linear", "cubic"],
                coordinate_transformation_mode=places,
            )
        yield from over(
            "Resize",
            X,
            ROI,
            scale,
            opsets=(11, 19),
            static=False,
            mode=["nearest"],
            coordinate_transformation_mode=places,
            nearest_mode=["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"],
        )
        yield from over(
            "Resize",
            X,
            ROI,
            scale,
            opsets=(19,),
            static=False,
            mode=["nearest", "linear"],
            coordinate_transformation_mode=["half_pixel_symmetric"],
        )
        yield from over(
            "Resize",
            X,
            ROI,
            scale,
            opsets=(11, 19),
            static=False,
            mode=["cubic"],
            cubic_coeff_a=[-0.5],
            exclude_outside=[0, 1],
        )
    for size in sizes:
        yield from over(
            "Resize",
            X,
            ROI,
            ROI,
            size,
            opsets=(11, 18),
            static=False,
            mode=["nearest", "linear", "cubic"],
            coordinate_transformation_mode=places,
        )
    for scale in scales[1:3]:
        yield from over(
            "Resize",
            X,
            ROI,
            scale,
            opsets=(18, 19),
            static=False,
            antialias=[1],
            mode=["linear", "cubic"],
            coordinate_transformation_mode=["half_pixel", "align_corners"],
        )
    yield from over(
        "Resize",
        X,
        ROI,
        ROI,
        i64(9, 4),
        opsets=(18, 19),
        static=False,
        axes=[[2, 3]],
        mode=["nearest", "linear"],
        keep_aspect_ratio_policy=["stretch", "not_larger", "not_smaller"],
    )
    yield from over(
        "Resize", X, ROI, ROI, i64(9, 3), opsets=(18,), static=False, axes=[[3, 2]], mode=["linear"]
    )
    yield from over(
        "Resize",
        X,
        ROI,
        F([2, 0.5]),
        opsets=(18, 19),
        static=False,
        axes=[[2, -1]],
        mode=["nearest", "linear"],
    )


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
        windows,
        shapes,
        indexing,
        reductions,
        normalization,
        resizing,
        linear,
        quantization,
    )
    for case in family()
]


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
