"""A MobileStyleGAN of a few weights, in files laid out like the package's, for the tests."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import scipy.signal

SIZE, LAYERS, CHANNELS = 6, 3, 8  # Of a style; of the synthesis; of its features.
SIDE = 8 << LAYERS


class Graph:
    """Layers that are written as OpenVINO writes them, and computed one by one in NumPy."""

    def __init__(self):
        self.layers, self.edges, self.raw = [], [], b""

    def constant(self, name, value):
        value = np.asarray(value, np.float32)
        self.layers.append(("Const", name, (), lambda: value.astype(np.float64), value))
        return len(self.layers) - 1

    def layer(self, kind, name, inputs, function):
        self.layers.append((kind, name, tuple(inputs), function, None))
        return len(self.layers) - 1

    def write(self, path):
        root = ElementTree.Element("net", name=path.name, version="10")
        layers = ElementTree.SubElement(root, "layers")
        edges = ElementTree.SubElement(root, "edges")
        raw = b""
        for number, (kind, name, inputs, _, value) in enumerate(self.layers):
            layer = ElementTree.SubElement(
                layers, "layer", id=str(number), name=name, type=kind, version="opset1"
            )
            if value is not None:
                shape = ", ".join(map(str, value.shape))
                where = {"offset": str(len(raw)), "size": str(value.nbytes)}
                ElementTree.SubElement(layer, "data", element_type="f32", shape=shape, **where)
                raw += value.astype("<f4").tobytes()
            for port, source in enumerate(inputs):
                ends = {"from-layer": str(source), "to-layer": str(number), "to-port": str(port)}
                ElementTree.SubElement(edges, "edge", {"from-port": "9", **ends})
        ElementTree.ElementTree(root).write(f"{path}.xml")
        path.with_suffix(".bin").write_bytes(raw)

    def run(self, value):
        """Computes the last layer, of the first one's value."""
        found = []
        for _, _, inputs, function, _ in self.layers:
            found.append(function(*(found[place] for place in inputs)) if found else value)
        return found[-1]


def rectify(x):
    return np.where(x > 0, x, 0.2 * x)


def convolve(x, kernel):
    """`[channels, side, side]` with `[features, channels, size, size]`, as a network does."""
    return np.stack(
        [
            sum(scipy.signal.correlate2d(a, b, "same") for a, b in zip(x, own, strict=True))
            for own in kernel
        ]
    )


def convolve_each(x, kernel):
    """`[channels, side, side]` with `[channels, 1, 1, 3, 3]`, each channel by itself."""
    pairs = zip(x, kernel[:, 0, 0], strict=True)
    return np.stack([scipy.signal.correlate2d(*pair, "same") for pair in pairs])


def inverse_haar(x):
    """The means, then for each channel the details down, across and diagonal."""
    channels = len(x) // 4
    details = x[channels:].reshape(channels, 3, *x.shape[1:])
    patterns = [[[1, 1], [-1, -1]], [[1, -1], [1, -1]], [[1, -1], [-1, 1]]]
    found = [np.kron(mean, np.ones((2, 2))) for mean in x[:channels]]
    for place, pattern in enumerate(patterns):
        found = [a + np.kron(own[place], pattern) for a, own in zip(found, details, strict=True)]
    return np.stack(found) / 2


def shape_of(x):
    return np.array(x.shape)


def mapping(random):
    graph = Graph()
    x = draw = graph.layer("Parameter", "var", (), None)
    squares = graph.layer("Power", "Pow", [draw], np.square)
    mean = graph.layer("ReduceMean", "Mean", [squares], np.mean)
    small = graph.layer("Add", "Add_3", [mean, graph.constant("tiny", [[1e-8]])], np.add)
    x = graph.layer("Multiply", "Mul_7", [draw, small], lambda z, m: z / np.sqrt(m))
    for number in range(3):
        weight = graph.constant(f"{number}1", random.normal(size=(SIZE, SIZE)) / SIZE**0.5)
        product = graph.layer("MatMul", f"MatMul_{number}", [x, weight], lambda a, b: a @ b.T)
        bias = graph.constant(f"{number}2", random.normal(size=SIZE))
        shape = graph.layer("ShapeOf", f"Shape_{number}", [product], shape_of)
        bias = graph.layer("Reshape", f"Reshape_{number}", [bias, shape], lambda a, _: a[None])
        x = graph.layer("Add", f"Add_{number}", [product, bias], np.add)
        slope = graph.constant(f"LeakyRelu_{number}", [0.2])
        x = graph.layer("PReLU", f"PReLU_{number}", [x, slope], lambda a, _: rectify(a))
        root = graph.constant(f"Constant_{number}", [[2**0.5]])
        x = graph.layer("Multiply", f"Mul_{number}", [x, root], np.multiply)
    return graph


def synthesis(random):
    graph = Graph()
    style = graph.layer("Parameter", "style", (), None)

    def factors(name, channels, scale=None):
        weight = graph.constant(
            f"{name}.modulation.weight", random.normal(size=(channels, SIZE)) / 4
        )
        bias = graph.constant(f"{name}.modulation.bias", 1 + random.normal(size=(1, channels)) / 10)
        product = graph.layer("MatMul", f"{name}/product", [style, weight], lambda a, b: a @ b.T)
        total = graph.layer("Add", f"{name}/sum", [product, bias], np.add)
        shape = graph.layer("ShapeOf", f"{name}/shape", [style], shape_of)
        x = graph.layer("Reshape", f"{name}/four", [total, shape], lambda a, _: a.reshape(-1, 1, 1))
        if scale is None:
            return x
        number = graph.constant(f"{name}/scale", [[[[scale]]]])
        return graph.layer("Multiply", f"{name}/scaled", [x, number], lambda a, b: a * b[0])

    def finish(x, name, channels, side):
        noise = graph.constant(f"{name}/noise", random.normal(size=(1, 1, side, side)) / 5)
        bias = graph.constant(f"{name}.bias", random.normal(size=(1, channels, 1, 1)) / 5)
        x = graph.layer("Add", f"{name}/noisy", [x, noise], lambda a, b: a + b[0])
        x = graph.layer("Add", f"{name}/biased", [x, bias], lambda a, b: a + b[0])
        slope = graph.constant(f"{name}/slope", [0.2])
        return graph.layer("PReLU", f"{name}/out", [x, slope], lambda a, _: rectify(a))

    def block(x, name, inputs, side):
        own = factors(f"{name}.conv", inputs, 1.3)
        x = graph.layer("Multiply", f"{name}/in", [own, x], np.multiply)
        kernel = graph.constant(f"{name}.conv.weight_dw", random.normal(size=(inputs, 1, 1, 3, 3)))
        x = graph.layer(
            "GroupConvolution",
            f"{name}/dw",
            [x, kernel],
            convolve_each,
        )
        kernel = graph.constant(
            f"{name}/copy", random.normal(size=(CHANNELS, inputs, 1, 1)) / inputs / 2
        )
        x = graph.layer("Convolution", f"{name}/pw", [x, kernel], convolve)
        return finish(x, name, CHANNELS, side)

    x = graph.constant("m.input.input", random.normal(size=(1, CHANNELS, 4, 4)))
    own = factors("m.conv1.conv", CHANNELS, 0.1)
    x = graph.layer("Multiply", "Mul_20", [own, x], lambda a, b: a * b[0])
    kernel = graph.constant("Mul_39_copy", random.normal(size=(CHANNELS, CHANNELS, 3, 3)))
    x = graph.layer("Convolution", "Conv_21", [x, kernel], convolve)
    x = finish(x, "m.conv1", CHANNELS, 4)
    for number in range(LAYERS):
        name, side = f"m.layers.{number}", 8 << number
        up = factors(f"{name}.up", CHANNELS)
        x = graph.layer("Multiply", f"{name}/up", [up, x], np.multiply)
        x = graph.layer("GroupConvolutionBackpropData", f"{name}/haar", [x], inverse_haar)
        x = block(x, f"{name}.conv1", CHANNELS // 4, side)
        x = block(x, f"{name}.conv2", CHANNELS, side)
    name = f"m.layers.{LAYERS - 1}.to_img"
    own = factors(f"{name}.conv", CHANNELS, 0.35)
    x = graph.layer("Multiply", f"{name}/in", [own, x], np.multiply)
    kernel = graph.constant(f"{name}.conv.weight", random.normal(size=(12, CHANNELS, 1, 1)) / 20)
    x = graph.layer("Convolution", f"{name}/conv", [x, kernel], convolve)
    bias = graph.constant(f"{name}.bias", random.normal(size=(1, 12, 1, 1)) / 5)
    x = graph.layer("Add", f"{name}/biased", [x, bias], lambda a, b: a + b[0])
    graph.layer("GroupConvolutionBackpropData", "img", [x], inverse_haar)
    return graph


def write(directory):
    """Writes the four files, and returns the two graphs."""
    random = np.random.default_rng(0)
    graphs = mapping(random), synthesis(random)
    for graph, name in zip(graphs, ("MappingNetwork", "SynthesisNetwork"), strict=True):
        graph.write(directory / name)
    return graphs
