"""Tests of finding what packages carry."""

import importlib.metadata
import pathlib

from mia_jax.runtime import packages


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
