"""Runs the audit on models that the tests build: once as a user does, else within this process."""

import binaries
import gallery
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from mia_jax.evidence.unlocking import Unlocking

from experiments import admission, attack, audit, devices, experiment, imported, scenario_flags
from mia_jax.evidence import unlocking
from mia_jax.evidence.results import Evaluation
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["audit"])
ATTACK = {"restarts": 7, "chunk": 7, "iterations": 4, "components": 10, "waves": 2}
JUDGE = {"judges": [], "judge": ["tests.own_judge:embed"]}


@pytest.fixture(autouse=True)
def started(monkeypatch):
    """In this process JAX has its devices already."""
    monkeypatch.setattr(devices, "start", lambda: None)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return gallery.write(tmp_path_factory.mktemp("people"))


def given(root, model, workdir):
    """The flags of an audit of two people."""
    return {
        "model": str(model),
        "gallery_dir": str(root / "gallery"),
        "auxiliary_dir": str(root / "public"),
        "workdir": str(workdir),
        "recipe": "best",
        "identities": "p0,p1",
        **ATTACK,
    }


def run(values):
    """Runs the audit in this process."""
    with flagsaver.flagsaver(**values, **JUDGE, fail_on=[]):
        audit.main()
    return WorkDirectory(values["workdir"])


def test_a_classifier_is_audited_to_the_end_once(root, tmp_path):
    path = gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    values = given(root, path, tmp_path / "run")
    words = [f"--{name}={value}" for name, value in values.items() if name != "recipe"]
    ended = binaries.run("audit", *words, "--judges=", "--judge=tests.own_judge:embed")
    assert "photographs of its 6 people right" in ended.stderr
    # Six people are too few to tell of one of them; both together may belong to their clones.
    said = ended.stderr.splitlines()[-1]
    assert ended.returncode == (4 if "the model leaks" in said.lower() else 5), said
    assert "Inconclusive: " in said and "too few people" in said
    workdir = WorkDirectory(tmp_path / "run")
    result = records.read(workdir.evaluation, Evaluation)
    assert set(result.verdict) == {"p0", "p1"}
    assert result.recognizers["target"].settings is None
    assert result.recognizers["target"].test_accuracy > 0.9
    assert result.attack.name == "best"
    assert result.provenance.flags["model"] == str(path)
    report = workdir.report.read_text()
    assert "The target was trained elsewhere" in report
    assert "Training of the recognizers" not in report
    before = workdir.evaluation.stat().st_mtime_ns
    run(values)
    assert workdir.evaluation.stat().st_mtime_ns == before
    path.write_bytes(gallery.classifier(rows=[1, 0, 2, 3, 4, 5]).SerializeToString())
    imported.load.cache_clear()
    with pytest.raises(UserError, match="choose another --workdir"):
        run(values)


def test_an_embedder_says_whom_clones_unlock(root, tmp_path):
    path = gallery.save(gallery.embedder(), tmp_path / "model.onnx")
    values = {**given(root, path, tmp_path / "run"), "returns": "features"}
    workdir = WorkDirectory(values["workdir"])
    with flagsaver.flagsaver(**values, **JUDGE):
        admission.admit(workdir)
        attack.attack(workdir, scenario_flags.from_flags())
        audit.unlock(workdir, *experiment.open_experiment(workdir))
    found = records.read(workdir.unlocking, Unlocking)
    assert set(found.people) == {"p0", "p1"}
    assert found.photographs.value > found.strangers.value


def test_each_image_is_shown_once_to_say_whom_it_unlocks(root, tmp_path, monkeypatch):
    path = gallery.save(gallery.embedder(), tmp_path / "model.onnx")
    values = {**given(root, path, tmp_path / "run"), "returns": "features"}
    workdir = WorkDirectory(values["workdir"])
    shown, seen, judge = [], {}, unlocking.unlocking

    def counted(function, images, most=64):
        shown.append(len(images))
        return np.asarray(function(np.asarray(images)))

    def kept(similarities, *rest):
        seen.update(similarities)
        return judge(similarities, *rest)

    with flagsaver.flagsaver(**values, **JUDGE):
        admission.admit(workdir)
        attack.attack(workdir, scenario_flags.from_flags())
        loaded, roles = experiment.open_experiment(workdir)
        monkeypatch.setattr(audit.workload, "in_batches", counted)
        monkeypatch.setattr(unlocking, "unlocking", kept)
        audit.unlock(workdir, loaded, roles)
    target = experiment.load_recognizer(workdir, "target")
    assert set(seen) == {"p0", "p1"}
    test = {name: experiment.photographs_of(loaded, name, roles.test) for name in seen}
    assert sum(shown) == 2 * (7 + 7) + sum(map(len, test.values()))
    for name, other in (("p0", "p1"), ("p1", "p0")):
        clones, others = (
            storage.map_array(workdir.clones_of(each), "clones") for each in (name, other)
        )
        images = (
            *(clones, storage.map_array(workdir.clones_of(name), "seed")),
            *(others, test[name], test[other]),
        )
        for found, each in zip(seen[name], images, strict=True):
            logits = target.logits(target.params, jnp.asarray(each))
            place = roles.classes["target"].index(name)
            np.testing.assert_allclose(found, logits[:, place] / 64, atol=1e-5)


def test_a_model_that_rounds_its_outputs_is_said_to_have_no_gradient(root, tmp_path):
    model = gallery.classifier(softmax=True, kind="rounded")
    path = gallery.save(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match=r"no gradient with respect .* its node .* \(Round\)"):
        run(given(root, path, tmp_path / "run"))


def test_a_model_that_rounds_its_outputs_is_attacked_by_asking(root, tmp_path):
    model = gallery.classifier(softmax=True, kind="rounded")
    path = gallery.save(model, tmp_path / "model.onnx")
    asking = {"scenario": "confidences", "queries": 80, "leading": 3, "restarts": 2}
    values = given(root, path, tmp_path / "run") | asking
    del values["iterations"]
    values["waves"] = 0
    with flagsaver.flagsaver(**values):
        workdir = WorkDirectory(values["workdir"])
        admission.admit(workdir)
        attack.attack(workdir, scenario_flags.from_flags())
    assert storage.map_array(workdir.clones_of("p1"), "clones").shape == (2, 16, 16, 3)


def test_classes_of_which_there_are_no_photographs_are_not_attacked(root, tmp_path):
    path = gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join(["p0", "p1", "p2", "p3", "p4", "kim"]))
    values = given(root, path, tmp_path / "run") | {"labels": str(labels), "identities": "p0,kim"}
    with pytest.raises(UserError, match="kim, of whom --gallery_dir has no photographs"):
        run(values)
