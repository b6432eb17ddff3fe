"""What is said of mistakes in files of names and in folders of people, one by one."""

import json
import shutil

import gallery
import pytest
from absl import flags
from admitting import admit

from experiments import audit
from mia_jax.runtime.errors import UserError

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["audit"])
assert audit
NAMES = [f"p{person}" for person in range(6)]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return gallery.write(tmp_path_factory.mktemp("people"))


def lines(*names):
    return "\n".join(names)


# What the file of names holds, and what is said.
FILES = {
    "a line too few": (lines(*NAMES[:5]), r"names 5 classes \(p0, .*\), and .*model.onnx has 6"),
    "a line of headings": (lines("name", *NAMES), r"names 7 classes \(name, p0, .* has 6"),
    "a name twice": (lines(*NAMES[:5], "p0"), "names p0 twice"),
    "a blank line": (lines(*NAMES[:3], "", *NAMES[3:]), "no name for number 3, counted from 0"),
    "another order": (lines(*NAMES[1:], "p0"), "--labels names its classes in another order"),
    "nobody": ("", "labels.txt names nobody: give the name of each class, a line each"),
    "names of others": (lines(*"abcdef"), "names nobody of --gallery_dir: its folders are p0, "),
    "capitals": (lines(*NAMES).upper(), r"names nobody of .*, the classes P0 \(nearest: p0\)"),
    "numbers before names": (
        lines(*(f"{place},{name}" for place, name in enumerate(NAMES))),
        r"names nobody of .*, the classes 0,p0 \(nearest: p0\)",
    ),
    "UTF-16": (lines(*NAMES).encode("utf-16"), "labels.txt is no text in UTF-8: save it so"),
    "Latin-1": ("Zo\xeb".encode("latin-1"), "labels.txt is no text in UTF-8: save it so"),
    "half a list of JSON": ('["p0", "p1"', "begins as JSON and is none"),
    "null for a name": (json.dumps([*NAMES[:5], None]), "has None where the name of a class"),
    "lists for names": (json.dumps([[name] for name in NAMES]), r"has \['p0'\] where the name"),
    "a dictionary with a gap": (
        '{"0": "p0", "2": "p1"}',
        "whose numbers are not 0 to 1, each once",
    ),
    "a list in a dictionary": (json.dumps({"labels": NAMES}), "is a dictionary of labels: give"),
    "truths for numbers": (json.dumps(dict.fromkeys(NAMES, True)), "is a dictionary of p0, p1, "),
}


@pytest.mark.parametrize("name", FILES)
def test_a_mistake_in_a_file_of_names_is_named(name, root, tmp_path):
    content, words = FILES[name]
    path = tmp_path / "labels.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words) as caught:
        admit(root, tmp_path, labels=str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "words"), [("no", "does not exist"), (".", "is no file: name one")]
)
def test_what_is_no_file_of_names_is_named(path, words, root, tmp_path):
    with pytest.raises(UserError, match=words):
        admit(root, tmp_path, labels=str(tmp_path / path))


def few(folder):
    for path in sorted((folder / "p3").iterdir())[2:]:
        path.unlink()


def flat(folder):
    for path in list(folder.glob("*/*")):
        path.rename(folder / path.name)


def two_forms(folder):
    shutil.copytree(folder / "p3", folder / "p3 ")


def copied(folder):
    shutil.copy(sorted((folder / "p1").iterdir())[0], folder / "p4" / "copy.png")


# What happens to the folders, and what is said.
REFUSED = {
    "too few photographs": (few, r"p3 holds 2 readable photograph\(s\), and each person needs 3"),
    "no folder for each person": (
        flat,
        "has no sub-folders with photographs: it needs one for each",
    ),
    "a person twice": (two_forms, "names p3 twice"),
    "a photograph in two folders": (copied, "one photograph as that of two people: .* of p1 and"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_mistake_in_the_folders_is_named(name, root, tmp_path):
    change, words = REFUSED[name]
    shutil.copytree(root / "gallery", tmp_path / "gallery")
    change(tmp_path / "gallery")
    with pytest.raises(UserError, match=words):
        admit(root, tmp_path, gallery_dir=str(tmp_path / "gallery"))


def misspelled(folder):
    (folder / "p3").rename(folder / "p33")


def in_capitals(folder):
    (folder / "p3").rename(folder / "P3")


def missing(folder):
    shutil.rmtree(folder / "p3")


def in_another(folder):
    for path in sorted((folder / "p1").iterdir())[:3]:
        path.rename(folder / "p4" / path.name)


def swapped(folder):
    for one, other in (("p1", "x"), ("p2", "p1"), ("x", "p2")):
        (folder / one).rename(folder / other)


def with_text(folder):
    (folder / "p3" / "notes.txt").write_text("no photograph")
    (folder / "p9").mkdir()


ACCEPTED = {
    "a folder misspelled": (misspelled, ("p33 (nearest: p3)", "p3 (nearest: p33)")),
    "a folder in capitals": (in_capitals, ("P3 (nearest: p3)", "p3 (nearest: P3)")),
    "a folder missing": (missing, ("1 classes have no folder in --gallery_dir", ": p3")),
    "photographs in another's folder": (in_another, ("takes 3 of 13 photographs of p4 for p1",)),
    "two folders changed places": (
        swapped,
        ("takes 10 of 10 photographs of p1 for p2", "p2 for p1"),
    ),
    "text, and a folder of nobody": (
        with_text,
        ("p3/notes.txt", "empty folder(s) are left out: p9"),
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_may_be_meant_is_said_and_goes_on(name, root, tmp_path, caplog):
    change, said = ACCEPTED[name]
    shutil.copytree(root / "gallery", tmp_path / "gallery")
    change(tmp_path / "gallery")
    path = tmp_path / "labels.txt"
    path.write_text(lines(*NAMES))
    with caplog.at_level("WARNING", logger="absl"):
        admit(root, tmp_path, labels=str(path), gallery_dir=str(tmp_path / "gallery"))
    for words in said:
        assert words in caplog.text
