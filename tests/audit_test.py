"""Runs the audit on models that the tests build: once as a user does, else within this process."""

import hashlib

import binaries
import gallery
import numpy as np
import onnxruntime
import pytest
from absl import flags
from absl.testing import flagsaver
from onnx import numpy_helper
from onnx_networks import Network

from experiments import admission, attack, audit, devices, experiment, imported, scenario_flags
from mia_jax.evidence.results import Evaluation
from mia_jax.evidence.successful_attacks import SuccessfulAttacks
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


def other_eyes():
    """An embedder that shares nothing with the gallery's models: random projections of edges."""
    net = Network(5)
    x = net.add("Transpose", "image", perm=[0, 3, 1, 2])
    x = net.add("Relu", net.conv(x, 3, 8, 5, 2))
    x = net.dense(net.add("Flatten", x), 8 * 8 * 8, 24)
    return net.model(x, (gallery.SIDE, gallery.SIDE, 3), outputs=None)


def test_an_embedder_is_audited_by_another_in_a_file(root, tmp_path):
    path = gallery.save(gallery.embedder(), tmp_path / "model.onnx")
    judge = gallery.save(other_eyes(), tmp_path / "other eyes.onnx")
    values = {**given(root, path, tmp_path / "run"), "returns": "features"}
    judges = {"judges": [], "judge": [str(judge), "tests.own_judge:embed"]}
    with flagsaver.flagsaver(**values, **judges, fail_on=[]):
        audit.main()
    workdir = WorkDirectory(values["workdir"])
    result = records.read(workdir.evaluation, Evaluation)
    assert [*result.judges] == ["other eyes", "tests.own_judge:embed"]
    assert [(each.first, each.second) for each in result.agreement] == [tuple(result.judges)]
    digest = hashlib.sha256(judge.read_bytes()).hexdigest()
    assert result.provenance.versions["judge other eyes"] == digest
    found = records.read(workdir.successful_attacks, SuccessfulAttacks)
    assert [*found.independent] == [*result.judges]
    for system in (found.target, *found.independent.values()):
        for kind in (system.type1, system.type2):
            assert kind.people_pairs == 15
            assert [rates.false_matches for rates in kind.rates] == [0.01, 0.001]
            assert all(set(rates.people) == {"p0", "p1"} for rates in kind.rates)
            assert all(rates.impostors.value <= rates.false_matches for rates in kind.rates)
    assert found.target.type1.rates[0].photographs.value > 0.8
    assert found.unlinkability.d_sys > 0.5
    report = workdir.report.read_text()
    assert "Stolen templates" in report
    assert "other eyes" in report


def test_successful_attacks_are_those_of_the_templates_and_photographs(root, tmp_path):
    """Counted again, by the features that the file gives in onnxruntime."""
    path = gallery.save(gallery.embedder(), tmp_path / "model.onnx")
    values = {**given(root, path, tmp_path / "run"), "returns": "features", "threshold": 0.3}
    with flagsaver.flagsaver(**values, **JUDGE, fail_on=[]):
        audit.main()
        workdir = WorkDirectory(values["workdir"])
        loaded, roles = experiment.open_experiment(workdir)
    session = onnxruntime.InferenceSession(path)
    (stored,) = [storage.read_arrays(workdir.templates)]
    found = records.read(workdir.successful_attacks, SuccessfulAttacks).target

    def features(images):
        return session.run(None, {"image": np.asarray(images, np.float32)})[0]

    for name in ("p0", "p1"):
        clones = features(storage.map_array(workdir.clones_of(name), "clones"))
        template = stored["vectors"][[*stored["names"]].index(name)]
        test = features(experiment.photographs_of(loaded, name, roles.test))
        for kind, references in ((found.type1, template[None]), (found.type2, test)):
            for rates in kind.rates:
                expected = np.mean(clones @ references.T >= rates.threshold)
                assert rates.people[name] == pytest.approx(expected)
    strangers = [
        features(experiment.photographs_of(loaded, name, roles.test))
        @ stored["vectors"][[*stored["names"]].index(other)]
        for name in loaded.names
        for other in loaded.names
        if name != other
    ]
    for rates in found.type1.rates:
        # The threshold is the next number above an impostor's similarity, and floats are rounded.
        expected = np.mean(np.concatenate(strangers) >= rates.threshold + 1e-6)
        assert rates.impostors.value == pytest.approx(expected)


def test_a_photograph_that_is_the_template_is_no_other_photograph(root, tmp_path):
    """The same photograph was a type II comparison with itself."""
    path = gallery.save(gallery.embedder(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(path)
    with flagsaver.flagsaver(**given(root, path, tmp_path / "looks"), returns="features"):
        admission.admit(WorkDirectory(tmp_path / "looks"))
        loaded, roles = experiment.open_experiment(WorkDirectory(tmp_path / "looks"))
    # Of p0 one that trained nothing is enrolled.
    trained = roles.training["target"]
    which = {name: (roles.test if name == "p0" else trained)[name][0] for name in loaded.names}
    chosen = [loaded.indices_of(name)[place] for name, place in which.items()]
    vectors = session.run(None, {"image": np.asarray(loaded.images[chosen])})[0]
    np.savez(tmp_path / "templates.npz", names=np.array(loaded.names), vectors=vectors)
    values = {**given(root, path, tmp_path / "run"), "templates": str(tmp_path / "templates.npz")}
    with flagsaver.flagsaver(**values, **JUDGE, fail_on=[]):
        audit.main()
    workdir = WorkDirectory(values["workdir"])
    found = records.read(workdir.successful_attacks, SuccessfulAttacks).target
    others = [len(roles.test[name]) - (name == "p0") for name in loaded.names]
    pairs = (sum(others) ** 2 - sum(each**2 for each in others)) // 2
    assert found.type2.pairs == pairs


@pytest.mark.parametrize("returns", ["features", ""])
@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("file", "is the file of --model="),
        ("weights", "the judge copy has the same weights as the target"),
        ("answers", "the judge copy gives the same answers as the target"),
    ],
)
def test_the_model_cannot_judge_itself(root, tmp_path, monkeypatch, returns, kind, words):
    model = gallery.embedder() if returns else gallery.classifier()
    path = gallery.save(model, tmp_path / "model.onnx")
    if kind == "weights":  # The same network as it writes itself.
        model.producer_name = "somebody else"
    if kind == "answers":  # Features in another order, in rounded weights.
        for weight in model.graph.initializer:
            array = numpy_helper.to_array(weight)
            if array.ndim and array.shape[-1] == gallery.PEOPLE:
                changed = np.round(array[..., ::-1] * 2.0**12) / 2.0**12
                weight.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), weight.name))
    judge = gallery.save(model, tmp_path / "copy.onnx")
    values = {**given(root, path, tmp_path / "run"), "judge": [str(judge)], "judges": []}
    values |= {"returns": returns} if returns else {}
    monkeypatch.setattr(attack, "attack", lambda *_: pytest.fail("attacked"))
    with flagsaver.flagsaver(**values, fail_on=[]), pytest.raises(UserError, match=words):
        audit.main()


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
