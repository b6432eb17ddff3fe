"""Operations of ONNX on pictures over their attributes and opsets."""

import numpy as np
from onnx_cases import (
    DRAW,
    PER_CHANNEL,
    ROI,
    F,
    X,
    i64,
    over,
)


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
