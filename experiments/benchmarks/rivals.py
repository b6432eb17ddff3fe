"""What the benchmark measures against: PyTorch, ART, and the arithmetic of the paper's CNN.

PyTorch and ART are imported by name when they are asked for: they are an extra, and computing on
CPU is all that is asked of them.
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
PACKAGES = ("torch", "art", "packaging")
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
    """Checks that PyTorch and ART are installed.

    Args:
      suite: What cannot do without.

    Raises:
      UserError: If one is missing.
    """
    if any(importlib.util.find_spec(package) is None for package in PACKAGES):
        raise UserError(f"--suite={suite} needs PyTorch and ART: pip install -e '.[benchmark]'")


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

    def convolution(inputs: int, outputs: int, size: int, stride: int) -> list[Any]:
        kernel = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
        return [kernel, nn.BatchNorm2d(outputs)]

    class Block(nn.Module):  # type: ignore[name-defined]
        """Two convolutions, and a way around them."""

        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            first = convolution(inputs, outputs, 3, stride)
            self.through = nn.Sequential(*first, nn.ReLU(), *convolution(outputs, outputs, 3, 1))
            same = inputs == outputs
            around = [] if same else convolution(inputs, outputs, 1, stride)
            self.around = nn.Sequential(*around)

        def forward(self, x: Any) -> Any:
            return torch.relu(self.through(x) + self.around(x))

    layers = [*convolution(network.channels, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inputs = 64
    for outputs in (64, 128, 256, 512):
        layers += [Block(inputs, outputs, outputs // inputs), Block(outputs, outputs, 1)]
        inputs = outputs
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, network.classes)]
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


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
