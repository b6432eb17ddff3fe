"""The README's commands and examples are what they claim to be."""

import pathlib
import re
import shlex

ROOT = pathlib.Path(__file__).parent.parent
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.M | re.S)


def blocks(language):
    return [text for kind, text in BLOCKS if kind == language]


def test_the_two_commands_are_one_line_each():
    main, test = blocks("bash")[:2]
    assert main.count("\n") == test.count("\n") == 1
    assert "--workdir=runs/orl" in shlex.split(main)
    assert "pytest" in shlex.split(test)


def test_the_example_of_an_own_model_runs_and_rebuilds_its_class(capsys):
    exec(compile(blocks("python")[0], "README.md", "exec"), {})
    *shape, score = capsys.readouterr().out.replace("(", "").replace(")", "").split()
    assert shape == ["100,", "32,", "32,", "1"]
    assert float(score) > 0.9


def test_every_picture_is_there():
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture
