"""An audit of a model behind a server that counts: what is asked, how often, and by whom."""

import contextlib
import functools
import json
import logging
import re

import flask
import gallery
import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from service import client, serve

from experiments import (
    admission,
    asked_target,
    attack,
    audit,
    devices,
    evaluate,
    experiment,
    imported,
    scenario_flags,
    scenarios,
    successful_attacks,
)
from experiments.recipe import Recipe
from mia_jax.evidence.successful_attacks import SuccessfulAttacks
from mia_jax.report import asked as in_words
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.ledger import REPEATED, Asked, Count, Ledger
from mia_jax.runtime.workdir import WorkDirectory

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["audit"])
QUERIES, RESTARTS, BATCH = 60, 2, 32
FLAGS = {
    "model": "service:predict",
    "recipe": "best",
    "identities": "p0,p1",
    "size": ["16"],
    "scenario": "confidences",
    "components": 10,
    "waves": 0,
    "queries": QUERIES,
    "leading": 3,
    "restarts": RESTARTS,
    "chunk": RESTARTS,
    "query_batch": BATCH,
    "query_retries": 2,
    "judges": [],
    "judge": ["tests.own_judge:embed"],
}


class Server:
    """The gallery's classifier, which counts all that arrives, and fails as it is told to."""

    def __init__(self, answer=gallery.asked, most=1000):
        self.answer, self.most = answer, most
        self.calls, self.failed, self.answered, self.failing = [], 0, set(), None

    @property
    def shown(self):
        return sum(self.calls)

    def __call__(self, pictures):
        self.calls.append(len(pictures))
        failure = self.failing and self.failing(self)
        if len(pictures) > self.most or failure:
            self.failed += len(pictures)
            flask.abort(failure or 413)
        shown = {picture.tobytes() for picture in pictures}
        assert len(shown) == len(pictures) and not shown & self.answered, "asked before"
        self.answered |= shown
        return self.answer(pictures)


def once(status):
    """Fails the next call, and no other."""

    def fail(server):
        server.failing = None
        return status

    return fail


@contextlib.contextmanager
def asking(server, root, home, **more):
    """The flags of an audit of a model that the docs' client asks."""
    usual, values = imported.imported_function, FLAGS | more
    values |= {"gallery_dir": str(root / "gallery"), "auxiliary_dir": str(root / "public")}
    with serve(server) as address, pytest.MonkeyPatch.context() as patched:
        predict = functools.partial(client(), address)
        patched.setattr(
            *(imported, "imported_function"),
            lambda flag, path: predict if flag == "model" else usual(flag, path),
        )
        patched.setattr(devices, "start", lambda: None)  # JAX has its devices already.
        imported.load.cache_clear()
        with flagsaver.flagsaver(workdir=str(home), fail_on=[], **values):
            yield WorkDirectory(home)


def attack_it(workdir):
    attack.attack(workdir, scenario_flags.from_flags())


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return gallery.write(tmp_path_factory.mktemp("people"))


@pytest.fixture(scope="module")
def audited(root, tmp_path_factory):
    """An audit with a 429 in each stage, of a model that takes 20 pictures at a time."""
    server, log = Server(most=20), []
    handler = logging.Handler()
    handler.emit = lambda record: log.append((record.getMessage(), server.shown))
    logger = logging.getLogger("absl")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with asking(server, root, tmp_path_factory.mktemp("audited")) as workdir:
            for stage in (admission.admit, attack_it, lambda _: evaluate.main()):
                server.failing = once(429)
                stage(workdir)
                assert server.failing is None
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    return server, workdir, log


def test_the_count_in_the_report_is_the_servers_and_within_the_budget(audited):
    server, workdir, log = audited
    found = records.read(workdir.asked, Asked)
    shown = {name: count.shown for name, count in found.purposes.items()}
    assert found.shown == server.shown == sum(shown.values())
    assert found.purposes["attack"].allowed == 2 * QUERIES
    for count in found.purposes.values():
        assert 0 < count.shown <= count.allowed
    assert shown[REPEATED] == server.failed
    assert max(server.calls) <= BATCH
    stated = [re.search(r"asked about (\d+) pictures at most", said) for said, _ in log]
    (first,) = [(int(s[1]), shown) for s, (_, shown) in zip(stated, log, strict=True) if s]
    assert first == (found.allowed, 0)  # Before anything was asked.
    assert f"asked about {server.shown} pictures in all" in workdir.report.read_text()


def test_an_audit_that_is_done_asks_nothing_more(audited, root):
    server, workdir, _ = audited
    before, asked = server.shown, records.read(workdir.asked, Asked)
    with asking(server, root, workdir.root):
        audit.main()
        evaluate.main()
    assert server.shown == before
    assert records.read(workdir.asked, Asked) == asked


def test_a_run_that_is_interrupted_pays_for_nothing_twice_and_gives_the_same(
    audited, root, tmp_path
):
    """In each of the three stages; the server refuses to answer a picture a second time."""
    whole, expected, _ = audited
    seen = records.read(expected.asked, Asked).purposes["admission"].shown
    server = Server()
    with asking(server, root, tmp_path / "run", query_retries=0) as workdir:
        for answered, sentence in (
            (30, "no usable answer after"),
            (seen + 70, "what was found of p1"),
            (len(whole.answered) - 10, "no usable answer after"),
        ):
            server.failing = lambda s, most=answered: 503 if len(s.answered) >= most else None
            with pytest.raises(UserError, match=f"{sentence}.*503|503.*{sentence}"):
                audit.main()
        server.failing = None
        audit.main()
    assert len(server.answered) == len(whole.answered)
    assert records.read(workdir.asked, Asked).shown == server.shown
    for name in ("p0", "p1"):
        assert workdir.clones_of(name).read_bytes() == expected.clones_of(name).read_bytes()
    one, other = (json.loads(each.evaluation.read_text()) for each in (workdir, expected))
    assert one.pop("provenance") and other.pop("provenance")
    assert one == other


def test_an_embedder_is_enrolled_and_compared_by_asking(root, tmp_path):
    kernel, bias = gallery.weights()
    server = Server(lambda pictures: pictures.reshape(len(pictures), -1) @ kernel + bias)
    with asking(server, root, tmp_path / "run", returns="features") as workdir:
        admission.admit(workdir)
        loaded, roles = experiment.open_experiment(workdir)
        tests = sum(len(roles.test[name]) for name in ("p0", "p1"))
        for place, name in enumerate(("p0", "p1")):
            images = np.random.default_rng(place).random((2, 3, 16, 16, 3)).astype(np.float32)
            storage.write_arrays(
                workdir.clones_of(name), dict(zip(("clones", "seed"), images, strict=True))
            )
        before = server.shown
        target = experiment.load_recognizer(workdir, "target")
        seen = asked_target.through(workdir, target, asked_target.EVALUATION)
        names = ("p0", "p1")
        successful_attacks.write(workdir, loaded, roles, names, seen, ())
    found = records.read(workdir.successful_attacks, SuccessfulAttacks)
    assert found.target.type1.people_pairs == found.target.type2.people_pairs == 15
    # Clones, seeds and the mean face: photographs were seen in the admission.
    assert server.shown - before == 2 * 2 * 3 + 1
    assert tests and Ledger(workdir.answers).asked().shown == server.shown


def test_weights_that_are_needed_are_missed_before_anything_is_asked(root, tmp_path):
    server = Server()
    more = {"scenario": "gray_box", "queries": None, "leading": None, "query_batch": 64}
    more["query_retries"] = flags.FLAGS["query_retries"].default
    with (
        asking(server, root, tmp_path / "run", **more),
        pytest.raises(UserError, match="may only be asked, and --scenario=gray_box needs its"),
    ):
        audit.main()
    assert not server.calls


def sigmoid(pictures):
    kernel, bias = gallery.weights()
    return 1 / (1 + np.exp(-(pictures.reshape(len(pictures), -1) @ kernel + bias)))


@pytest.mark.parametrize(
    ("answer", "returns", "sentence"),
    [
        (gallery.asked, "logits", "are probabilities: .*--returns=logits contradicts it"),
        (sigmoid, None, "a sigmoid's, .*--returns does not say what they are"),
        (sigmoid, "probabilities", "a sigmoid's, .*--returns=probabilities contradicts it"),
    ],
)
def test_what_it_answers_is_compared_by_the_first_pictures_of_the_admission(
    root, tmp_path, answer, returns, sentence
):
    server = Server(answer)
    with (
        asking(server, root, tmp_path / "run", returns=returns),
        pytest.raises(UserError, match=sentence),
    ):
        audit.main()
    assert server.shown == admission._BATCH


@pytest.mark.parametrize(
    ("given", "allowed", "views"),
    [(None, 6 + 1 + 8 + 16 * 4, 16), (15, 15, 0), (29, 29, 3), (500, 500, 16)],
)
def test_fewer_pictures_for_the_evaluation_are_fewer_views(given, allowed, views):
    with flagsaver.flagsaver(evaluation_queries=given):
        assert asked_target.budget_of_evaluation([3, 3], 2) == (allowed, views)


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({"evaluation_queries": 14}, "--evaluation_queries=14 is too few: 4 clones"),
        ({"admission_queries": 60}, "--admission_queries=60 is too few: 60 photographs of"),
        ({"identities": "p0,nobody"}, "identity 'nobody' is not registered"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_asked(root, tmp_path, budget, sentence):
    server = Server()
    with (
        asking(server, root, tmp_path / "run", **budget),
        pytest.raises(UserError, match=sentence),
    ):
        audit.main()
    assert not server.calls


def test_budgets_of_what_is_asked_are_refused_for_weights(root, tmp_path):
    path = gallery.save(gallery.classifier(), tmp_path / "model.onnx")
    with (
        asking(Server(), root, tmp_path / "run", model=str(path), evaluation_queries=500),
        pytest.raises(UserError, match="--evaluation_queries has no effect on weights"),
    ):
        admission.admit(WorkDirectory(tmp_path / "run"))


@pytest.mark.parametrize(
    ("scenario", "queries"), [("confidences", 900), ("labels", 900), ("extraction", 300)]
)
def test_a_copy_is_paid_for_once(scenario, queries):
    wanted = scenarios.method(scenario, Recipe("best"), queries=300)
    assert wanted.asks(3) == queries


def test_a_model_whose_file_changes_is_another(tmp_path, monkeypatch):
    file = tmp_path / "own_model.py"
    monkeypatch.syspath_prepend(tmp_path)
    found = []
    for text in ("return 1", "return 2"):
        file.write_text(f"def predict(pictures):\n    {text}\n")
        function = imported.imported_function("model", "own_model:predict")
        way = asked_target.line(WorkDirectory(tmp_path), "own_model:predict", function, "attack")
        found.append(way.model)
    assert found[0] != found[1]


@pytest.mark.parametrize(
    ("purposes", "words"),
    [
        ({"attack": Count(600, 512)}, "512 pictures in all, of 600 that it might be: 512 for"),
        (
            {"admission": Count(100, 92), "attack": Count(2000, 1200), REPEATED: Count(50, 64)},
            "1,356 pictures in all, of 2,150 that it might be: 92 for the admission, 1,200 for the "
            "attack and 64 in calls that failed and were repeated.",
        ),
    ],
)
def test_in_words(purposes, words):
    assert words in in_words.sentence(Asked(purposes))


def test_a_picture_does_not_depend_on_what_stands_beside_it():
    how = imported.Preprocessing((12, 12), "BGR", 255.0, (127.5,), (128.0,), 0.8)
    images = np.random.default_rng(0).random((40, 16, 16, 3)).astype(np.float32)
    together = imported.pictures(how, images)
    alone = np.concatenate([imported.pictures(how, image[None]) for image in images])
    np.testing.assert_array_equal(together, alone)
