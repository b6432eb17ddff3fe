"""Graphs of ONNX that are less tidy, and onnxruntime's answer to pictures."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx_networks import Network

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


def quantized_operators(net, largest=64):
    """The other way: convolutions and products of 8 bits.

    Weights are of 7 bits: without VNNI, onnxruntime's sums of 8 bits by 8 overflow.
    """
    scale, zero = net.weight(F(1 / 255)), net.weight(np.array(0, np.uint8))
    x = net.add("QuantizeLinear", "image", scale, zero)
    kernel = net.weight(np.random.default_rng(1).integers(-largest, largest, (4, 3, 3, 3), np.int8))
    each, none = net.weight(np.linspace(0.01, 0.02, 4, dtype=F)), net.weight(np.zeros(4, np.int8))
    bias = net.weight(np.array([10, -20, 30, 0], np.int32))
    out, middle = net.weight(F(0.03)), net.weight(np.array(128, np.uint8))
    x = net.add("QLinearConv", x, scale, zero, kernel, each, none, out, middle, bias)
    x = flat(net, net.add("GlobalAveragePool", net.add("DequantizeLinear", x, out, middle)))
    x = net.add("QuantizeLinear", x, out, middle)
    matrix = net.weight(np.random.default_rng(1).integers(-largest, largest, (4, 5), np.int8))
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


def usual_attributes():
    """A function that is called without the attribute of which it says a default."""
    model = network(lambda net: flat(net, net.add("Scale", "image", domain="local")))
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    steps = [helper.make_node("Constant", [], ["k"]), helper.make_node("Mul", ["a", "k"], ["b"])]
    usual = [helper.make_attribute("factor", 0.25)]
    scale = helper.make_function(
        "local", "Scale", ["a"], ["b"], steps, opsets, attribute_protos=usual
    )
    reference = scale.node[0].attribute.add()
    reference.name, reference.ref_attr_name = "value_float", "factor"
    reference.type = usual[0].type
    model.functions.append(scale)
    model.opset_import.append(opsets[1])
    return model


def long_domain():
    """ONNX's own operations by the other name of their domain, in a graph without a name."""
    model = network(lambda net: flat(net, net.add("Relu", net.conv("image", 3, 4))))
    for each in (*model.graph.node, *model.opset_import):
        each.domain = "ai.onnx"
    model.graph.name = ""
    return model


GRAPHS = {
    "usual attributes": usual_attributes,
    "long domain": long_domain,
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
