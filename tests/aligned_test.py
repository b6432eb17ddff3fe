"""Photographs in which faces lie anywhere are brought into the model's frame, once."""

import framed
import gallery
import numpy as np
import pytest
from absl import flags
from admitting import admit

from experiments import admission, aligned, imported
from mia_jax import faces
from mia_jax.attack.generators import landmarks
from mia_jax.runtime import records, storage

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
