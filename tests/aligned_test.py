"""Photographs in which faces lie anywhere are brought into the model's frame, once."""

import json

import framed
import gallery
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from admitting import admit

from experiments import admission, aligned, audit, devices, experiment, imported
from mia_jax import faces
from mia_jax.attack.generators import landmarks
from mia_jax.evidence.results import Evaluation
from mia_jax.faces.alignment import NONE
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["audit"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return framed.write(tmp_path_factory.mktemp("framed"))


@pytest.fixture
def searched(monkeypatch):
    """Counts the photographs in which faces are sought."""
    found = []

    def points():
        find = framed.points()

        def counting(photograph):
            found.append(photograph.size)
            return find(photograph)

        return counting

    monkeypatch.setattr(landmarks, "dlib_points", points)
    return found


def test_faces_that_lie_anywhere_are_shown_as_the_model_wants_them(
    root, tmp_path, searched, caplog
):
    with caplog.at_level("WARNING"):
        workdir = admit(root, tmp_path, gallery.classifier(), align="arcface112")
    found = records.read(workdir.admission, admission.Admission)
    assert found.right == found.total == 30
    assert "1 of 61 photographs show no face and are left out: p2/nobody.png" in caplog.text
    how = records.read(workdir.model, imported.ModelFacts).preprocessing
    assert how.align == framed.CHIPS
    assert len(storage.read_arrays(workdir.points)) > 0
    # Whatever opens the work directory later seeks no face again.
    before = len(searched)
    frame = aligned.Frame(framed.CHIPS, workdir.points)
    with aligned.aligner(frame, str(root / "gallery")) as again:
        loaded = faces.load_folder(
            root / "gallery", image_size=gallery.SIDE, channels=3, aligner=again
        )
    assert len(searched) == before
    assert loaded.images.shape == (60, gallery.SIDE, gallery.SIDE, 3)
    assert np.abs(loaded.images[0] - gallery.photographs()[0, 0] / 255).max() < 0.1


def test_alignment_is_tried_where_the_model_does_poorly(root, tmp_path, searched, monkeypatch):
    model = gallery.classifier()
    # White pictures with a small face in them look like copies of one another.
    for name in ("check_people", "check_auxiliary"):
        monkeypatch.setattr(experiment.strangers, name, lambda *_: None)
    with pytest.raises(UserError, match=r"most likely .* meant aligned \(--align=arcface112\)"):
        admit(root, tmp_path, model)
    assert 0 < len(searched) <= 64  # A sample, not the attacker's faces.
    assert not (tmp_path / "run").exists()


def test_photographs_of_which_it_is_said_that_they_are_chips_stay_as_they_are(
    tmp_path, searched, monkeypatch
):
    root = gallery.write(tmp_path)
    gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    (tmp_path / "model.onnx.json").write_text(json.dumps({"align": "arcface112"}))
    monkeypatch.setattr("mia_jax.evidence.embedders.dlib_installed", lambda: False)
    with pytest.raises(MissingError, match=r"--align .* needs dlib and its landmarks: pip install"):
        admit(root, tmp_path, str(tmp_path / "model.onnx"))
    workdir = admit(root, tmp_path, str(tmp_path / "model.onnx"), align=NONE)
    assert records.read(workdir.model, imported.ModelFacts).preprocessing.align is None
    assert not searched


def test_an_audit_stays_in_the_frame_to_its_end(root, tmp_path, searched, monkeypatch):
    monkeypatch.setattr(devices, "start", lambda: None)
    gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    beside = {"align": {"size": framed.CHIPS.size, "points": framed.CHIPS.points}}
    (tmp_path / "model.onnx.json").write_text(json.dumps(beside))
    workdir = WorkDirectory(tmp_path / "run")
    values = {
        "model": str(tmp_path / "model.onnx"),
        "gallery_dir": str(root / "gallery"),
        "auxiliary_dir": str(root / "public"),
        "workdir": str(workdir.root),
        "identities": "p0,p1",
        "recipe": "best",
        **{"restarts": 7, "chunk": 7, "iterations": 4, "components": 10, "waves": 2},
        **{"judges": [], "judge": ["tests.own_judge:embed"], "fail_on": []},
    }
    with flagsaver.flagsaver(**values):
        audit.main()
    result = records.read(workdir.evaluation, Evaluation)
    assert set(result.verdict) == {"p0", "p1"}
    assert storage.map_array(workdir.clones_of("p0"), "clones").shape == (7, 16, 16, 3)
    # A later binary has neither the flag nor, here, a detector.
    before = len(searched)
    assert before == 401
    experiment.load_faces.cache_clear()
    loaded, _ = experiment.open_experiment(workdir)
    assert len(searched) == before
    assert np.abs(loaded.images[0] - gallery.photographs()[0, 0] / 255).max() < 0.1
    assert loaded.auxiliary is not None
    assert np.abs(loaded.auxiliary[-1] - gallery.photographs()[39, 9] / 255).max() < 0.1


def test_points_that_are_damaged_are_refused(root, tmp_path):
    kept = tmp_path / "points.npz"
    arrays = {"photographs": np.zeros((2, 32), np.uint8), "faces": np.array([1, 1])}
    for points in (np.zeros((1, 5, 2)), np.full((2, 5, 2), np.nan)):
        storage.write_arrays(kept, {**arrays, "points": points})
        with (
            pytest.raises(UserError, match=r"points.npz .*: delete it to redo it"),
            aligned.aligner(aligned.Frame(framed.CHIPS, kept), str(root)),
        ):
            pass
