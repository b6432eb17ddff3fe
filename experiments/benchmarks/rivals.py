"""What the benchmark measures against: PyTorch, onnxruntime, ART, and the paper's arithmetic.

All of them are imported by name when they are asked for: they are an extra, and computing on CPU is
all that is asked of them.
"""

import importlib
import importlib.util
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from mia_jax import recognizer
from mia_jax.runtime.errors import UserError

RATE = 0.1  # Of every attack here.
# What a suite cannot do without, and how that is called.
PACKAGES = {
    "peers": (("torch", "art", "packaging"), "PyTorch and ART"),
    "imported": (
        ("torch", "onnx", "onnxscript", "onnxruntime"),
        "PyTorch, onnx, onnxscript and onnxruntime",
    ),
}
# Images at once in PyTorch's attack: the fastest of those tried on two idle cores.
CHUNK = 20


class Network(NamedTuple):
    """Which of the paper's CNNs.

    Attributes:
      side: Height and width of the images.
      channels: Of the images.
      classes: Number of registered identities.
    """

    side: int
    channels: int
    classes: int


def has_torch() -> bool:
    """Tells whether PyTorch is installed."""
    return importlib.util.find_spec("torch") is not None


def need(suite: str) -> None:
    """Checks that whoever a suite measures against is installed.

    Args:
      suite: One of `PACKAGES`.

    Raises:
      UserError: If one is missing.
    """
    packages, called = PACKAGES[suite]
    if any(importlib.util.find_spec(package) is None for package in packages):
        raise UserError(f"--suite={suite} needs {called}: pip install -e '.[benchmark]'")


def forward_flops(network: Network) -> int:
    """Counts the arithmetic of one image's way forward, a multiply-add as two operations.

    The gradient with respect to the image takes as many again. Biases, rectification and pooling
    are not counted: they are below 2%.

    Args:
      network: Which CNN.

    Returns:
      The floating point operations of convolutions and matrix products.
    """
    side, inputs, flops = network.side, network.channels, 0
    for size, features in zip(recognizer.KERNELS, recognizer.CHANNELS, strict=True):
        flops += 2 * size**2 * inputs * features * side**2
        side, inputs = side // 2, features
    inputs *= side**2
    for outputs in (recognizer.UNITS, recognizer.UNITS, network.classes):
        flops += 2 * inputs * outputs
        inputs = outputs
    return flops


def paper_cnn(network: Network) -> Any:
    """Builds the paper's CNN in PyTorch, channels last: half the time of its default layout.

    Args:
      network: Which CNN.

    Returns:
      A `torch.nn.Module` from images `[n, channels, side, side]` to logits.
    """
    torch = importlib.import_module("torch")
    nn = torch.nn
    layers, inputs = [], network.channels
    for size, features in zip(recognizer.KERNELS, recognizer.CHANNELS, strict=True):
        layers += [nn.Conv2d(inputs, features, size, padding=size // 2), nn.ReLU(), nn.MaxPool2d(2)]
        inputs = features
    layers.append(nn.Flatten())
    inputs *= (network.side // 2 ** len(recognizer.KERNELS)) ** 2
    for _ in range(2):
        layers += [nn.Linear(inputs, recognizer.UNITS), nn.ReLU()]
        inputs = recognizer.UNITS
    layers.append(nn.Linear(inputs, network.classes))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1, **fields: int) -> list[Any]:
    """Returns a convolution that keeps the sides but for the stride, and its normalization."""
    nn = importlib.import_module("torch").nn
    facts = {"padding": size // 2, **fields}
    return [nn.Conv2d(inputs, outputs, size, stride, bias=False, **facts), nn.BatchNorm2d(outputs)]


def resnet_18(network: Network) -> Any:
    """Builds ResNet-18 in PyTorch, channels last, with whatever statistics a fresh one has.

    Args:
      network: Of what images, and how many classes.

    Returns:
      A `torch.nn.Module` from images `[n, channels, side, side]` to logits.

    Source: He et al. 2016, "Deep residual learning for image recognition".
    """
    torch = importlib.import_module("torch")
    nn = torch.nn

    class Block(nn.Module):  # type: ignore[name-defined]
        """Two convolutions, and a way around them."""

        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            first = _convolution(inputs, outputs, 3, stride)
            self.through = nn.Sequential(*first, nn.ReLU(), *_convolution(outputs, outputs, 3, 1))
            same = inputs == outputs
            around = [] if same else _convolution(inputs, outputs, 1, stride)
            self.around = nn.Sequential(*around)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.through(x) + self.around(x))

    layers = [*_convolution(network.channels, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers += [Block(inputs, outputs, outputs // inputs), Block(outputs, outputs, 1)]
        inputs = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, network.classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def mobile_face_net(network: Network) -> Any:
    """Builds MobileFaceNet in PyTorch, channels last, with whatever statistics a fresh one has.

    Args:
      network: Of what images, and how many features, called classes.

    Returns:
      A `torch.nn.Module` from images `[n, channels, side, side]` to features.

    Source: Chen et al. 2018, "MobileFaceNets", table 1.
    """
    torch = importlib.import_module("torch")
    nn = torch.nn

    def active(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[Any]:
        return [*_convolution(inputs, outputs, size, stride, groups=groups), nn.PReLU(outputs)]

    class Bottleneck(nn.Module):  # type: ignore[name-defined]
        """A depthwise convolution between two of one pixel, and a way around them."""

        def __init__(self, inputs: int, within: int, outputs: int, stride: int) -> None:
            super().__init__()
            depthwise = active(within, within, 3, stride, within)
            last = _convolution(within, outputs, 1)
            self.through = nn.Sequential(*active(inputs, within, 1), *depthwise, *last)
            self.around = stride == 1 and inputs == outputs

        def forward(self, x: Any) -> Any:
            return x + self.through(x) if self.around else self.through(x)

    layers = [*active(network.channels, 64, 3, 2), *active(64, 64, 3, 1, 64)]
    inputs = 64
    for expansion, outputs, count, stride in (
        *((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1)),
        *((4, 128, 1, 2), (2, 128, 2, 1)),
    ):
        for number in range(count):
            within = expansion * inputs
            layers.append(Bottleneck(inputs, within, outputs, 1 if number else stride))
            inputs = outputs
    rest = -(-network.side // 16)  # Of the sides, after four strides.
    layers += active(inputs, 512, 1)
    layers += _convolution(512, 512, rest, padding=0, groups=512)
    layers += [*_convolution(512, network.classes, 1), nn.Flatten()]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def written(net: Any, network: Network) -> Any:
    """Writes a network as ONNX, as its users do.

    Args:
      net: From `resnet_18` or `mobile_face_net`.
      network: Of what images.

    Returns:
      `onnx.ModelProto`, of any number of images.
    """
    torch = importlib.import_module("torch")
    example = torch.zeros(2, network.channels, network.side, network.side)
    batch = ({0: torch.export.Dim("n")},)
    program = torch.onnx.export(
        net.eval(), (example,), dynamo=True, dynamic_shapes=batch, verbose=False
    )
    return program.model_proto


def onnxruntime_forward(model: Any, images: np.ndarray, threads: int) -> Callable[[], None]:
    """Prepares a network in onnxruntime.

    Args:
      model: `onnx.ModelProto`.
      images: `[n, height, width, channels]`; `CHUNK` of them are shown at a time.
      threads: How many may compute.

    Returns:
      Shows all of them to the network.
    """
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (given,) = session.get_inputs()
    turned = np.ascontiguousarray(images.transpose(0, 3, 1, 2))
    chunks = np.split(turned, range(CHUNK, len(turned), CHUNK))

    def run() -> None:
        for chunk in chunks:
            session.run(None, {given.name: chunk})

    return run


def _photographs(network: Network, count: int) -> Any:
    """Draws images in PyTorch."""
    torch = importlib.import_module("torch")
    images = torch.rand(count, network.channels, network.side, network.side)
    return images.contiguous(memory_format=torch.channels_last)


def torch_attack(net: Any, network: Network, restarts: int, iterations: int) -> Callable[[], None]:
    """Prepares gradient descent on the cross-entropy, pixels clipped, weights frozen.

    Args:
      net: From `paper_cnn` or `resnet_18`.
      network: Of what images.
      restarts: How many images descend.
      iterations: How far.

    Returns:
      Runs all iterations of all restarts.
    """
    torch = importlib.import_module("torch")
    net = net.eval().requires_grad_(False)

    def step(images: Any) -> Any:
        images = images.detach().requires_grad_(True)
        label = torch.full((len(images),), 3)
        loss = torch.nn.functional.cross_entropy(net(images), label, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        return (images.detach() - RATE * gradient).clamp_(0, 1)

    chunks = list(torch.split(_photographs(network, restarts), CHUNK))

    def run() -> None:
        for _ in range(iterations):
            chunks[:] = [step(chunk) for chunk in chunks]

    return run


def torch_training(network: Network, batch: int, rate: float, steps: int) -> Callable[[], None]:
    """Prepares training by Adam on the cross-entropy of one batch.

    Args:
      network: Which CNN.
      batch: Photographs in it.
      rate: Adam's.
      steps: How many to take.

    Returns:
      Takes the steps.
    """
    torch = importlib.import_module("torch")
    net, images = paper_cnn(network).train(), _photographs(network, batch)
    labels = torch.arange(batch) % network.classes
    # Fused is its fastest: by default, updating 7 million weights takes several times as long.
    adam = torch.optim.Adam(net.parameters(), rate, fused=True)

    def run() -> None:
        for _ in range(steps):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(net(images), labels).backward()
            adam.step()

    return run


def art_attack(
    network: Network, targets: np.ndarray, iterations: int, helped: bool
) -> Callable[[], None]:
    """Prepares ART's MIFace on logits, its stronger form, with one batch of all restarts.

    As users run it, the model has PyTorch's default layout, and ART computes the gradients of the
    weights as well and drops them. Help is the channels-last layout and frozen weights.

    MIFace goes on with a restart while its cost is below the threshold, so that an infinite one
    makes it take every iteration. It differentiates once for each distinct label.

    Args:
      network: Which CNN.
      targets: `[restarts]`: the targeted classes.
      iterations: How many.
      helped: Whether to help it.

    Returns:
      Runs all iterations of all restarts.
    """
    torch = importlib.import_module("torch")
    classification = importlib.import_module("art.estimators.classification")
    inversion = importlib.import_module("art.attacks.inference.model_inversion")
    shape = (network.channels, network.side, network.side)
    net = paper_cnn(network).eval()
    if helped:
        net.requires_grad_(False)
    else:
        net.to(memory_format=torch.contiguous_format)
    classifier = classification.PyTorchClassifier(
        model=net,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=shape,
        nb_classes=network.classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    attack = inversion.MIFace(
        classifier,
        max_iter=iterations,
        window_length=1,
        threshold=math.inf,
        learning_rate=RATE,
        batch_size=len(targets),
        verbose=False,
    )
    seeds = np.random.default_rng(0).random((len(targets), *shape), np.float32)

    def run() -> None:
        attack.infer(seeds, targets)

    return run
