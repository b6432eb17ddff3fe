"""Small networks in ONNX, of the kinds of blocks that face recognizers are made of."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper


class Network:
    """A graph under construction; each method adds a step and returns the name of its output."""

    def __init__(self, seed=0):
        self.nodes, self.weights = [], []
        self.draw = np.random.default_rng(seed)

    def add(self, kind, *inputs, outputs=1, **attributes):
        place = len(self.nodes)
        names = [f"{kind.lower()}_{place}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, f"{kind}_{place}", **attributes))
        return names[0] if outputs == 1 else names

    def weight(self, array):
        name = f"weight_{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def random(self, *shape, scale=1.0):
        return self.weight((scale * self.draw.normal(size=shape)).astype(np.float32))

    def positive(self, *shape):
        return self.weight(self.draw.uniform(0.5, 1.5, shape).astype(np.float32))

    def conv(self, x, channels, features, size=3, stride=1, groups=1, **attributes):
        fan = channels // groups * size * size
        kernel = self.random(features, channels // groups, size, size, scale=fan**-0.5)
        pads = {} if "auto_pad" in attributes else {"pads": [size // 2] * 4}
        facts = {"strides": [stride] * 2, "group": groups, **pads, **attributes}
        return self.add("Conv", x, kernel, self.random(features, scale=0.1), **facts)

    def normalize(self, x, channels):
        parts = [self.positive(channels), self.random(channels, scale=0.1)]
        parts += [self.random(channels, scale=0.1), self.positive(channels)]
        return self.add("BatchNormalization", x, *parts, epsilon=1e-5)

    def prelu(self, x, channels):
        return self.add("PRelu", x, self.positive(channels, 1, 1))

    def dense(self, x, inputs, outputs):
        kernel = self.random(outputs, inputs, scale=inputs**-0.5)
        return self.add("Gemm", x, kernel, self.random(outputs, scale=0.1), transB=1)

    def model(self, output, image=(3, 16, 16), outputs=("n", 5), opset=17, batch="n", kind=None):
        nodes = [*self.nodes, helper.make_node("Identity", [output], ["output"], "last")]
        graph = helper.make_graph(
            nodes,
            "network",
            [helper.make_tensor_value_info("image", kind or TensorProto.FLOAT, [batch, *image])],
            [helper.make_tensor_value_info("output", TensorProto.FLOAT, outputs)],
            self.weights,
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def residual():
    """A stem of stride 2, two basic blocks with a projection, and a classifier, as in ResNet."""
    net = Network(1)
    x = net.add("Relu", net.normalize(net.conv("image", 3, 8, 7, 2), 8))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    y = net.add("Relu", net.normalize(net.conv(x, 8, 8), 8))
    x = net.add("Relu", net.add("Add", net.normalize(net.conv(y, 8, 8), 8), x))
    y = net.add("Relu", net.normalize(net.conv(x, 8, 16, 3, 2), 16))
    shortcut = net.normalize(net.conv(x, 8, 16, 1, 2), 16)
    x = net.add("Relu", net.add("Add", net.normalize(net.conv(y, 16, 16), 16), shortcut))
    x = net.add("Flatten", net.add("GlobalAveragePool", x))
    return net.model(net.dense(x, 16, 5))


def mobile():
    """Inverted residuals, depthwise convolutions, squeeze and excitation, as in MobileNet."""
    net = Network(2)
    x = net.add("HardSwish", net.normalize(net.conv("image", 3, 8, 3, 2), 8))
    y = net.add("HardSwish", net.normalize(net.conv(x, 8, 16, 1), 16))
    y = net.add("HardSwish", net.normalize(net.conv(y, 16, 16, 5, groups=16), 16))
    s = net.add("ReduceMean", y, axes=[2, 3], keepdims=1)
    s = net.add("HardSigmoid", net.conv(net.add("Relu", net.conv(s, 16, 4, 1)), 4, 16, 1))
    x = net.add("Add", net.conv(net.add("Mul", y, s), 16, 8, 1), x)
    y = net.conv(x, 8, 8, 3, 2, groups=8)
    six = net.weight(np.float32(6)), net.weight(np.float32(0))
    x = net.add("Clip", y, six[1], six[0])
    x = net.add("ReduceMean", x, axes=[-1, -2], keepdims=0)
    return net.model(net.dense(x, 8, 5))


def inception():
    """Branches that are concatenated, pools that round up, local response normalization."""
    net = Network(3)
    x = net.add("LRN", net.add("Relu", net.conv("image", 3, 8, 3)), size=5, alpha=0.1)
    pooled = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    means = net.add(
        *("AveragePool", x), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=0
    )
    strided = net.conv(net.conv(x, 8, 8, 1), 8, 8, 3, 2)
    factorized = net.add(
        "Conv", x, net.random(4, 8, 1, 7, scale=0.1), pads=[0, 3, 0, 3], strides=[2, 2]
    )
    x = net.add("Concat", pooled, means, strided, factorized, axis=1)
    halves = net.add("Split", x, net.weight(np.array([12, 16])), outputs=2, axis=1)
    x = net.add("Concat", net.add("Sigmoid", halves[1]), net.add("Tanh", halves[0]), axis=-3)
    x = net.add("AveragePool", x, kernel_shape=[8, 8])
    return net.model(net.dense(net.add("Flatten", x), 28, 5))


def embedder():
    """PReLU, a dense layer over positions, and features of length 1, as in ArcFace."""
    net = Network(4)
    half, scale = net.weight(np.float32(127.5)), net.weight(np.float32(0.0078125))
    x = net.add("Mul", net.add("Sub", "image", half), scale)
    x = net.prelu(net.normalize(net.conv(x, 3, 8), 8), 8)
    y = net.normalize(net.conv(net.prelu(net.conv(net.normalize(x, 8), 8, 8), 8), 8, 8, 3, 2), 8)
    x = net.add("Add", y, net.conv(x, 8, 8, 1, 2))
    x = net.dense(net.add("Dropout", net.add("Flatten", net.normalize(x, 8))), 512, 6)
    features = net.normalize(x, 6)
    return net.model(net.add("LpNormalization", features, axis=1, p=2), outputs=("n", 6))


def of_tensorflow():
    """Channels last, transposed to convolve and back, as converters from TensorFlow write it."""
    net = Network(5)
    x = net.add("Transpose", "image", perm=[0, 3, 1, 2])
    x = net.add("Relu", net.conv(x, 3, 8, 3, 2, auto_pad="SAME_UPPER"))
    x = net.add("Transpose", x, perm=[0, 2, 3, 1])
    x = net.add("Pad", x, net.weight(np.array([0, 1, 1, 0, 0, 1, 1, 0])))
    x = net.add("Transpose", net.add("Mul", x, net.positive(8)), perm=[0, 3, 1, 2])
    x = net.add("Transpose", net.conv(x, 8, 4, 3, 2, auto_pad="VALID"), perm=[0, 2, 3, 1])
    x = net.add("Reshape", x, net.weight(np.array([-1, 4 * 4 * 4])))
    x = net.add("Add", net.add("MatMul", x, net.random(64, 5, scale=0.1)), net.random(5))
    return net.model(net.add("Softmax", x), image=(16, 16, 3))


def with_computed_shapes():
    """Shapes that are computed in the graph, as exporters of dynamic batches write them."""
    net = Network(6)
    x = net.add("LeakyRelu", net.conv("image", 3, 8, 3, 2), alpha=0.1)
    count = net.add("Gather", net.add("Shape", x), net.weight(np.array(0)), axis=0)
    parts = [count, net.weight(np.array(8)), net.weight(np.array(-1))]
    axes = net.weight(np.array([0]))
    shape = net.add("Concat", *[net.add("Unsqueeze", part, axes) for part in parts], axis=0)
    x = net.add("Transpose", net.add("Reshape", x, shape), perm=[0, 2, 1])
    x = net.add("ReduceL2", x, axes=[1], keepdims=0)
    return net.model(net.add("LogSoftmax", net.dense(x, 8, 5)))


NETWORKS = {
    "residual": residual,
    "mobile": mobile,
    "inception": inception,
    "embedder": embedder,
    "of_tensorflow": of_tensorflow,
    "with_computed_shapes": with_computed_shapes,
}


def run(model, images):
    """Evaluates a model with onnxruntime; channels last if its pictures are."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    first = model.graph.input[0].type.tensor_type.shape.dim[1].dim_value == images.shape[-1]
    given = images.transpose(0, 3, 1, 2) if first else images
    return session.run(["output"], {"image": np.ascontiguousarray(given)})[0]


def save(model, path):
    """Writes a model."""
    onnx.save(model, path)
    return path
