"""Graphs that are less tidy are read as they were meant."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnx.reference
import onnx_networks
import pytest
from onnx_untidy import (
    GRAPHS,
    five_axes,
    flat,
    network,
    one_row,
    pictures,
    pooled,
    quantized_operators,
    quantized_pictures,
    run,
    unread,
)

from mia_jax.recognizer import importers
from mia_jax.recognizer.importers import onnx as importer
from mia_jax.runtime.errors import UserError


@pytest.mark.parametrize("name", GRAPHS)
def test_an_untidy_graph_gives_what_onnxruntime_gives(name, tmp_path):
    model, images = GRAPHS[name](), pictures()
    if name == "unsorted":  # onnxruntime sorts them itself; the file is what is tested.
        onnx_networks.save(model, tmp_path / "model.onnx")
    imported = importers.load(onnx_networks.save(model, tmp_path / "model.onnx"))
    given = jax.jit(imported.apply_fn)(imported.params, images)
    near = 2e-3 if "16" in name else 1e-4
    expected = run(model, images).reshape(given.shape)
    np.testing.assert_allclose(given, expected, rtol=near, atol=near)


def test_what_the_wanted_output_does_not_need_is_left_out(tmp_path):
    path = onnx_networks.save(unread(), tmp_path / "model.onnx")
    imported = importers.load(path, "output")
    given = imported.apply_fn(imported.params, pictures())
    np.testing.assert_allclose(given, run(unread(), pictures()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [one_row, five_axes], ids=["one row", "five axes"])
def test_an_answer_that_joins_pictures_is_asked_of_each_alone(build, tmp_path):
    path = onnx_networks.save(network(build), tmp_path / "model.onnx")
    imported = importers.load(path)
    images = pictures(3)
    session = functools.partial(run, network(build, batch=1))
    given = jax.jit(imported.apply_fn)(imported.params, images)
    np.testing.assert_allclose(given, session(images), rtol=1e-4, atol=1e-4)


def mixed(net):
    """Features less their mean over the batch: of the right shape, and of nobody."""
    x = pooled(net)
    return net.add("Sub", x, net.add("ReduceMean", x, axes=[0]))


def test_an_answer_that_depends_on_the_batch_is_asked_of_each_alone(tmp_path):
    path = onnx_networks.save(network(mixed), tmp_path / "model.onnx")
    imported = importers.load(path)
    given = imported.apply_fn(imported.params, pictures())
    np.testing.assert_allclose(given, np.zeros((2, 5)), atol=1e-6)


def test_a_model_of_any_size_is_shown_pictures_of_the_commonest(tmp_path):
    """Unless it takes no such pictures: then nothing is compared before its size is said."""
    path, sides = tmp_path / "model.onnx", {"image": (3, "h", "w")}
    imported = importers.load(onnx_networks.save(network(mixed, **sides), path))
    given = imported.apply_fn(imported.params, pictures(2, side=9))
    np.testing.assert_allclose(given, np.zeros((2, 5)), atol=1e-6)
    fixed = network(lambda net: net.dense(flat(net, "image"), 192, 5), **sides)
    imported = importers.load(onnx_networks.save(fixed, path))
    given = imported.apply_fn(imported.params, pictures())
    np.testing.assert_allclose(given, run(fixed, pictures()), rtol=1e-4, atol=1e-5)


def whole(net):
    """Integers by integers, without a scale: pictures of 8 bits and weights of all 8."""
    scale, zero = net.weight(np.float32(1 / 255)), net.weight(np.array(7, np.uint8))
    x = net.add("QuantizeLinear", "image", scale, zero)
    draw = np.random.default_rng(3)
    kernel = net.weight(draw.integers(-128, 128, (4, 3, 3, 3), np.int8))
    total = net.add("ConvInteger", x, kernel, zero, strides=[2, 2], pads=[1, 1, 1, 1])
    return net.add("Cast", flat(net, total), to=onnx.TensorProto.FLOAT)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "build",
    [functools.partial(quantized_operators, largest=128), whole],
    ids=["QLinearConv, QLinearMatMul, MatMulInteger", "ConvInteger"],
)
def test_operators_of_all_eight_bits_are_those_of_the_standard(build, seed):
    """By its own evaluator: onnxruntime saturates sums of 8 bits by 8 where there is no VNNI."""
    model, images = network(build, opset=21), pictures(3, seed=seed)
    imported = importer.convert(model, "model")
    given = np.asarray(imported.apply_fn(imported.params, images))
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    (expected,) = onnx.reference.ReferenceEvaluator(model).run(None, {"image": x})
    # Where a product of scales lies between two levels, the order of rounding takes one of them.
    levels = np.abs(given - expected.astype(np.float32))
    assert levels.max() <= (build is not whole)
    assert levels.mean() < 0.1


def test_quantized_pictures_pass_a_gradient_through_the_rounding():
    imported = importer.convert(network(quantized_pictures), "model")
    exact = importer.convert(
        network(lambda net: flat(net, net.add("Relu", net.conv("image", 3, 4)))), "model"
    )
    params = {  # The same weights under other names.
        name: next(w for w in imported.params.values() if w.shape == array.shape)
        for name, array in exact.params.items()
    }
    images = pictures(1) * 0.9 + 0.05

    def total(model, weights, x):
        return jnp.sum(model.apply_fn(weights, x))

    of_rounded = jax.grad(lambda x: total(imported, imported.params, x))(images)
    of_exact = jax.grad(lambda x: total(exact, params, x))(images)
    assert np.mean(np.abs(of_rounded - of_exact) < 1e-4) > 0.9


def test_what_has_no_gradient_says_so_when_it_is_asked_for():
    model = network(lambda net: net.add("Round", pooled(net)))
    imported = importer.convert(model, "model")
    assert imported.apply_fn(imported.params, pictures()).shape == (2, 5)
    with pytest.raises(UserError, match=r"no gradient .* its node Round_3 \(Round\)"):
        jax.grad(lambda x: jnp.sum(imported.apply_fn(imported.params, x)))(pictures())


def test_an_open_batch_of_channels_last_is_read_as_such():
    model = network(
        lambda net: net.add("ReduceMean", "image", axes=[1, 2], keepdims=0), image=(None, None, 3)
    )
    imported = importer.convert(model, "model")
    assert imported.image_shape == (None, None, 3)
    images = pictures()
    np.testing.assert_allclose(
        imported.apply_fn(imported.params, images), images.mean((1, 2)), rtol=1e-5
    )
