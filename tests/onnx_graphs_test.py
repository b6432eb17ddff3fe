"""Graphs that are less tidy are read as they were meant, or refused by name."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import onnx_networks
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import Network

from mia_jax.recognizer import importers
from mia_jax.recognizer.importers import onnx as importer
from mia_jax.runtime.errors import UserError

F = np.float32


def pictures(n=2, side=8, seed=0):
    return np.random.default_rng(seed).random((n, side, side, 3), F)


def pooled(net, x="image", channels=3):
    """Features of a picture, a dense layer: `[n, 5]`."""
    return net.dense(net.add("Flatten", net.add("GlobalAveragePool", x)), channels, 5)


def network(build, **options):
    """A network of what a function adds, and 8x8 pictures."""
    net = Network(3)
    return net.model(build(net), **{"image": (3, 8, 8), "outputs": ("n", "k"), **options})


def flat(net, x):
    return net.add("Flatten", x)


def run(model, images, output="output"):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    kinds = {"tensor(float16)": np.float16, "tensor(float)": F, "tensor(double)": float}
    given, *others = session.get_inputs()
    unread = {each.name: np.zeros(each.shape, F) for each in others}
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(kinds[given.type])
    if given.shape[0] == 1:
        alone = [session.run([output], {"image": each[None]})[0] for each in x]
        return np.concatenate([each.reshape(1, -1) for each in alone])
    return session.run([output], {"image": x, **unread})[0]


def through_functions(net):
    """A function of the model itself, called twice, one within another."""
    return flat(net, net.add("Twice", net.conv("image", 3, 4), domain="local"))


def functions():
    model = network(through_functions)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    swish = helper.make_function(
        *("local", "Swish", ["a"], ["b"]),
        [helper.make_node("Sigmoid", ["a"], ["s"]), helper.make_node("Mul", ["a", "s"], ["b"])],
        opsets,
    )
    twice = helper.make_function(
        *("local", "Twice", ["a"], ["b"]),
        [
            helper.make_node("Swish", ["a"], ["s"], domain="local"),
            helper.make_node("Swish", ["s"], ["b"], domain="local"),
        ],
        opsets,
    )
    model.functions.extend([swish, twice])
    model.opset_import.append(opsets[1])
    return model


def unsorted():
    model = network(lambda net: flat(net, net.add("Relu", net.conv("image", 3, 4))))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(nodes[::-1])
    return model


def sparse():
    model = network(lambda net: flat(net, net.conv("image", 3, 4)))
    dense = numpy_helper.to_array(model.graph.initializer[0]).copy()
    dense[np.abs(dense) < 0.3] = 0
    places = np.flatnonzero(dense)
    values = numpy_helper.from_array(dense.ravel()[places], model.graph.initializer[0].name)
    del model.graph.initializer[0]
    model.graph.sparse_initializer.append(
        helper.make_sparse_tensor(values, numpy_helper.from_array(places), dense.shape)
    )
    return model


def unread():
    """Weights that are inputs too, an input that nobody reads, and an output nobody asks for."""
    model = network(lambda net: pooled(net))
    for each in (*model.graph.initializer, numpy_helper.from_array(F([1]), "nobody")):
        kind = TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(each.name, kind, each.dims))
    label = helper.make_node("ArgMax", ["output"], ["label"], axis=1)
    odd = helper.make_node("Unique", ["image"], ["odd"])
    model.graph.node.extend([label, odd])
    for name, kind in (("label", TensorProto.INT64), ("odd", TensorProto.FLOAT)):
        model.graph.output.append(helper.make_tensor_value_info(name, kind, None))
    return model


def half(net):
    """Everything in float16, as converters write it."""
    x = net.add("Conv", "image", net.weight(np.ones((4, 3, 3, 3), np.float16) / 9))
    return net.add("Cast", flat(net, net.add("Relu", x)), to=TensorProto.FLOAT)


def along_channels(net):
    """ECA: a convolution of one dimension along the channels' means."""
    x = net.conv("image", 3, 4)
    minus = net.weight(np.array([-1]))
    mean = net.add("Squeeze", net.add("GlobalAveragePool", x), minus)
    line = net.add("Transpose", mean, perm=[0, 2, 1])
    line = net.add("Conv", line, net.random(1, 1, 3), pads=[1, 1])
    gates = net.add("Unsqueeze", net.add("Transpose", line, perm=[0, 2, 1]), minus)
    return pooled(net, net.add("Mul", x, net.add("Sigmoid", gates)), 4)


def through_float(net):
    """A size computed in floats, as recompute_scale_factor makes PyTorch write it."""
    x = net.conv("image", 3, 4)
    shape = net.add("Shape", x)
    sides = net.add("Slice", shape, net.weight(np.array([2])), net.weight(np.array([4])))
    sides = net.add("Mul", net.add("Cast", sides, to=1), net.weight(F(1.5)))
    sides = net.add("Floor", net.add("Sqrt", net.add("Mul", sides, sides)))
    sides = net.add("Neg", net.add("Ceil", net.add("Neg", net.add("Abs", sides))))
    sides = net.add("Clip", net.add("Cast", sides, to=7), net.weight(np.array(1)))
    front = net.add("Slice", shape, net.weight(np.array([0])), net.weight(np.array([2])))
    sizes = net.add("Concat", front, sides, axis=0)
    return flat(net, net.add("Resize", x, "", "", sizes, mode="linear"))


def chosen_by_shape(net):
    """A branch that the pictures' shape chooses, as PyTorch writes squeeze; the other fails."""
    x = net.add("GlobalAveragePool", net.conv("image", 3, 4))
    three = net.weight(np.array([3]))
    side = net.add("Gather", net.add("Shape", x), three, axis=0)
    is_one = net.add("Equal", side, net.weight(np.array([1])))
    return net.dense(flat(net, branch(net, is_one, x)), 4, 5)


def chosen_by_constant(net):
    x = net.add("GlobalAveragePool", net.conv("image", 3, 4))
    return net.dense(flat(net, branch(net, net.weight(np.array(False)), x)), 4, 5)


def branch(net, condition, x):
    """Squeezes, or multiplies by a weight of the branch's own."""

    def graph(name, *nodes, weights=()):
        value = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        return helper.make_graph(nodes, name, [], [value], weights)

    axes = numpy_helper.from_array(np.array([3]), "w")
    scale = numpy_helper.from_array(F([0.5]), "w")
    return net.add(
        *("If", condition),
        then_branch=graph("then", helper.make_node("Squeeze", [x, "w"], ["y"]), weights=[axes]),
        else_branch=graph("else", helper.make_node("Mul", [x, "w"], ["y"]), weights=[scale]),
    )


def masked(net):
    """Infinities that are no fault: padding for a maximum, and the ends of a Clip."""
    ends = net.weight(np.array([0, 0, 0, 0, 0, 0, 1, 1])), net.weight(np.array(-np.inf, F))
    x = net.add("Pad", net.conv("image", 3, 4), *ends)
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    return flat(net, net.add("Clip", x, "", net.weight(np.array(np.inf, F))))


def quantized_weights(net, axis=0):
    kernel = net.weight(np.random.default_rng(1).integers(-128, 127, (4, 3, 3, 3), np.int8))
    scale = net.weight(np.linspace(0.01, 0.02, 4, dtype=F))
    zero = net.weight(np.arange(4, dtype=np.int8))
    kernel = net.add("DequantizeLinear", kernel, scale, zero, axis=axis)
    return flat(net, net.add("Conv", "image", kernel))


def quantized_blocks(net):
    kernel = net.weight(np.random.default_rng(1).integers(-128, 127, (5, 192), np.int8))
    scale = net.weight(np.random.default_rng(2).uniform(0.01, 0.02, (5, 3)).astype(F))
    kernel = net.add("DequantizeLinear", kernel, scale, axis=1, block_size=64)
    return net.add("Gemm", flat(net, "image"), kernel, transB=1)


def quantized_pictures(net):
    """Activations of 8 bits between float operations, as static quantization writes it."""
    scale, zero = net.weight(F(1 / 255)), net.weight(np.array(3, np.uint8))
    x = net.add("DequantizeLinear", net.add("QuantizeLinear", "image", scale, zero), scale, zero)
    return flat(net, net.add("Relu", net.conv(x, 3, 4)))


def quantized_operators(net):
    """The other way: convolutions and products of 8 bits.

    Weights are of 7 bits: without VNNI, onnxruntime's sums of 8 bits by 8 overflow.
    """
    scale, zero = net.weight(F(1 / 255)), net.weight(np.array(0, np.uint8))
    x = net.add("QuantizeLinear", "image", scale, zero)
    kernel = net.weight(np.random.default_rng(1).integers(-64, 64, (4, 3, 3, 3), np.int8))
    each, none = net.weight(np.linspace(0.01, 0.02, 4, dtype=F)), net.weight(np.zeros(4, np.int8))
    bias = net.weight(np.array([10, -20, 30, 0], np.int32))
    out, middle = net.weight(F(0.03)), net.weight(np.array(128, np.uint8))
    x = net.add("QLinearConv", x, scale, zero, kernel, each, none, out, middle, bias)
    x = flat(net, net.add("GlobalAveragePool", net.add("DequantizeLinear", x, out, middle)))
    x = net.add("QuantizeLinear", x, out, middle)
    matrix = net.weight(np.random.default_rng(1).integers(-64, 64, (4, 5), np.int8))
    one, five = net.weight(F(0.01)), net.weight(np.array(5, np.int8))
    x = net.add("QLinearMatMul", x, out, middle, matrix, one, five, out, middle)
    total = net.add("MatMulInteger", x, net.weight(np.eye(5, dtype=np.int8)), middle)
    return net.add("Cast", total, to=TensorProto.FLOAT)


def five_axes(net):
    """A weight of five axes on a picture, whose channels are last by then."""
    x = net.add("Mul", net.conv("image", 3, 4), net.random(2, 1, 4, 1, 1))
    return net.add("Reshape", x, net.weight(np.array([1, -1])))


def one_row(net):
    x = net.add("GlobalAveragePool", net.conv("image", 3, 4))
    return net.add("Reshape", x, net.weight(np.array([1, -1])))


def colors_swapped(net):
    """BGR to RGB as PyTorch's newer exporter writes x[:, [2, 1, 0]]."""
    x = net.add("Transpose", "image", perm=[1, 0, 2, 3])
    x = net.add("GatherND", x, net.weight(np.array([[2], [1], [0]])))
    return pooled(net, net.add("Transpose", x, perm=[1, 0, 2, 3]))


def mask_used(net):
    """The second output of Dropout, which keeps everything."""
    x, kept = net.add("Dropout", pooled(net), outputs=2)
    return net.add("Where", kept, x, net.weight(F(0)))


GRAPHS = {
    "functions": functions,
    "unsorted": unsorted,
    "sparse": sparse,
    "float16": lambda: network(half, kind=TensorProto.FLOAT16),
    "along channels": lambda: network(along_channels),
    "through float": lambda: network(through_float),
    "If by shape": lambda: network(chosen_by_shape),
    "If by constant": lambda: network(chosen_by_constant),
    "infinities": lambda: network(masked),
    "quantized weights": lambda: network(quantized_weights),
    "quantized weights 13": lambda: network(quantized_weights, opset=13),
    "quantized blocks": lambda: network(quantized_blocks, opset=21),
    "quantized pictures": lambda: network(quantized_pictures),
    "quantized operators": lambda: network(quantized_operators),
    "five axes": lambda: network(five_axes, batch=1),
    "colors swapped": lambda: network(colors_swapped),
    "mask used": lambda: network(mask_used),
}


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


def of_opset(opset, kind, *weights, outputs=1, domain="", **attributes):
    net = Network(5)
    given = [net.weight(each) for each in weights]
    y = net.add(kind, "image", *given, outputs=outputs, domain=domain, **attributes)
    y = y if outputs == 1 else y[0]
    model = net.model(net.add("Flatten", y), (3, 8, 8), opset=opset)
    if domain:
        model.opset_import.append(helper.make_opsetid(domain, 1))
    return model


def trained(net):
    broken = net.weight(np.full((4, 3, 3, 3), np.inf, F))
    return flat(net, net.add("Conv", "image", broken))


def by_content(net):
    largest = net.add("ReduceMax", net.add("Flatten", "image"), keepdims=0)
    bright = net.add("Greater", largest, net.weight(F(0.5)))
    return flat(net, branch(net, bright, net.add("GlobalAveragePool", "image")))


def shaped_by_content(net):
    count = net.add("Cast", net.add("ReduceMax", "image", keepdims=0), to=7)
    shape = net.add(
        "Concat",
        net.add("Unsqueeze", count, net.weight(np.array([0]))),
        net.weight(np.array([1])),
        axis=0,
    )
    return net.add("Reshape", "image", shape)


def constant(net):
    return net.add("Identity", net.random(2, 5))


def huge(kind, *inputs, **attributes):
    """A step that asks for much of little."""

    def build(net):
        given = [net.weight(np.asarray(each)) for each in inputs]
        if kind == "ConstantOfShape":
            return pooled(net, net.add("Add", "image", net.add(kind, *given)))
        x = net.add("GlobalAveragePool", "image") if kind == "Expand" else "image"
        x = net.add(kind, x, *given, **attributes)
        return flat(net, net.add("GlobalMaxPool", x))

    return lambda: network(build)


def doubled(net):
    x = "image"
    for _ in range(40):
        x = net.add("Concat", x, x, axis=2)
    return pooled(net, x)


def doubled_constants(net):
    x = net.weight(np.ones((1, 3, 8, 8), F))
    for _ in range(40):
        x = net.add("Concat", x, x, axis=2)
    return pooled(net, net.add("Add", x, "image"))


def looped():
    model = functions()
    inner = model.functions[0].node
    del inner[:]
    inner.append(helper.make_node("Twice", ["a"], ["b"], domain="local"))
    return model


def exponential():
    model = functions()
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    for level in range(40):
        name, inner = f"L{level}", "Swish" if level == 0 else f"L{level - 1}"
        nodes = [
            helper.make_node(inner, ["a"], ["s"], domain="local"),
            helper.make_node(inner, ["s"], ["b"], domain="local"),
        ]
        model.functions.append(helper.make_function("local", name, ["a"], ["b"], nodes, opsets))
    model.functions[1].node[0].op_type = "L39"
    return model


FOUR = [np.ones(3, F)] * 4
BIG = "at most 134217728 elements a picture"
REFUSED = {
    "BatchNormalization 9, five outputs": (
        lambda: of_opset(9, "BatchNormalization", *FOUR, outputs=5),
        "BatchNormalization_0 .* evaluation mode",
    ),
    "BatchNormalization 7, spatial=0": (
        lambda: of_opset(7, "BatchNormalization", *FOUR, spatial=0),
        "attribute spatial=0",
    ),
    "BatchNormalization 6": (
        lambda: of_opset(6, "BatchNormalization", *FOUR),
        "as opset 6 has it .*since 7, 9, 14, 15",
    ),
    "Dropout in training": (
        lambda: of_opset(13, "Dropout", np.array(0.5, F), np.array(True)),
        "drops at random",
    ),
    "Resize cropping": (
        lambda: of_opset(
            *(13, "Resize", np.zeros(8, F), np.ones(4, F) * 2),
            coordinate_transformation_mode="tf_crop_and_resize",
        ),
        "coordinate_transformation_mode=tf_crop_and_resize is not supported, only half_pixel",
    ),
    "MaxPool's places": (
        lambda: network(
            lambda net: flat(
                net,
                net.add(
                    "Cast", net.add("MaxPool", "image", kernel_shape=[2, 2], outputs=2)[1], to=1
                ),
            )
        ),
        "MaxPool_0 .* only the first 1 can be used",
    ),
    "an opset to come": (lambda: of_opset(999, "Relu"), "opset 999, and the package onnx"),
    "a domain of its own": (
        lambda: of_opset(17, "Relu", domain="com.nobody"),
        r"not supported: com.nobody.Relu \(node",
    ),
    "a sequence": (
        lambda: network(
            lambda net: flat(
                net,
                net.add(
                    "SequenceAt", net.add("SequenceConstruct", "image"), net.weight(np.array(0))
                ),
            )
        ),
        "SequenceAt .*, SequenceConstruct",
    ),
    "a broken weight": (lambda: network(trained), "weights that are not finite"),
    "If by content": (lambda: network(by_content), "follows from what the pictures show"),
    "a shape by content": (
        lambda: network(shaped_by_content),
        "follows from what the pictures show, and a shape",
    ),
    "a constant": (lambda: network(constant), "output output does not depend on the pictures"),
    "functions in a circle": (looped, "call one another more than 100 deep|no whole ONNX model"),
    "functions that explode": (exponential, "nodes of it, and at most 100000"),
    "doubled": (lambda: network(doubled), BIG),
    "doubled constants": (lambda: network(doubled_constants), "at most 16777216 elements"),
    "expanded": (huge("Expand", [1, 3, 10**5, 10**5]), BIG),
    "tiled": (huge("Tile", [1, 1, 10**5, 10**5]), BIG),
    "filled": (huge("ConstantOfShape", [10**6, 10**6]), "at most 16777216 elements"),
    "padded": (huge("Pad", [0, 0, 0, 0, 0, 0, 10**5, 10**5]), BIG),
    "padded to pool": (huge("MaxPool", kernel_shape=[9, 9], pads=[10**5] * 4), BIG),
    "resized": (huge("Resize", np.zeros(0, F), np.array([1, 1, 10**4, 10**4], F)), BIG),
    "normalized by many": (huge("LRN", size=10**6), "size=1000000 is not supported, only 1 to"),
    "a window of many": (huge("MaxPool", kernel_shape=[10**6, 1]), "windows of 1000000"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_computed_is_refused_by_name(name, tmp_path):
    build, said = REFUSED[name]
    path = tmp_path / "model.onnx"
    with pytest.raises(UserError, match=said) as caught:
        importers.load(onnx_networks.save(build(), path))
    assert "\n" not in str(caught.value)


def with_weights_beside(folder, name="model.onnx.data"):
    """A model whose weights lie in a file beside it."""
    model = network(lambda net: pooled(net))
    for each in model.graph.initializer:  # However small they are.
        each.raw_data = numpy_helper.to_array(each).tobytes()
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location=name, size_threshold=0)
    return path


def in_a_hub(tmp_path):
    """As hubs keep files: links with the files' names, to files named after their digests."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshots" / "main").mkdir(parents=True)
    path = with_weights_beside(tmp_path / "snapshots" / "main")
    for each in (path, path.with_name("model.onnx.data")):
        blob = tmp_path / "blobs" / f"digest of {each.name}"
        each.rename(blob)
        each.symlink_to(f"../../blobs/{blob.name}")
    return path


@pytest.mark.parametrize("place", [with_weights_beside, in_a_hub])
def test_weights_beside_a_model_are_read(place, tmp_path):
    imported = importers.load(place(tmp_path))
    expected = run(network(lambda net: pooled(net)), pictures())
    np.testing.assert_allclose(
        imported.apply_fn(imported.params, pictures()), expected, rtol=1e-4, atol=1e-5
    )


def beyond(tmp_path):
    """A link beside the model that leads out of its folder."""
    (tmp_path / "inner").mkdir()
    path = with_weights_beside(tmp_path / "inner")
    path.with_name("model.onnx.data").rename(tmp_path / "secret")
    path.with_name("model.onnx.data").symlink_to(tmp_path / "secret")
    return path, "is a link"


def upward(tmp_path):
    """A location that climbs."""
    (tmp_path / "inner").mkdir()
    path = with_weights_beside(tmp_path / "inner")
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        tensor.external_data[0].value = "../secret"
    path.write_bytes(proto.SerializeToString())
    (tmp_path / "secret").write_bytes(bytes(10**4))
    return path, "lies in another folder"


def short(tmp_path):
    path = with_weights_beside(tmp_path)
    path.with_name("model.onnx.data").write_bytes(b"few")
    return path, "needs 60 bytes of .* which has 3"


@pytest.mark.parametrize("place", [beyond, upward, short])
def test_weights_elsewhere_are_refused(place, tmp_path):
    path, said = place(tmp_path)
    with pytest.raises(UserError, match=said):
        importers.load(path)


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
