"""Tests of the panel: who is asked by which flags, what judges share, and whom they know."""

import dataclasses

import judged
import numpy as np
import pytest
import stage
from absl import flags
from absl.testing import flagsaver
from drawn import weights

from experiments import panel
from mia_jax import faces, recognizer
from mia_jax.evidence import embedders, judges
from mia_jax.evidence.embedders import Embedder
from mia_jax.recognizer import resnet, training
from mia_jax.recognizer.architectures import ARCHITECTURES
from mia_jax.runtime import checkpoints, records
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory

NAMES = ("ann", "bob", "eve", "kim", "zoë")
LOADED = faces.Faces(
    np.random.default_rng(0).random((30, 16, 16, 1), np.float32),
    np.repeat(np.arange(5), 6).astype(np.int32),
    NAMES,
    "",
)


@pytest.fixture
def workdir(tmp_path):
    return WorkDirectory(tmp_path)


@pytest.fixture
def asked(request):
    """Sets flags of the panel, and takes them back."""
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(**{"judges": None, "judge": [], **request.param}):
        yield


def flat(images):
    """A user's own embedder."""
    return np.asarray(images).reshape(len(images), -1)


def broken(images):
    return images.missing


NOT_A_FUNCTION = 3


def write_facts(workdir, role, **settings):
    facts = dataclasses.replace(
        judged.recognizer(role, 3, 0.9), settings=training.Settings(**settings)
    )
    records.write(workdir.recognizer(role) / "recognizer.json", facts)


@pytest.mark.parametrize(
    ("disjoint", "settings", "shares"),
    [
        (False, {}, judges.SHARES),
        (True, {}, (judges.PEOPLE, judges.ARCHITECTURE, judges.VIEWS)),
        (False, {"learning_rate": 0.5}, judges.SHARES),
        (True, {"architecture": "resnet"}, (judges.PEOPLE, judges.VIEWS)),
        (
            True,
            {"augmentation": dataclasses.replace(training.AUGMENTATION, noise=0.3)},
            (judges.PEOPLE, judges.ARCHITECTURE),
        ),
    ],
)
def test_what_an_evaluator_shares_with_the_target(workdir, disjoint, settings, shares):
    write_facts(workdir, "target")
    write_facts(workdir, "r", **settings)
    assert panel.shares_of(workdir, stage.protocol(disjoint), "r") == {*shares}


def test_each_evaluator_is_a_judge_unless_it_is_the_target(workdir):
    roles, params = stage.protocol(), {}
    for i, (role, kind) in enumerate(zip(roles.classes, ("cnn", "cnn", "resnet"), strict=True)):
        facts = dataclasses.replace(
            judged.recognizer(role, len(roles.classes[role]), 0.9),
            image_shape=(16, 16, 1),
            settings=training.Settings(architecture=kind),
        )
        params[role] = weights(ARCHITECTURES[kind], facts.classes, 16, 16, 1, seed=i)
        checkpoints.save_checkpoint(workdir.recognizer(role) / "checkpoint", params[role])
        records.write(workdir.recognizer(role) / "recognizer.json", facts)
    wanted = panel.Wanted((), roles.evaluators)
    made = panel.make_judges(workdir, LOADED, roles, params["target"], wanted)
    assert [(judge.name, judge.people) for judge in made] == [
        ("r", roles.classes["r"]),
        ("s", roles.classes["s"]),
    ]
    assert [judges.ARCHITECTURE in judge.shares for judge in made] == [True, False]
    seen = [judge.features(LOADED.images[:2]).shape for judge in made]
    assert seen == [(2, recognizer.UNITS), (2, resnet.FEATURES)]
    with pytest.raises(UserError, match="the r has the same weights as the target"):
        panel.make_judges(workdir, LOADED, roles, params["r"], wanted)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ("dlib", "r", "s")),
        ({"judges": ["evaluators"]}, ("r", "s")),
        ({"judges": ["evaluators", "dlib"]}, ("dlib", "r", "s")),
        ({"judges": ["dlib"]}, ("dlib",)),
        ({"judge": ["panel_test:flat"]}, ("dlib", "panel_test:flat", "r", "s")),
        ({"judges": [], "judge": ["panel_test:flat"]}, ("panel_test:flat",)),
    ],
    indirect=["asked"],
)
def test_who_is_asked(monkeypatch, asked, names):
    monkeypatch.setattr(embedders, "dlib_installed", lambda: True)
    monkeypatch.setattr(embedders, "dlib_embedder", lambda _: Embedder("dlib", flat))
    assert panel.names(stage.protocol()) == names
    wanted = panel.from_flags(LOADED, stage.protocol())
    assert (*(each.name for each in wanted.embedders), *wanted.evaluators) == names


@pytest.mark.parametrize("asked", [{}], indirect=True)
def test_without_dlib_the_evaluators_judge_and_the_log_says_so(monkeypatch, asked):
    monkeypatch.setattr(embedders, "dlib_installed", lambda: False)
    said = []
    monkeypatch.setattr(panel.logging, "warning", lambda text, *words: said.append(text % words))
    assert panel.from_flags(LOADED, stage.protocol()) == ((), ("r", "s"))
    assert 'pip install -e ".[judge]"' in said[0]


@pytest.mark.parametrize("asked", [{"judges": ["dlib"]}], indirect=True)
def test_a_judge_that_is_asked_for_must_be_installed(monkeypatch, asked):
    def missing(processes):
        raise MissingError("not installed")

    monkeypatch.setattr(embedders, "dlib_embedder", missing)
    with pytest.raises(MissingError):
        panel.from_flags(LOADED, stage.protocol())


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"judges": ["arcface"]}, "--judges=arcface is no judge: choose from evaluators and dlib"),
        ({"judges": []}, "--judges= names nobody"),
        ({"judges": [], "judge": ["panel_test:flat"] * 2}, "need names of their own"),
        ({"judges": [], "judge": ["nowhere:flat"]}, "--judge=nowhere:flat cannot be imported"),
        ({"judges": [], "judge": ["panel_test"]}, "is of no kind .*module:function"),
        ({"judges": [], "judge": ["panel_test:missing"]}, "cannot be imported .AttributeError"),
        ({"judges": [], "judge": ["panel_test:NOT_A_FUNCTION"]}, "is no function but a int"),
        ({"judges": [], "judge": ["panel_test:broken"]}, "fails on float32 images"),
    ],
    indirect=["asked"],
)
def test_a_judge_that_cannot_judge_is_refused(asked, words):
    with pytest.raises(UserError, match=words):
        panel.from_flags(LOADED, stage.protocol())


def test_an_embedder_knows_everybody_and_no_test_photograph(workdir):
    wanted = panel.Wanted((Embedder("e", flat),), ())
    (judge,) = panel.make_judges(workdir, LOADED, stage.protocol(), None, wanted)
    assert judge.people == NAMES
    assert judge.stranger
    for name in NAMES:
        own = LOADED.images[LOADED.indices_of(name)]
        enrolled = own if name == "kim" else own[:5]  # The last tests; of kim there is no test.
        mean = flat(enrolled).mean(axis=0, keepdims=True)
        assert judge.match(mean)[0, NAMES.index(name)] == pytest.approx(0, abs=1e-5)


def test_strangers_are_everybody_with_all_photographs(workdir):
    wanted = panel.Wanted((Embedder("e", flat),), ())
    (judge,) = panel.make_judges(workdir, LOADED, stage.protocol(), None, wanted)
    found = panel.strangers_of(judge, LOADED, stage.protocol())
    assert (len(found.single), len(found.together)) == (30 * 4, 5 * 4)


def test_the_gallery_is_everybody_without_a_test_photograph(workdir):
    wanted = panel.Wanted((Embedder("e", flat),), ())
    (judge,) = panel.make_judges(workdir, LOADED, stage.protocol(), None, wanted)
    found = panel.gallery_of(judge, LOADED, stage.protocol())
    assert {name: int(np.sum(found.people == name)) for name in NAMES} == {
        name: 6 if name == "kim" else 5 for name in NAMES
    }
    own = flat(LOADED.images[LOADED.indices_of("bob")[:5]])
    np.testing.assert_allclose(found.vectors[found.people == "bob"], own)
