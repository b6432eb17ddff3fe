"""Runs the audit as a user does, as a process, on models that the tests build."""

import gallery
import pytest
from binaries_test import refuse, succeed

from mia_jax.evidence.results import Evaluation
from mia_jax.evidence.unlocking import Unlocking
from mia_jax.runtime import records
from mia_jax.runtime.workdir import WorkDirectory

ATTACK = ("--restarts=7", "--chunk=7", "--iterations=4", "--components=10", "--waves=2")
JUDGE = ("--judges=", "--judge=tests.own_judge:embed")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return gallery.write(tmp_path_factory.mktemp("people"))


def flags(root, model, workdir):
    return (
        f"--model={model}",
        f"--gallery_dir={root / 'gallery'}",
        f"--auxiliary_dir={root / 'public'}",
        f"--workdir={workdir}",
        *ATTACK,
        *JUDGE,
    )


def test_a_classifier_is_audited_to_the_end_once(root, tmp_path):
    model = gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    given = flags(root, model, tmp_path / "run")
    said = succeed("audit", *given).stderr
    assert "photographs of its 6 people right" in said
    workdir = WorkDirectory(tmp_path / "run")
    result = records.read(workdir.evaluation, Evaluation)
    assert set(result.verdict) == {f"p{person}" for person in range(6)}
    assert result.recognizers["target"].settings is None
    assert result.recognizers["target"].test_accuracy > 0.9
    assert result.attack.name == "best"
    assert result.provenance.flags["model"] == str(model)
    report = workdir.report.read_text()
    assert "The target was trained elsewhere" in report
    assert "Training of the recognizers" not in report
    again = succeed("audit", *given).stderr
    assert "finished already" in again
    model.write_bytes(gallery.classifier(rows=[1, 0, 2, 3, 4, 5]).SerializeToString())
    assert "choose another --workdir" in refuse("audit", *given)


def test_an_embedder_says_whom_clones_unlock(root, tmp_path):
    model = gallery.save(gallery.embedder(), tmp_path / "model.onnx")
    succeed(
        *(
            "audit",
            *flags(root, model, tmp_path / "run"),
            "--returns=features",
            "--identities=p0,p1",
        )
    )
    workdir = WorkDirectory(tmp_path / "run")
    found = records.read(workdir.unlocking, Unlocking)
    assert set(found.people) == {"p0", "p1"}
    assert found.photographs.value > found.strangers.value
    assert "Would a clone unlock it?" in workdir.report.read_text()


def test_a_model_that_rounds_its_outputs_is_said_to_have_no_gradient(root, tmp_path):
    model = gallery.classifier(softmax=True, kind="rounded")
    path = gallery.save(model, tmp_path / "model.onnx")
    said = refuse("audit", *flags(root, path, tmp_path / "run"))
    assert "the gradient of the loss with respect to the image is zero everywhere" in said
