"""Parts of face networks that PyTorch exports to ONNX, in both of its ways, give what it gives."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mia_jax.recognizer import importers

torch = pytest.importorskip("torch", reason="PyTorch is not installed: extra torch")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: extra torch")
nn, functional = torch.nn, torch.nn.functional
SIDE, CLASSES = 16, 5


class Squeezing(nn.Module):
    """Squeeze and excitation, as of SE-ResNet and MobileFaceNets."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Sequential(
            nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Sigmoid()
        )

    def forward(self, x):
        return x * self.fc(x)


class AcrossChannels(nn.Module):
    """Efficient channel attention: a convolution of one dimension along the channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x):
        y = x.mean((2, 3)).unsqueeze(1)
        return x * torch.sigmoid(self.conv(y)).squeeze(1)[..., None, None]


class Called(nn.Module):
    """A function of the pictures alone."""

    def __init__(self, call):
        super().__init__()
        self.call = call

    def forward(self, x):
        return self.call(x)


class Attending(nn.Module):
    """A block of a transformer over patches."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(8)
        self.mix = nn.Linear(8, 24)

    def forward(self, x):
        patches = x.flatten(2).transpose(1, 2)
        q, k, v = self.mix(self.norm(patches)).chunk(3, -1)
        heads = (each.unflatten(-1, (2, 4)).transpose(1, 2) for each in (q, k, v))
        mixed = functional.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(2)
        return (mixed + patches).transpose(1, 2).reshape(x.shape)


def resized(**given):
    return Called(lambda x: functional.interpolate(x, scale_factor=1.3, **given))


PARTS = {
    "PReLU": lambda: nn.PReLU(8),
    "depthwise": lambda: nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=False),
    "dilated and grouped": lambda: nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=2),
    "squeezing": Squeezing,
    "across channels": AcrossChannels,
    "bilinear": lambda: resized(mode="bilinear", align_corners=False),
    "bilinear, factor recomputed": lambda: resized(mode="bilinear", recompute_scale_factor=True),
    "corners aligned": lambda: resized(mode="bilinear", align_corners=True),
    "nearest": lambda: resized(mode="nearest"),
    "to a size": lambda: nn.Upsample((24, 20), mode="bilinear"),
    "pooled to parts": lambda: nn.AdaptiveAvgPool2d((4, 2)),
    "largest of all": lambda: nn.AdaptiveMaxPool2d(1),
    "groups normalized": lambda: nn.GroupNorm(4, 8),
    "instances normalized": lambda: nn.InstanceNorm2d(8, affine=True),
    "transposed": lambda: nn.ConvTranspose2d(8, 8, 3, 2, 1, output_padding=1),
    "transposed in groups": lambda: nn.ConvTranspose2d(8, 8, 4, 2, 1, groups=4, bias=False),
    "pooled to the ceiling": lambda: nn.MaxPool2d(3, 2, ceil_mode=True),
    "averaged without pads": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "reflected": lambda: nn.ReflectionPad2d(2),
    "cropped": lambda: Called(lambda x: functional.pad(x, (-1, -2, 1, -1))),
    "swish": nn.SiLU,
    "hard swish": nn.Hardswish,
    "GELU": nn.GELU,
    "mish": nn.Mish,
    "attending": Attending,
    "channels shuffled": lambda: nn.ChannelShuffle(2),
    "pixels shuffled": lambda: nn.PixelShuffle(2),
    "channels turned": lambda: Called(lambda x: x[:, [2, 1, 0, *range(3, 8)]]),
    "einsum": lambda: Called(lambda x: torch.einsum("nchw,ndhw->ncd", x, x)),
    "split and joined": lambda: Called(lambda x: torch.cat([x[:, ::2], x.chunk(2, 1)[0]], 1)),
    "length 1": lambda: Called(lambda x: functional.normalize(x.flatten(1))),
    "largest two": lambda: Called(lambda x: x.flatten(2).topk(2, 2).values),
    "spread": lambda: Called(lambda x: torch.stack([x.std((2, 3)), x.var((2, 3))], 1)),
}

# Those of which the newer exporter writes another form; it takes seconds for each.
PROGRAMS = (
    *("PReLU", "depthwise", "squeezing", "across channels", "bilinear, factor recomputed"),
    *("to a size", "pooled to parts", "groups normalized", "transposed", "pooled to the ceiling"),
    *("hard swish", "attending", "channels turned", "length 1", "spread"),
)
CASES = [*((name, False) for name in PARTS), *((name, True) for name in PROGRAMS)]


def network(part):
    """A part between a convolution, batch normalization, and a dense layer of classes."""
    torch.manual_seed(0)
    begins = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), part)
    norm = begins[1]
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        values.data.uniform_(0.5, 1.5)
    begins.eval()
    with torch.no_grad():
        size = begins(torch.zeros(2, 3, SIDE, SIDE)).flatten(1).shape[1]
    return nn.Sequential(begins, nn.Flatten(), nn.Linear(size, CLASSES)).eval()


def exported(module, images, path, newer):
    """Writes a module as ONNX, by the exporter of programs or by that of scripts."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if newer:
            shapes = ({0: torch.export.Dim("n")},)
            torch.onnx.export(
                module, (images,), dynamic_shapes=shapes, dynamo=True, verbose=False
            ).save(path)
        else:
            torch.onnx.export(
                *(module, (images,), path),
                dynamo=False,
                input_names=["image"],
                dynamic_axes={"image": {0: "n"}},
            )
    return importers.load(path)


@pytest.mark.parametrize(("name", "newer"), CASES)
def test_values_and_gradients_are_those_of_pytorch(name, newer, tmp_path):
    module = network(PARTS[name]())
    images = torch.rand(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    weights = torch.rand(3, CLASSES, generator=torch.Generator().manual_seed(2)) - 0.5
    try:
        imported = exported(module, images, tmp_path / "model.onnx", newer)
    except torch.onnx.errors.UnsupportedOperatorError:
        pytest.skip("the older exporter has no form for it")
    asked = images.clone().requires_grad_()
    expected = module(asked)
    (expected * weights).sum().backward()

    def score(pictures):
        answers = imported.apply_fn(imported.params, pictures)
        return jnp.sum(answers * weights.numpy()), answers

    pictures = images.numpy().transpose(0, 2, 3, 1)
    (_, given), gradient = jax.jit(jax.value_and_grad(score, has_aux=True))(pictures)
    for ours, theirs in (
        (given, expected.detach().numpy()),
        (gradient, asked.grad.numpy().transpose(0, 2, 3, 1)),
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * np.abs(theirs).max())
