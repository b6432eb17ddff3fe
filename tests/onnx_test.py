"""Models in ONNX give what onnxruntime gives."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx_networks
import onnxruntime
import pytest
from onnx import TensorProto
from onnx_networks import NETWORKS, Network

from mia_jax.recognizer.importers import onnx as importer

TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def pictures(n=2, side=16, channels=3, seed=0):
    return np.random.default_rng(seed).random((n, side, side, channels), np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_gives_what_onnxruntime_gives(name, tmp_path):
    model, images = NETWORKS[name](), pictures()
    imported = importer.load(onnx_networks.save(model, tmp_path / "network.onnx"))
    assert imported.image_shape == (16, 16, 3)
    logits = jax.jit(imported.apply_fn)(imported.params, images)
    np.testing.assert_allclose(logits, onnx_networks.run(model, images), **TOLERANCE)


@pytest.mark.parametrize("name", NETWORKS)
def test_its_gradient_is_that_of_finite_differences(name):
    draw, step = np.random.default_rng(1), 1e-6
    with jax.enable_x64(True):
        imported = importer.convert(NETWORKS[name](), name)
        params = {k: v.astype(jnp.float64) for k, v in imported.params.items()}
        images = draw.random((1, 16, 16, 3))
        outputs = jax.eval_shape(imported.apply_fn, params, images).shape
        weights, direction = draw.normal(size=outputs), draw.normal(size=images.shape)
        value_and_gradient = jax.jit(
            jax.value_and_grad(lambda x: jnp.sum(imported.apply_fn(params, x) * weights))
        )
        _, gradient = value_and_gradient(images)
        ahead, behind = (value_and_gradient(images + s * direction)[0] for s in (step, -step))
    expected = (ahead - behind) / (2 * step)
    np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-4)


def of_one(kind, *inputs, image=(4, 6, 6), outputs=1, opset=17, **attributes):
    """A graph of one operation on the picture, which is summed to a vector for each picture."""
    net = Network(7)
    given = [net.weight(each) if isinstance(each, np.ndarray) else each for each in inputs]
    y = net.add(kind, "image", *given, outputs=outputs, **attributes)
    y = y if outputs == 1 else net.add("Concat", *y, axis=1)
    flat = net.add("Flatten", net.add("Cast", y, to=TensorProto.FLOAT), axis=1)
    return net.model(flat, image=image, outputs=("n", "k"), opset=opset)


F = np.float32
COLUMN = np.linspace(0.5, 1.5, 4, dtype=F).reshape(4, 1, 1)
KERNEL = np.random.default_rng(0).normal(size=(8, 2, 3, 3)).astype(F)
CASES = {
    "Abs": of_one("Abs"),
    "Add": of_one("Add", COLUMN),
    "AddScalar": of_one("Add", np.array(2, F)),
    "AveragePool count": of_one(
        *("AveragePool",), kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1
    ),
    "AveragePool ceil": of_one("AveragePool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "AveragePool lower": of_one(
        *("AveragePool",), kernel_shape=[2, 2], strides=[2, 2], auto_pad="SAME_LOWER"
    ),
    "Celu": of_one("Celu", alpha=0.5),
    "Clip 6": of_one("Clip", min=0.2, max=0.6, opset=10),
    "Clip": of_one("Clip", np.array(0.3, F)),
    "Conv dilated": of_one("Conv", KERNEL[:, :, :2], group=2, dilations=[2, 1], strides=[1, 2]),
    "Conv odd pads": of_one("Conv", KERNEL, group=2, pads=[0, 1, 2, 0], strides=[2, 1]),
    "DepthToSpace": of_one("DepthToSpace", blocksize=2),
    "DepthToSpace CRD": of_one("DepthToSpace", blocksize=2, mode="CRD"),
    "Div": of_one("Div", COLUMN),
    "Elu": of_one("Elu", alpha=0.7),
    "Equal": of_one("Equal", np.array(0.5, F)),
    "Erf": of_one("Erf"),
    "Exp": of_one("Exp"),
    "Expand": of_one("Expand", np.array([2, 4, 6, 6])),
    "Flatten": of_one("Flatten", axis=2, image=(4, 6, 6)),
    "Gather": of_one("Gather", np.array([[0, -1]]), axis=3),
    "Gelu": of_one("Gelu", opset=20),
    "GlobalMaxPool": of_one("GlobalMaxPool"),
    "Greater": of_one("Greater", np.array(0.5, F)),
    "InstanceNormalization": of_one("InstanceNormalization", COLUMN.ravel(), COLUMN.ravel()),
    "LayerNormalization": of_one("LayerNormalization", np.linspace(0, 1, 6, dtype=F), axis=-1),
    "LogSoftmax 11": of_one("LogSoftmax", axis=1, opset=11),
    "LpNormalization": of_one("LpNormalization", axis=1, p=1),
    "Max": of_one("Max", COLUMN, np.array(0.7, F)),
    "MaxPool": of_one("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool odd": of_one(
        *("MaxPool",), image=(3, 7, 7), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
    ),
    "MaxPool dilated": of_one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    "Mean": of_one("Mean", "image", COLUMN.reshape(1, 4, 1, 1)),
    "Min": of_one("Min", COLUMN),
    "Mish": of_one("Mish", opset=18),
    "Mul": of_one("Mul", COLUMN.reshape(1, 4, 1, 1)),
    "Neg": of_one("Neg"),
    "Pad": of_one("Pad", np.array([0, 0, 1, 2, 0, 1, 0, 0]), np.array(0.5, F)),
    "Pad 10": of_one("Pad", pads=[0, 0, 1, 2, 0, 1, 0, 0], value=0.25, opset=10),
    "Pad reflected": of_one("Pad", np.array([0, 0, 1, 2, 0, 0, 2, 0]), mode="reflect"),
    "Pow": of_one("Pow", np.array(2, F)),
    "PRelu": of_one("PRelu", -COLUMN),
    "Reciprocal": of_one("Reciprocal"),
    "ReduceL2": of_one("ReduceL2", axes=[1], keepdims=1),
    "ReduceMax": of_one("ReduceMax", axes=[2, 3], keepdims=0),
    "ReduceMean": of_one("ReduceMean", axes=[1, 2], keepdims=0),
    "ReduceMean 18": of_one("ReduceMean", np.array([-1]), opset=18),
    "ReduceSum": of_one("ReduceSum", np.array([3]), keepdims=0),
    "ReduceSumSquare": of_one("ReduceSumSquare", axes=[3]),
    "Reshape 0": of_one("Reshape", np.array([0, -1, 12])),
    "Resize nearest": of_one("Resize", "", np.array([1, 1, 2, 1.5], F)),
    "Resize linear": of_one("Resize", "", "", np.array([2, 4, 9, 4]), mode="linear"),
    "Resize corners": of_one(
        *("Resize", "", "", np.array([2, 4, 9, 4])),
        mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    "Resize asymmetric": of_one(
        *("Resize", "", np.array([1, 1, 2, 2], F)),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "Round": of_one("Round"),
    "Selu": of_one("Selu"),
    "Slice": of_one(
        "Slice", np.array([-1, 1]), np.array([-9, 5]), np.array([3, 2]), -np.array([1, -2])
    ),
    "Slice 9": of_one("Slice", starts=[1, 0], ends=[9, 2], axes=[2, 1], opset=9),
    "Softmax 11": of_one("Softmax", axis=2, opset=11),
    "Softmax": of_one("Softmax", axis=1),
    "Softplus": of_one("Softplus"),
    "Softsign": of_one("Softsign"),
    "SpaceToDepth": of_one("SpaceToDepth", blocksize=2),
    "Split": of_one("Split", outputs=2, axis=1),
    "Sqrt": of_one("Sqrt"),
    "Squeeze": of_one("Squeeze", np.array([1]), image=(1, 6, 6)),
    "Sub": of_one("Sub", COLUMN),
    "Sum": of_one("Sum", COLUMN, "image"),
    "Transpose": of_one("Transpose", perm=[0, 2, 3, 1]),
    "Unsqueeze 11": of_one("Unsqueeze", axes=[1, -1], opset=11),
    "Upsample 9": of_one("Upsample", np.array([1, 1, 2, 2], F), opset=9),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_gives_what_onnxruntime_gives(name):
    model = CASES[name]
    _, channels, height, _ = (d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim)
    images = 2 * pictures(2, height, channels) - 0.5
    if channels == 4:  # No picture: evaluated as a graph nevertheless.
        sides = model.graph.input[0].type.tensor_type.shape.dim
        sides[1].dim_value = 0
        sides[1].dim_param = "channels"
    imported = importer.convert(model, name)
    expected = run_first(model, images)
    np.testing.assert_allclose(imported.apply_fn(imported.params, images), expected, **TOLERANCE)


def run_first(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    first = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    return session.run(None, {"image": first})[0]
