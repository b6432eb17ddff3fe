"""Tests of which faces an experiment reads, the attacker's above all."""

import dataclasses

import numpy as np
import pytest
from absl import flags
from absl.testing import flagsaver
from pictures import random_pixels, save

from experiments import experiment, options, provenance
from mia_jax import faces
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory


@pytest.fixture
def home(tmp_path):
    """Eight people in color, and five gray photographs of nobody in particular."""
    for person in range(8):
        for number in range(4):
            pixels = random_pixels(16, 16, 3, seed=10 * person + number)
            save(tmp_path / "faces" / f"p{person}" / f"{number}.png", pixels)
    for number in range(5):
        save(tmp_path / "public" / f"{number}.png", random_pixels(9, 9, seed=100 + number))
    return tmp_path


def opened(home, **given):
    """Opens an experiment as the first stage does, or as a later one."""
    flags.FLAGS.mark_as_parsed()
    experiment.load_faces.cache_clear()
    values = {"dataset": "folder", "data_dir": f"{home / 'faces'}", "image_size": 16, "targeted": 1}
    with flagsaver.flagsaver(**values | given):
        return experiment.open_experiment(WorkDirectory(home / "run"))


@pytest.mark.parametrize("channels", [None, "1"])
def test_the_attacker_s_faces_come_from_the_directory(home, channels):
    loaded, roles = opened(home, auxiliary_dir=str(home / "public"), channels=channels)
    found = experiment.auxiliary_faces(loaded, roles, 9)
    public = faces.load_photographs(
        home / "public", image_size=16, channels=1 if channels else loaded.images.shape[-1]
    )
    np.testing.assert_array_equal(found, public)
    facts = provenance.dataset_facts(WorkDirectory(home / "run"), loaded, roles)
    assert (facts.people, facts.auxiliary_people, facts.auxiliary_photographs) == (8, None, 5)
    # Who trains what is as without.
    assert roles == opened(home / "run", data_dir=f"{home / 'faces'}", channels=channels)[1]


def test_by_default_they_are_of_the_data_set(home):
    loaded, roles = opened(home)
    found = experiment.auxiliary_faces(loaded, roles, 99)
    expected = [loaded.images[loaded.indices_of(name)] for name in roles.auxiliary]
    np.testing.assert_array_equal(found, np.concatenate(expected))
    facts = provenance.dataset_facts(WorkDirectory(home / "run"), loaded, roles)
    assert (facts.auxiliary_people, facts.auxiliary_photographs) == (
        len(roles.auxiliary),
        len(found),
    )


@pytest.mark.parametrize("public", [None, "public"])
def test_a_limit_chooses_the_same_faces_again_and_others_with_another_seed(home, public):
    loaded, roles = opened(home, auxiliary_dir=public and str(home / public))

    def chosen(seed, limit):
        again = dataclasses.replace(roles, seed=seed)
        found = experiment.auxiliary_faces(loaded, again, limit)
        assert len(found) == limit
        return {image.tobytes() for image in found}

    everything = {image.tobytes() for image in experiment.auxiliary_faces(loaded, roles, 99)}
    assert chosen(0, 3) == chosen(0, 3) < everything
    assert chosen(0, 2) < chosen(0, 3)
    assert len({frozenset(chosen(seed, 3)) for seed in range(9)}) > 1


def test_a_changed_directory_is_refused(home):
    given = {"auxiliary_dir": str(home / "public")}
    opened(home, **given)
    opened(home)  # Later stages need no flag.
    plan = records.read(WorkDirectory(home / "run").protocol, experiment.Plan)
    assert (plan.faces.auxiliary_dir, plan.auxiliary) == (str(home / "public"), 5)
    save(home / "public" / "more" / "6.png", random_pixels(9, 9))
    with pytest.raises(UserError, match=r"public holds 6 photographs, not the 5 for which .*run"):
        opened(home)


@pytest.mark.parametrize(
    ("public", "words"),
    [
        ("faces", "--auxiliary_dir=.*faces lies in --data_dir: the attacker's faces must be other"),
        ("faces/p0", "lies in --data_dir"),
        ("public/../faces/p0", "lies in --data_dir"),
        ("absent", "the folder of the attacker's faces, .*absent, does not exist"),
        ("public/0.png", "0.png is a file: name the folder of the attacker's faces"),
        ("run", "run holds no readable photograph"),
    ],
)
def test_a_directory_that_cannot_be_the_attacker_s_is_refused(home, public, words):
    (home / "run").mkdir()
    with pytest.raises(UserError, match=words):
        opened(home, auxiliary_dir=f"{home}/{public}")
    assert not (home / "run" / "protocol.json").exists()


def test_beside_the_people_is_elsewhere(home):
    """A name that only begins like the folder of the people."""
    (home / "public").rename(home / "faces of others")
    loaded, _ = opened(home, auxiliary_dir=str(home / "faces of others"))
    assert len(loaded.auxiliary) == 5


@pytest.mark.parametrize("strict", [True, None])
def test_unreadable_files_are_treated_as_those_of_the_folder(home, strict):
    (home / "public" / "bad.png").write_bytes(b"not a photograph")
    given = {"auxiliary_dir": str(home / "public"), "strict_images": strict}
    if strict:
        with pytest.raises(UserError, match=r"1 of 6 files are not readable images: ./bad.png"):
            opened(home, **given)
    else:
        assert len(opened(home, **given)[0].auxiliary) == 5


def test_any_data_set_may_have_it():
    flags.FLAGS.mark_as_parsed()
    for name in ("orl", "lfw", "vgg_face2"):
        with flagsaver.flagsaver(dataset=name, auxiliary_dir="public"):
            assert options.of_faces().auxiliary_dir == "public"


@pytest.mark.parametrize("text", ["[]", '{"attack": "long"}', '{"attack": NaN}', "[" * 10**5, "7"])
def test_an_account_that_somebody_else_wrote_is_one_sentence(tmp_path, text):
    (tmp_path / "seconds.json").write_text(text)
    with pytest.raises(UserError, match=r"seconds.json") as caught:
        experiment.seconds(WorkDirectory(tmp_path))
    assert "\n" not in str(caught.value)
