"""Tests that no photograph of the people under attack is the attacker's, in whatever binary."""

import logging

import numpy as np
import pytest
from PIL import Image

from experiments import experiment, options, strangers
from mia_jax import faces
from mia_jax.faces import images
from mia_jax.runtime.errors import UserError


@pytest.fixture(scope="module")
def people():
    return faces.load_orl(image_size=64)


@pytest.fixture
def home(tmp_path, people):
    """Six people of four photographs, and public faces of twelve others."""
    for place, (image, person) in enumerate(zip(people.images, people.identities, strict=True)):
        if place % 10 < 4 and person < 6:
            save(tmp_path / "faces" / f"s{person}" / f"{place % 10}.png", image)
        if place % 10 == 0 and person >= 28:
            save(tmp_path / "public" / "more" / f"{person}.png", image)
    return tmp_path


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    images.picture(image).save(path)


def opened(home, data_dir="faces", auxiliary_dir="public"):
    """What every binary does to open the faces."""
    experiment.load_faces.cache_clear()
    auxiliary = auxiliary_dir and str(home / auxiliary_dir)
    return experiment.load_faces(
        options.FacesOptions("folder", 64, None, str(home / data_dir), auxiliary, 3, None)
    )


def test_other_people_s_faces_are_the_attacker_s(home):
    assert len(opened(home).auxiliary) == 12
    assert opened(home).auxiliary_names[0] == "more/28.png"


@pytest.mark.parametrize("way", ["exact", "mirrored, small and of low quality"])
def test_a_copy_of_a_victim_s_photograph_is_refused_by_name(home, way):
    picture = Image.open(home / "faces" / "s3" / "1.png")
    path = home / "public" / "more" / "a.jpg"
    if way == "exact":
        path = path.with_suffix(".png")
        picture.save(path)
    else:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((48, 48)).save(path, quality=40)
    words = rf"public holds 1 copies .* \(more/{path.name} is photograph 2 of s3\): the attacker's"
    with pytest.raises(UserError, match=words) as raised:
        opened(home)
    assert "\n" not in str(raised.value)


def test_a_copied_folder_is_refused_whole(home):
    with pytest.raises(UserError, match=r"holds 24 copies .* and 14 more"):
        opened(home, auxiliary_dir=str((home / "faces").rename(home / "copy")), data_dir=made(home))


def made(home):
    """The people again, recompressed."""
    for path in (home / "copy").rglob("*.png"):
        to = home / "again" / path.parent.name / f"{path.stem}.jpg"
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(to, quality=70)
    return "again"


def test_a_photograph_of_two_people_is_refused_in_a_folder_and_said_of_a_data_set(
    home, people, caplog
):
    """Without --auxiliary_dir, one of the two may be the attacker's."""
    Image.open(home / "faces" / "s3" / "1.png").save(home / "faces" / "s5" / "9.jpg", quality=60)
    words = "photograph 2 of s3 and photograph 5 of s5: take away the one that is not the person's"
    with pytest.raises(UserError, match=words):
        opened(home, auxiliary_dir=None)
    swapped = people.images.copy()
    swapped[7] = swapped[395]
    loaded = faces.Faces(swapped, people.identities, people.names, "")
    wanted = options.FacesOptions("orl", 64, None, None, None, None, None)
    with caplog.at_level(logging.WARNING):
        strangers.check_people(wanted, loaded)
    assert "photograph 8 of s1 and photograph 6 of s40" in caplog.text


def test_the_orl_faces_are_said_nothing_of(people, caplog):
    wanted = options.FacesOptions("orl", 64, None, None, None, None, None)
    with caplog.at_level(logging.WARNING):
        strangers.check_people(wanted, people)
    assert not caplog.text
    assert np.unique(people.identities).size == 40
