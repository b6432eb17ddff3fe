"""A work directory that somebody else made names no code that runs, and holds none."""

import dataclasses
import sys

import gallery
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import admission, experiment, imported
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["audit"])


@pytest.fixture
def audited(tmp_path):
    """A work directory whose model was admitted."""
    root = gallery.write(tmp_path / "people")
    path = gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    workdir = WorkDirectory(tmp_path / "run")
    given = {
        "model": str(path),
        "gallery_dir": str(root / "gallery"),
        "auxiliary_dir": str(root / "public"),
    }
    with flagsaver.flagsaver(**given):
        admission.admit(workdir)
    imported.load.cache_clear()
    return workdir


def trap(folder, name):
    """Writes a module which leaves a marker when it is imported; returns the marker."""
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f"{name}.marker"
    text = f"import pathlib\npathlib.Path({str(marker)!r}).touch()\n\n\ndef make():\n    return 7\n"
    (folder / f"{name}.py").write_text(text)
    return marker


def change(workdir, **given):
    facts = records.read(workdir.model, imported.ModelFacts)
    records.write(workdir.model, dataclasses.replace(facts, **given))


def test_a_function_that_only_the_directory_names_is_not_imported(audited, tmp_path, monkeypatch):
    marker = trap(tmp_path / "elsewhere", "trap_by_name")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    change(audited, model="trap_by_name:make")
    with pytest.raises(UserError, match="'trap_by_name:make', and no code runs that only a work"):
        experiment.load_recognizer(audited, "target")
    with flagsaver.flagsaver(model="other:make"), pytest.raises(UserError, match="no code runs"):
        experiment.load_recognizer(audited, "target")
    assert not marker.exists() and "trap_by_name" not in sys.modules


def test_files_are_compared_before_anything_is_imported_or_read(audited, tmp_path, monkeypatch):
    marker = trap(tmp_path / "elsewhere", "trap_of_weights")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    (tmp_path / "weights.npz").write_bytes(b"others")
    change(audited, model="trap_of_weights:make", weights=str(tmp_path / "weights.npz"))
    with flagsaver.flagsaver(model="trap_of_weights:make"):
        with pytest.raises(UserError, match="is not the model for which"):
            experiment.load_recognizer(audited, "target")
        assert not marker.exists()
        digest = imported.files_digest("trap_of_weights:make", str(tmp_path / "weights.npz"))
        change(audited, files=digest)
        with pytest.raises(UserError):  # What the user names is imported, and is no model.
            experiment.load_recognizer(audited, "target")
    assert marker.exists()


@pytest.mark.parametrize("name", ["trap_within", "package.trap_within"])
@pytest.mark.parametrize("flag", ["model", "judge"])
def test_a_module_within_a_work_directory_is_not_imported(
    name, flag, audited, tmp_path, monkeypatch
):
    folder = audited.root / name.rpartition(".")[0]
    marker, package = trap(folder, "trap_within"), audited.root / "package.marker"
    if "." in name:
        (folder / "__init__.py").write_text(f"open({str(package)!r}, 'w')\n")
    monkeypatch.syspath_prepend(audited.root)
    with pytest.raises(UserError, match=f"--{flag}={name}:make lies in the work directory"):
        imported.imported_function(flag, f"{name}:make")
    assert not marker.exists() and not package.exists()


def test_a_link_to_a_work_directory_does_not_help(audited, tmp_path, monkeypatch):
    marker = trap(audited.root, "trap_linked")
    (tmp_path / "linked").symlink_to(audited.root)
    monkeypatch.syspath_prepend(tmp_path / "linked")
    with pytest.raises(UserError, match="lies in the work directory"):
        imported.imported_function("judge", "trap_linked:make")
    assert not marker.exists()


def test_a_new_work_directory_is_one_as_well(tmp_path, monkeypatch):
    marker = trap(tmp_path / "new", "trap_new")
    monkeypatch.syspath_prepend(tmp_path / "new")
    given = flagsaver.flagsaver(workdir=str(tmp_path / "new"))
    with given, pytest.raises(UserError, match="lies in the work directory"):
        imported.imported_function("judge", "trap_new:make")
    assert not marker.exists()


def test_trust_is_for_the_file_that_the_user_names(audited, monkeypatch):
    asked = []
    monkeypatch.setattr(
        imported.importers, "load", lambda *given, trust: asked.append(trust) or 1 / 0
    )
    path = records.read(audited.model, imported.ModelFacts).model
    for model in (None, path):
        with flagsaver.flagsaver(trust_model=True, model=model), pytest.raises(ZeroDivisionError):
            imported.load(str(audited.root))
    assert asked == [False, True]
