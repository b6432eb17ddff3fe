"""Graphs that are less tidy are read as they were meant."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
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
