"""Tests that every binary refuses a wrong flag before anything is computed or written.

`benchmark` and `pool`, whose flags are their own, have the same in tests of theirs.
"""

import gallery
import numpy as np
import pytest
from absl import flags, logging
from absl.testing import flagsaver
from PIL import Image

from experiments import (
    admission,
    attack,
    audit,
    calibrate,
    compare,
    devices,
    evaluate,
    experiment,
    game,
    panel,
    quiz,
    reproduce,
    train,
)
from mia_jax.attack.generators import mobile_stylegan_files
from mia_jax.evidence import judges
from mia_jax.runtime.errors import UserError

MAINS = {
    "attack": attack.main,
    "audit": audit.main,
    "calibrate": calibrate.main,
    "compare": compare.main,
    "evaluate": evaluate.main,
    "game": game.main,
    "quiz delete": quiz.delete,
    "quiz serve": quiz.serve,
    "reproduce": reproduce.main,
    "train": lambda: train.main(["nobody"]),
}
OWN = ["--judges=", "--judge=tests.own_judge:embed"]
METHOD = [
    (["--recipe=best", "--rate=0"], "--rate=0.0 does not descend"),
    (["--recipe=best", "--filter=median"], "--filter is for pixels"),
    (["--recipe=best", "--seeding=genetic"], "--seeding finds a seed image"),
    (["--scenario=labels", "--recipe=best", "--strategy=genetic"], "needs confidences"),
    (["--scenario=confidences", "--recipe=paper"], "--recipe=paper searches pixels"),
    (["--scenario=white_box", "--recipe=components"], "--recipe=components cannot be told"),
    (["--scenario=white_box", "--recipe=best", "--mask=no.png"], "--mask=no.png is no image file"),
    (["--recipe=photographs"], "random-face, which is not installed"),
]
RUN = [
    (["--identities=nobody", *OWN], "identity 'nobody' is not registered"),
    (["--identities=0:100", *OWN], "--identities=0:100 is no range"),
    (["--judges=arcface"], "--judges=arcface is no judge"),
    (["--judges=", "--judge=nowhere:embed"], "--judge=nowhere:embed cannot be imported"),
    (["--beside=no/run", *OWN], "--beside=no/run holds no evaluation yet"),
    (["--auxiliary_dir=copies", *OWN], "holds 3 copies of photographs"),
]
WRONG = [
    *(("reproduce", *each) for each in [*METHOD, *RUN]),
    ("reproduce", ["--residual=nobody", *OWN], "--residual=nobody is no recognizer"),
    ("reproduce", ["--fail_on=identified", *OWN], "--fail_on=identified cannot fail"),
    *(("audit", *each) for each in [*METHOD, *RUN]),
    ("audit", ["--recipe=best", "--feature_weight=1", *OWN], "--feature_weight needs a target"),
    ("audit", ["--labels=no.txt", *OWN], "--labels=no.txt does not exist"),
    *(("attack", *each) for each in METHOD),
    ("train", [], "--role=nobody is no recognizer here"),
    ("game", ["--photographs=99", *OWN], "--photographs=99: give numbers from 1 to"),
    ("game", ["--evaluators=", *OWN], "without evaluators nobody can stand in"),
    ("game", ["--judges=arcface"], "--judges=arcface is no judge"),
    ("game", ["--identities=all"], "--identities is not for the game"),
    ("calibrate", ["--candidates=nobody"], "--candidates=nobody is no candidate"),
    ("calibrate", ["--rate=1"], "--rate has no effect here"),
    ("compare", ["--methods=nobody"], "--methods=nobody is unknown"),
    ("compare", ["--rate=1"], "--rate has no effect here"),
    ("quiz serve", ["--host=0.0.0.0", "--port=0"], "--host=0.0.0.0 needs --url"),
    ("quiz delete", [], "--observer is needed"),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A gallery of six people, faces of others, a folder of all, and copies of one's."""
    root = gallery.write(tmp_path_factory.mktemp("people"))
    gallery.save(gallery.classifier(), root / "model.onnx")
    for person, pictures in enumerate(gallery.photographs()[:12]):
        for number, picture in enumerate(pictures[:5]):
            path = root / "all" / f"p{person}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(path)
    for number in range(3):
        path = root / "copies" / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.fliplr(gallery.photographs()[0, number])).save(path)
    return root


@pytest.fixture(autouse=True)
def nothing_begins(monkeypatch):
    """Whatever takes time fails the test."""

    def begun(*_, **__):
        raise AssertionError("computing has begun")

    for module, name in (
        (train, "fit"),
        (admission, "_look"),
        (attack, "make_clones"),
        (judges, "embedder_judge"),
        (panel, "make_judges"),
        (evaluate, "show"),
    ):
        monkeypatch.setattr(module, name, begun)
    monkeypatch.setattr(mobile_stylegan_files, "installed", lambda: False)
    monkeypatch.setattr(mobile_stylegan_files.packages, "files", lambda _: None)
    monkeypatch.setattr(devices, "start", lambda: None)
    logger = logging.get_absl_logger()
    before = logger.level
    yield
    logger.setLevel(before)  # Flags that are parsed change it.


def given(binary, root, workdir):
    """The flags that are right."""
    common = [f"--workdir={workdir}", "--restarts=2", "--chunk=2"]
    if binary == "audit":
        places = ("model=model.onnx", "gallery_dir=gallery", "auxiliary_dir=public")
        return [*common, "--min_images=3", *[f"--{p.replace('=', f'={root}/')}" for p in places]]
    if binary in ("calibrate", "compare", "quiz delete", "quiz serve"):
        return common[:1]
    people = ["--dataset=folder", f"--data_dir={root}/all", "--image_size=16", "--targeted=2"]
    return [*common, *people, *(["--photographs=1,all"] if binary == "game" else [])]


@pytest.mark.parametrize(("binary", "wrong", "words"), WRONG)
def test_a_wrong_flag_is_refused_before_anything_is_computed_or_written(
    root, tmp_path, binary, wrong, words
):
    experiment.load_faces.cache_clear()
    flags.FLAGS.unparse_flags()
    asked = [each.replace("=copies", f"={root}/copies") for each in wrong]
    with flagsaver.flagsaver():
        flags.FLAGS([binary, *given(binary, root, tmp_path / "run"), *asked])
        with pytest.raises(UserError, match=words) as raised:
            MAINS[binary]()
    assert "\n" not in str(raised.value)
    assert not [path for path in (tmp_path / "run").rglob("*") if path.is_file()]


def test_whom_to_attack_is_checked_before_a_judge_looks(root, tmp_path):
    experiment.load_faces.cache_clear()
    flags.FLAGS.unparse_flags()
    with flagsaver.flagsaver():
        flags.FLAGS(["compare", *given("reproduce", root, tmp_path), "--identities=nobody", *OWN])
        loaded, roles = experiment.open_experiment(experiment.work_directory())
        with pytest.raises(UserError, match="identity 'nobody' is not registered"):
            compare.set_stage(experiment.work_directory(), loaded, roles)
