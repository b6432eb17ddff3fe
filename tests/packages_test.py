"""Tests of finding what packages carry, of what is said to install, and of the least versions."""

import contextlib
import importlib.metadata
import itertools
import pathlib
import re
import runpy
import subprocess
from unittest import mock

import pytest

from mia_jax.runtime import packages

ROOT = pathlib.Path(__file__).parent.parent


def test_the_files_of_a_package_are_found_by_name():
    found = packages.files("absl-py")
    assert "absl" in found["app.py"].read_text()
    assert all(path.exists() for path in found.values())


def test_a_package_that_is_not_installed_has_none():
    assert packages.files("no-such-package-here") is None


def test_files_that_are_listed_and_gone_are_left_out(monkeypatch, tmp_path):
    class File:
        def __init__(self, name):
            self.name = name

        def locate(self):
            return pathlib.Path(tmp_path) / self.name

    class Distribution:
        files = (File("here"), File("gone"))

    (tmp_path / "here").touch()
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Distribution())
    assert packages.files("some") == {"here": tmp_path / "here"}


TRIED = {"keras": "3.15.1", "onnx": "1.23.2", "torch": "2.13", "safetensors": "0.8"}


def floors():
    """The least versions that the extras of setup.py admit."""
    found = {}
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    for requirement in itertools.chain(*setup.call_args.kwargs["extras_require"].values()):
        name, _, version = requirement.partition(">=")
        found.setdefault(name, set()).add(version)
    return found


def numbers(version):
    return [int(part) for part in version.split("+")[0].split(".")]


@pytest.mark.parametrize("package", TRIED)
def test_extras_admit_no_version_with_holes_that_are_known(package):
    """Older ones ran a payload (keras 3.8), or read other files through links (onnx 1.17)."""
    (floor,) = floors()[package]
    assert numbers(floor) >= numbers(TRIED[package])
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert numbers(importlib.metadata.version(package)) >= numbers(floor)


def test_nothing_tells_a_reader_to_install_a_name_that_nobody_owns():
    """Whoever took the name on the index would run code on each machine of such a reader."""
    wrong = re.compile(r"pip install (-\S+ )*[\"']?mia[_-]jax\b|mia[_-]jax\[")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    for name in listed.stdout.split("\0"):
        path = ROOT / name
        read = path.suffix in (".py", ".md", ".html", ".js", ".toml") and path.is_file()
        if read and path != pathlib.Path(__file__).resolve():
            assert not wrong.search(path.read_text()), path


@pytest.mark.parametrize("extra", ["judge", "quiz", "onnx", "torch", "keras", "orl", "prepare"])
def test_a_hint_names_what_a_clone_or_else_the_index_has(extra, monkeypatch, tmp_path):
    assert packages.hint(extra) == f'pip install -e ".[{extra}]" in the clone of mia_jax'
    monkeypatch.setattr(packages, "_CHECKOUT", tmp_path)
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    extras = setup.call_args.kwargs["extras_require"]
    required = [f'{each}; extra == "{name}"' for name, some in extras.items() for each in some]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required)
    words = " ".join(f'"{each}"' for each in extras[extra])
    assert packages.hint(extra) == f"pip install {words}"
