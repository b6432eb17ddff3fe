"""What is not computed of a graph is refused by name, before memory is asked for."""

import numpy as np
import onnx_networks
import pytest
from onnx import helper
from onnx_networks import Network
from onnx_untidy import F, branch, flat, functions, network, pooled

from mia_jax.recognizer import importers
from mia_jax.runtime.errors import UserError


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


def gigabytes(net):
    """Every product of two of them is of 400 x 400 x 400 x 400."""
    mean = net.add("ReduceMean", "image", keepdims=0)
    cube = net.add("Expand", mean, net.weight(np.array([400, 400, 400])))
    cubes = [net.add("Add", cube, net.weight(F(number))) for number in range(4)]
    return flat(
        net, net.add("Add", "image", net.add("Einsum", *cubes, equation="abc,ade,bdf,cef->"))
    )


def together(net):
    """Sixty arrays of a hundred million numbers, each of which is needed to the end."""
    mean, parts = net.add("GlobalAveragePool", "image"), []
    for number in range(60):
        x = net.add("Add", mean, net.weight(F(number)))
        x = net.add("Expand", x, net.weight(np.array([1, 3, 6000, 6000])))
        parts.append(net.add("Sin", x))
    products = [net.add("Mul", one, parts[-1]) for one in parts]
    return flat(net, net.add("Concat", *[net.add("GlobalMaxPool", x) for x in products], axis=1))


def resized(net):
    """By a matrix of half a gigabyte."""
    x = net.add("GlobalAveragePool", "image")
    for width in (11001, 11000):
        x = net.add("Resize", x, "", "", net.weight(np.array([1, 3, 1, width])), mode="linear")
    return flat(net, x)


def known(net):
    """Numbers that follow from the shape of the pictures, time and again."""
    count = net.add(
        "Slice", net.add("Shape", "image"), *[net.weight(np.array([n])) for n in (1, 2)]
    )
    shape = net.add("Concat", count, net.weight(np.array([2**22])), axis=0)
    parts = [net.add("ReduceMax", net.add("ConstantOfShape", shape), keepdims=0) for _ in range(40)]
    return flat(net, net.add("Add", "image", net.add("Sum", *parts)))


def counted(*numbers):
    """Numbers from the first to the second, by steps of the third."""

    def build(net):
        count = net.add("Range", *[net.weight(each) for each in numbers])
        return flat(net, net.add("Add", "image", net.add("ReduceMax", count, keepdims=0)))

    return lambda: network(build)


def places(net):
    """Where forty axes are not zero is forty numbers for each that is not."""
    many = net.add("ConstantOfShape", net.weight(np.array([1] * 39 + [2**20])), value=ONE)
    found = net.add("Cast", net.add("NonZero", many), to=1)
    return flat(net, net.add("Add", "image", net.add("ReduceMax", found, keepdims=0)))


def repeated(net):
    """Scales of a block are repeated, and what is too much is cut off."""
    weights = [net.weight(np.ones((2, 2), kind)) for kind in (np.int8, F)]
    x = net.add("DequantizeLinear", *weights, block_size=10**10, axis=1)
    return flat(net, net.add("Add", "image", net.add("ReduceMax", x, keepdims=0)))


def of_18(kind, *inputs, opset=18, **attributes):
    """A step as opset 18 has it."""

    def build(net):
        given = ["" if each is None else net.weight(each) for each in inputs]
        return flat(net, net.add(kind, "image", *given, **attributes))

    return lambda: network(build, opset=opset)


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


ONE = helper.make_tensor("one", 1, [1], [1.0])
LITTLE = np.array([1, 1, 1e-9, 1], F)
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
    "resized to nothing, smoothly": (
        of_18("Resize", None, LITTLE, antialias=1, mode="linear"),
        "asks for an array of 1x2000000060",
    ),
    "products of hundreds of gigabytes": (lambda: network(gigabytes), "400x400x400x400, and at"),
    "too much together": (lambda: network(together), "numbers at one time, and at most 536870912"),
    "a matrix": (lambda: network(resized), "11000x11001, and at most 16777216"),
    "known numbers": (lambda: network(known), "its constants are more than 134217728"),
    "counted, so that 32 bits overflow": (
        counted(np.int32(-(2**31)), np.int32(2**31 - 1), np.int32(1)),
        "asks for an array of 4294967295",
    ),
    "counted, so that 64 bits overflow": (
        counted(np.int64(-(2**63)), np.int64(2**62), np.int64(2**31)),
        "asks for an array of 6442450944",
    ),
    "counted by nothing": (counted(*map(np.int64, (0, 5, 0))), "Range_0 .* division by zero"),
    "places": (lambda: network(places), "asks for an array of 40x1048576"),
    "repeated": (lambda: network(repeated, opset=21), "asks for an array of 2x2x10000000000"),
    "split into many": (of_18("Split", axis=2, num_outputs=2**31 - 1), "splits 8 into 2147483647"),
    "blocks of nothing": (of_18("DepthToSpace", blocksize=0), "DepthToSpace_0 .* division"),
    "no groups": (
        of_18("GroupNormalization", *FOUR[:2], opset=21, num_groups=0),
        "GroupNormalization_0 .* division",
    ),
    "no step": (huge("MaxPool", kernel_shape=[2, 2], strides=[0, 0]), r"\[0, 0\].*: 1 to 1024 are"),
    # jaxlib ends the process for it.
    "a step of a billion": (
        of_18("Conv", np.ones((4, 3, 3, 3), F), strides=[10**9, 10**9]),
        "1 to 1024 are accepted",
    ),
    "pictures of 60,000 pixels": (
        lambda: network(pooled, image=(3, 60000, 60000)),
        "asks for pictures of 60000 pixels: a side has at most 4096",
    ),
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
