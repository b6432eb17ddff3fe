"""Runs the benchmark as a user does, with tiny settings; nothing here judges a time."""

import json

import binaries
import jax
import pytest

from experiments.benchmarks import faces, rivals

# PyTorch counts as missing wherever this runs; scipy must not look for it meanwhile.
PROGRAM = """
import runpy, scipy.stats, sys
sys.modules["torch"] = None
sys.argv[0] = "benchmark"
runpy.run_module("experiments.benchmark", run_name="__main__", alter_sys=False)
"""
# Of the priors two, since each is compiled several times, and one whose package is missing.
FEW_PRIORS = """
from experiments.benchmarks import faces
from mia_jax.attack.generators import mobile_stylegan_files
mobile_stylegan_files.PACKAGE = "random-face-hidden"
for name in ("components", "shapes", "vae"):
    del faces.PRIORS[name]
"""


def run(*flags, first=""):
    return binaries.Running(first + PROGRAM, *flags).end(240)


def test_step_without_pytorch(tmp_path):
    path = tmp_path / "new" / "figures.json"
    flags = ["--image_size=16", "--classes=7", "--restarts=4", "--chunk=2", "--channels=1"]
    result = run(*flags, "--rounds=2", "--iterations=100", f"--json={path}")
    assert result.returncode == 0, result.stderr[-3000:]
    assert "PyTorch is not installed" in result.stdout
    assert "mia_jax_ms" in result.stdout

    written = json.loads(path.read_text())
    assert list(path.parent.iterdir()) == [path]
    assert written["processor"]
    assert written["cores"] >= 1
    assert written["device"]
    assert written["load_average"] >= 0
    assert written["versions"]["jax"]
    assert written["settings"]["classes"] == 7
    assert list(written["step"]) == ["channels_1"]
    figures = written["step"]["channels_1"]
    assert figures.pop("torch_ms") is None
    assert figures.pop("ratio") is None
    assert set(figures) == {
        "mia_jax_ms",
        "mia_jax_best_ms",
        "floor_ms",
        "floor_best_ms",
        "floor_ratio",
        "gflop",
        "peak_gflops",
        "first_iteration_s",
    }
    assert all(value > 0 for value in figures.values())
    assert figures["mia_jax_best_ms"] <= figures["mia_jax_ms"]

    convolutions = 64_000 + 256_000 + 147_456 + 147_456
    image = convolutions + 131_072 + 2_097_152 + 14_336
    assert figures["gflop"] == pytest.approx(4 * 2 * image / 1e9)
    floor = figures["gflop"] / figures["peak_gflops"] * 1e3
    assert figures["floor_ms"] == pytest.approx(floor)


def test_priors_without_their_packages(tmp_path):
    path = tmp_path / "figures.json"
    flags = ["--image_size=32", "--classes=7", "--restarts=2", "--chunk=1", "--rounds=1"]
    flags += ["--suite=priors", "--iterations=60", f"--json={path}"]
    result = run(*flags, first=FEW_PRIORS)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "photorealistic is left out: pip install --no-deps random-face" in result.stdout
    rows = json.loads(path.read_text())["priors"]
    assert list(rows) == ["pixels", "eigenfaces"]
    pixels, eigenfaces = rows.values()
    assert pixels["prior_ms"] is pixels["prior_floor_ratio"] is None
    assert pixels["prior_share"] == 0
    assert all(value > 0 for value in eigenfaces.values())
    assert eigenfaces["mflop"] == pytest.approx(pixels["mflop"] + eigenfaces["prior_mflop"])
    for figures in (pixels, eigenfaces):
        assert figures["floor_ms"] == pytest.approx(figures["mflop"] / figures["peak_gflops"])


def test_arithmetic_of_a_prior():
    """A product with 60 + 24 * 24 - 1 images, and its gradient; little besides."""
    images = faces.synthetic_faces((32, 32, 1))
    flops = faces.decode_flops(faces.PRIORS["eigenfaces"](images))
    assert flops == pytest.approx(2 * 2 * 635 * 32**2, rel=0.01)


@pytest.mark.parametrize("name", ["pixels", "components", "shapes"])
def test_priors_take_synthetic_faces(name):
    images = faces.synthetic_faces((32, 24, 3))
    space = faces.PRIORS[name](images)
    assert jax.eval_shape(space.decode, space.start(jax.random.key(0))).shape == (32, 24, 3)


@pytest.mark.parametrize(
    ("channels", "first_layer"),
    [(1, 2 * 5 * 5 * 1 * 5 * 128 * 128), (3, 2 * 5 * 5 * 3 * 5 * 128 * 128)],
)
def test_arithmetic_of_the_papers_cnn(channels, first_layer):
    convolutions = first_layer + 16_384_000 + 9_437_184 + 9_437_184
    products = 2 * (64 * 8 * 8 * 1024 + 1024 * 1024 + 1024 * 2041)
    assert rivals.forward_flops(rivals.Network(128, channels, 2041)) == convolutions + products


def test_the_embedder_is_that_of_its_paper():
    """Table 1 has 0.99 million weights; 17 of the convolutions are depthwise."""
    torch = pytest.importorskip("torch")
    net = rivals.mobile_face_net(rivals.Network(112, 3, 128)).eval()
    assert sum(each.numel() for each in net.parameters()) == pytest.approx(0.99e6, rel=0.02)
    assert sum(getattr(each, "groups", 1) > 1 for each in net.modules()) == 17
    assert net(torch.zeros(2, 3, 112, 112)).shape == (2, 128)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--suite=peers", "--suite=peers needs PyTorch and ART: pip install -e '.[benchmark]'"),
        (
            "--suite=imported",
            "--suite=imported needs PyTorch, onnx, onnxscript and onnxruntime: pip install -e "
            "'.[benchmark]'",
        ),
        ("--json=tests", "--json=tests is a directory: name a file"),
        (
            "--suite=step,speed",
            "--suite=step,speed: choose among step, imported, priors, train, peers, scale, memory, "
            "verdicts",
        ),
    ],
)
def test_a_mistake_is_one_sentence(flag, words):
    result = run(flag)
    assert result.returncode == 2, result.stderr[-3000:]
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1] == f"benchmark: {words}"


def test_verdicts_are_simulated(tmp_path):
    path = tmp_path / "verdicts.json"
    result = run("--suite=verdicts", "--trials=8", f"--json={path}")
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(path.read_text())
    assert found["settings"]["trials"] == 8
    assert {"5x40x100", "76x76x4 groups"} <= set(found["verdicts"])
    for row in found["verdicts"].values():
        assert 0 <= row["none_people"] <= row["none_any"] <= 1
        assert 0 <= row["one_people"] <= row["one_any"] <= 1
