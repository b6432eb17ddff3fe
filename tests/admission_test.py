"""A model from elsewhere is admitted if it knows its people, and refused in one sentence if not."""

import collections
import json
import shutil

import gallery
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from admitting import admit
from onnx import TensorProto, helper

from experiments import admission, audit, class_names, experiment, imported
from mia_jax.recognizer import acquaintance
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["audit"])


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return gallery.write(tmp_path_factory.mktemp("people"))


def labels(tmp_path, names):
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(names))
    return str(path)


NAMES = [f"p{person}" for person in range(6)]


def test_a_classifier_is_asked_who_its_classes_are(root, tmp_path):
    order = [4, 2, 0, 5, 1, 3]
    workdir = admit(root, tmp_path, gallery.classifier(rows=order))
    found = records.read(workdir.admission, admission.Admission)
    assert found.classes == {f"p{person}": place for place, person in enumerate(order)}
    assert (found.classes_from, found.warnings) == ("the model's answers", ())
    assert found.right > 0.9 * found.total
    plan = records.read(workdir.protocol, experiment.Plan)
    assert plan.protocol.classes == {"target": tuple(NAMES[person] for person in order)}
    target = experiment.load_recognizer(workdir, "target")
    photographs = gallery.photographs()[:6, 8] / np.float32(255)
    answers = np.argmax(target.logits(target.params, photographs), axis=1)
    assert [order[answer] for answer in answers] == [0, 1, 2, 3, 4, 5]


def test_folders_that_no_label_names_are_for_the_judges_alone(root, tmp_path):
    model = gallery.classifier(rows=[0, 1, 2, 3])
    workdir = admit(root, tmp_path, model, labels=labels(tmp_path, NAMES[:4]))
    plan = records.read(workdir.protocol, experiment.Plan)
    assert plan.protocol.targeted == tuple(NAMES[:4])
    assert set(plan.photographs) == set(NAMES)


def test_probabilities_become_logits(root, tmp_path):
    workdir = admit(root, tmp_path, gallery.classifier(softmax=True))
    assert records.read(workdir.model, imported.ModelFacts).returns == "probabilities"
    target = experiment.load_recognizer(workdir, "target")
    logits = np.asarray(target.logits(target.params, gallery.photographs()[:2, 0] / 255.0))
    np.testing.assert_allclose(np.exp(logits).sum(axis=1), 1, rtol=1e-3)


def test_a_sigmoid_is_taken_for_logits_where_somebody_insists(root, tmp_path, caplog):
    with caplog.at_level("WARNING"):
        workdir = admit(root, tmp_path, gallery.classifier(kind="sigmoid"), returns="logits")
    assert records.read(workdir.model, imported.ModelFacts).returns == "logits"
    (odd,) = records.read(workdir.admission, admission.Admission).warnings
    assert "a sigmoid's" in odd and odd in caplog.text


def test_features_of_any_length_are_noticed_without_another_picture(root, tmp_path, monkeypatch):
    """They look like logits, and their largest names many right; as features they name all."""
    counts, embedder = shown(monkeypatch), gallery.embedder(raw=True)
    with pytest.raises(UserError, match=r"22 of 30 .* and 30 of 30 photographs as features"):
        admit(root, tmp_path, embedder)
    assert max(counts.values()) == 60
    admit(root, tmp_path, embedder, returns="logits")  # Whoever says so gets it.


def test_logarithms_of_probabilities_are_logits(root, tmp_path):
    workdir = admit(root, tmp_path, gallery.classifier(kind="logarithms"))
    assert records.read(workdir.model, imported.ModelFacts).returns == "logits"


def test_an_embedder_enrolls_photographs(root, tmp_path):
    workdir = admit(root, tmp_path, gallery.embedder(), returns="features")
    facts = records.read(workdir.model, imported.ModelFacts)
    found = records.read(workdir.admission, admission.Admission)
    assert found.classes_from == "templates"
    assert found.total < 60  # Without those that are enrolled.
    assert facts.threshold is None
    target = experiment.load_recognizer(workdir, "target")
    logits = target.logits(target.params, gallery.photographs()[:6, 9] / np.float32(255))
    assert (np.argmax(logits, axis=1) == np.arange(6)).mean() > 0.8
    assert np.abs(logits).max() <= 64.01


def shown(monkeypatch):
    """Counts the photographs that are shown, by how they are prepared."""
    counts, prepare = collections.Counter(), admission.preprocessing.prepare

    def counted(how, images):
        counts[how] += len(images)
        return prepare(how, images)

    monkeypatch.setattr(admission.preprocessing, "prepare", counted)
    return counts


@pytest.mark.parametrize("kind", ["classifier", "embedder"])
def test_each_photograph_of_a_model_that_does_well_is_shown_once(
    kind, root, tmp_path, monkeypatch, caplog
):
    counts = shown(monkeypatch)
    returns = {"returns": "features"} if kind == "embedder" else {}
    with caplog.at_level("INFO", logger="absl"):
        workdir = admit(root, tmp_path, getattr(gallery, kind)(), **returns)
    found = records.read(workdir.admission, admission.Admission)
    assert found.right > 0.9 * found.total
    assert counts == {records.read(workdir.model, imported.ModelFacts).preprocessing: 60}
    assert "admission: 100%" in caplog.text


def test_alternatives_of_a_model_that_does_poorly_see_a_sample(root, tmp_path, monkeypatch):
    counts = shown(monkeypatch)
    monkeypatch.setattr(acquaintance, "_PHOTOGRAPHS", 12)
    monkeypatch.setattr(acquaintance, "_PEOPLE", 4)
    with pytest.raises(UserError, match=r"most likely its pictures are meant .* of 12"):
        admit(root, tmp_path, gallery.embedder(), returns="features", range=1e-4)
    as_said, *others = (counts[how] for how in sorted(counts, key=counts.get, reverse=True))
    assert as_said == 60
    assert len(others) > 5
    assert max(others) <= 24  # Twelve to enroll, and twelve to ask about.


def test_templates_may_be_given(root, tmp_path):
    vectors = np.eye(6, dtype=np.float32)[::-1]
    np.savez(tmp_path / "templates.npz", names=np.array(NAMES[::-1]), vectors=vectors)
    path = str(tmp_path / "templates.npz")
    workdir = admit(root, tmp_path, gallery.embedder(), templates=path, threshold=0.4)
    assert records.read(workdir.model, imported.ModelFacts).threshold == 0.4
    plan = records.read(workdir.protocol, experiment.Plan)
    assert plan.protocol.classes["target"] == tuple(NAMES[::-1])


def test_a_json_beside_the_model_says_how_pictures_are_prepared(root, tmp_path):
    path = gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    beside = tmp_path / "model.onnx.json"
    beside.write_text(json.dumps({"range": 255, "mean": 0, "deviation": 255, "channels": "RGB"}))
    workdir = admit(root, tmp_path, str(path))
    how = records.read(workdir.model, imported.ModelFacts).preprocessing
    assert (how.range, how.deviation, how.size) == (255, (255,), (16, 16))


def test_the_same_flags_admit_once_and_others_are_refused(root, tmp_path):
    workdir = admit(root, tmp_path)
    before = workdir.model.stat().st_mtime_ns
    admit(root, tmp_path)
    assert workdir.model.stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"model.json was made with .*: choose another --workdir"):
        admit(root, tmp_path, gallery.classifier(rows=[1, 0, 2, 3, 4, 5]))


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + "\n".join(NAMES),
        "\r\n".join(f"{name} " for name in NAMES) + "\r\n\r\n",
        json.dumps({str(place): name for place, name in enumerate(NAMES)}),
        json.dumps({name: place for place, name in enumerate(NAMES)}),
        "\ufeff" + json.dumps(NAMES),
    ],
)
def test_labels_are_read_in_every_usual_form(tmp_path, content):
    path = tmp_path / "labels.txt"
    path.write_text(content, encoding="utf-8")
    with flagsaver.flagsaver(labels=str(path)):
        assert class_names.read_labels() == tuple(NAMES)


def test_folders_and_labels_of_other_unicode_forms_are_the_same_people(root, tmp_path, caplog):
    shutil.copytree(root / "gallery", tmp_path / "gallery")
    (tmp_path / "gallery" / "p3").rename(tmp_path / "gallery" / "Zoe\u0308 ")
    (tmp_path / "gallery" / "p5").rename(tmp_path / "gallery" / "p5 S")
    named = [*NAMES[:3], "Zoë", *NAMES[4:]]
    with caplog.at_level("WARNING"):
        workdir = admit(
            root, tmp_path, labels=labels(tmp_path, named), gallery_dir=str(tmp_path / "gallery")
        )
    plan = records.read(workdir.protocol, experiment.Plan)
    assert set(plan.protocol.targeted) == {*named[:5]}
    # Whoever stays unmatched is named, with the nearest.
    assert "1 folders of --gallery_dir are not among the names of" in caplog.text
    assert "p5 S (nearest: p5)" in caplog.text
    assert "1 classes have no folder in --gallery_dir" in caplog.text


def test_photographs_in_another_s_folder_are_named(root, tmp_path, caplog):
    shutil.copytree(root / "gallery", tmp_path / "gallery")
    for number in (0, 1, 2):
        path = tmp_path / "gallery" / "p1" / f"1_{number}.png"
        path.rename(tmp_path / "gallery" / "p4" / path.name)
    with caplog.at_level("WARNING"):
        admit(root, tmp_path, labels=labels(tmp_path, NAMES), gallery_dir=str(tmp_path / "gallery"))
    assert "3 of 13 photographs of p4 for p1" in caplog.text


def test_names_of_templates_may_be_bytes(tmp_path):
    names = np.array([name.encode() for name in NAMES])
    np.savez(tmp_path / "templates.npz", names=names, vectors=np.eye(6))
    with flagsaver.flagsaver(templates=str(tmp_path / "templates.npz")):
        assert class_names.read_templates()[0] == tuple(NAMES)


def test_a_folder_called_like_a_class_of_nobody_loses_nobody(root, tmp_path):
    """Six people and seven classes: the folder called class 6 is the class 0, the last nobody."""
    shutil.copytree(root / "gallery", tmp_path / "gallery")
    (tmp_path / "gallery" / "p0").rename(tmp_path / "gallery" / "class 6")
    order = [0, 1, 2, 3, 4, 5, 5]
    workdir = admit(
        root, tmp_path, gallery.classifier(rows=order), gallery_dir=str(tmp_path / "gallery")
    )
    classes = records.read(workdir.protocol, experiment.Plan).protocol.classes["target"]
    assert len(set(classes)) == 7


def text(tmp_path, content, name="model.onnx"):
    path = tmp_path / name
    path.write_text(content)
    return str(path)


def truncated(tmp_path):
    whole = gallery.classifier().SerializeToString()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    return str(tmp_path / "half.onnx")


def of_two_inputs():
    model = gallery.classifier()
    other = helper.make_tensor_value_info("other", TensorProto.FLOAT, [1])
    model.graph.input.append(other)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["before" if name == output.name else name for name in node.output]
    model.graph.node.append(helper.make_node("Add", ["before", "other"], [output.name]))
    return model


def of_two_outputs():
    model = gallery.classifier()
    model.graph.output.append(helper.make_tensor_value_info("gemm_2_0", TensorProto.FLOAT, None))
    return model


def of_any_size():
    model = gallery.classifier()
    for side in model.graph.input[0].type.tensor_type.shape.dim[1:3]:
        side.Clear()
        side.dim_param = "side"
    return model


BROKEN = {
    "no file": ({"model": "no.onnx"}, "no.onnx does not exist"),
    "truncated file": (lambda path: {"model": truncated(path)}, "half.onnx is no whole ONNX model"),
    "text": (lambda path: {"model": text(path, "hello")}, "is no whole ONNX model"),
    "unsupported operation": (
        lambda path: {"model": gallery.classifier(kind="strange")},
        r"not supported: Bernoulli \(node Bernoulli_3\)",
    ),
    "object detector": (
        lambda path: {"model": gallery.classifier(kind="detector")},
        r"returns \[1, 3, 2\] where a recognizer returns \[n, classes\]",
    ),
    "one class": (
        lambda path: {"model": gallery.classifier(rows=[0])},
        "a recognizer returns the scores of at least 2 classes",
    ),
    "NaN weights": (
        lambda path: {"model": gallery.classifier(nan=True)},
        r"has weights that are not finite \(weight_2\)",
    ),
    "any size": (lambda path: {"model": of_any_size()}, "takes pictures of any size .*--size"),
    "fixed batch": (
        lambda path: {"model": gallery.classifier(batch=8)},
        "takes 8 pictures at a time and no other number",
    ),
    "two inputs": (lambda path: {"model": of_two_inputs()}, "takes 2 inputs"),
    "two outputs": (
        lambda path: {"model": of_two_outputs()},
        "has the outputs output, gemm_2_0: name one as --output",
    ),
    "BGR": (
        lambda path: {
            "model": gallery.of_colors(),
            "channel_order": "BGR",
            "labels": labels(path, NAMES),
        },
        "no better than chance .* most likely its pictures are meant RGB",
    ),
    "0 to 255": (
        {"range": 255.0},
        r"no better than chance .* most likely its pictures are meant in \[0, 1\]",
    ),
    "wrong labels": (
        lambda path: {"labels": labels(path, [*NAMES[1:], NAMES[0]])},
        "most likely --labels names its classes in another order",
    ),
    "labels of others": (
        lambda path: {"labels": labels(path, "abcdef")},
        "names nobody of --gallery_dir: its folders are p0",
    ),
    "too few labels": (
        lambda path: {"labels": labels(path, NAMES[:4])},
        r"names 4 classes \(p0, p1, p2, p3\), and .*model.onnx has 6",
    ),
    "a label twice": (
        lambda path: {"labels": labels(path, [*NAMES[:5], "p0"])},
        "names p0 twice",
    ),
    "a dictionary with a gap": (
        lambda path: {"labels": text(path, '{"0": "p0", "2": "p1"}', "labels.json")},
        "is a dictionary whose numbers are not 0 to 1, each once",
    ),
    "a template twice": (
        lambda path: {
            "model": gallery.embedder(),
            "templates": templates(path, np.eye(6, dtype=np.float32), [*NAMES[:5], "p0 "]),
        },
        "--templates=.* names p0 twice",
    ),
    "three sides": ({"size": ["48", "48", "3"]}, "size=48,48,3 is no size: give the side in whole"),
    "a side that is no number": ({"size": ["nan"]}, "size=nan,nan is no size"),
    "half a pixel": ({"size": ["16.5"]}, "size=16.5,16.5 is no size"),
    "no side": (
        lambda path: {"preprocessing": text(path, '{"size": []}', "how.json")},
        "size= is no size: give the side",
    ),
    "a mean that is no number": ({"mean": ["nan"]}, r"mean=\(nan,\) is not finite"),
    "a stranger to the gallery": (
        lambda path: {"model": gallery.classifier(kind="blind")},
        "no better than chance .* none of these explains it",
    ),
    "more people than classes": (
        lambda path: {"model": gallery.classifier(rows=[0, 1, 2])},
        "the gallery has 6 people and the model 3 classes: .*--labels",
    ),
    "another size": ({"size": ["32"]}, r"--size=32x32 is not that of .*\[16, 16\]"),
    "another number of channels": (
        {"channel_order": "gray"},
        "--channel_order=gray does not fit .*, which takes 3 channels",
    ),
    "a mean of two": ({"mean": ["0.5", "0.5"]}, r"mean=\(0.5, 0.5\) does not fit RGB"),
    "words for numbers": ({"mean": ["half"]}, "--mean=half is no number"),
    "an unknown field": (
        lambda path: {"preprocessing": text(path, '{"std": 1}', "how.json")},
        "how.json: std is unknown: give some of size, channels",
    ),
    "templates of another length": (
        lambda path: {
            "model": gallery.embedder(),
            "templates": templates(path, np.eye(4, dtype=np.float32)),
        },
        "--templates have 4 features, and .* returns 6",
    ),
    "templates of strangers": (
        lambda path: {
            "model": gallery.embedder(),
            "templates": templates(path, np.eye(6, dtype=np.float32), "uvwxyz"),
        },
        "names nobody of --gallery_dir",
    ),
    "public faces among the people": (
        lambda path: {
            "auxiliary_dir": str(path / "gallery" / "p0"),
            "gallery_dir": str(path / "gallery"),
        },
        "--auxiliary_dir=.* lies in --gallery_dir",
    ),
    "probabilities that are logits": (
        {"returns": "probabilities"},
        r"model.onnx answers numbers which lie between -.*--returns=probabilities contradicts it: "
        "give --returns=logits",
    ),
    "logits that are probabilities": (
        lambda path: {"model": gallery.classifier(softmax=True), "returns": "logits"},
        "which are probabilities: .*--returns=logits contradicts it: give --returns=probabilities",
    ),
    "features that are probabilities": (
        lambda path: {"model": gallery.classifier(softmax=True), "returns": "features"},
        "which are probabilities: .*--returns=features.* contradict",
    ),
    "a sigmoid of which nothing is said": (
        lambda path: {"model": gallery.classifier(kind="sigmoid")},
        "not to 1: a sigmoid's, .*--returns does not say what they are: .*--returns=logits takes",
    ),
    "a sigmoid for probabilities": (
        lambda path: {"model": gallery.classifier(kind="sigmoid"), "returns": "probabilities"},
        "not to 1: a sigmoid's, .*--returns=probabilities contradicts it",
    ),
    "logarithms for probabilities": (
        lambda path: {"model": gallery.classifier(kind="logarithms"), "returns": "probabilities"},
        "logarithms of probabilities: .*contradicts it: give --returns=logits",
    ),
    "an embedder of which nothing is said": (
        lambda path: {"model": gallery.embedder()},
        "vector of length 1, as an embedder's; .*give --returns=features",
    ),
    "no function": ({"model": "json:nothing", "size": ["16"]}, "--model=json:nothing cannot be"),
    "no gallery": ({"gallery_dir": None}, "--gallery_dir is needed"),
}


def templates(tmp_path, vectors, names=None):
    names = np.array([*(names or NAMES)][: len(vectors)])
    np.savez(tmp_path / "templates.npz", names=names, vectors=vectors)
    return str(tmp_path / "templates.npz")


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_audited_is_refused_in_one_sentence(name, root, tmp_path):
    given, words = BROKEN[name]
    values = given(tmp_path) if callable(given) else dict(given)
    model = values.pop("model", None)
    with pytest.raises(UserError, match=words) as caught:
        admit(root, tmp_path, model, **values)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()  # Nothing is half-written.


def test_an_audit_needs_a_judge(monkeypatch):
    monkeypatch.setattr(audit.embedders, "dlib_installed", lambda: False)
    with pytest.raises(UserError, match="an audit needs a judge"):
        audit.check_judge()
