"""Tests that `~` is the home directory in every flag that names a file or a directory."""

import pathlib

import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import audit, quiz

_PATHS = [
    *("workdir", "data_dir", "auxiliary_dir", "gallery_dir", "labels", "model", "weights"),
    *("preprocessing", "templates", "beside", "compilation_cache", "identities", "answers", "mask"),
]


@pytest.mark.parametrize("name", _PATHS)
def test_a_tilde_is_the_home_directory(name):
    assert audit and quiz
    flags.FLAGS.unparse_flags()
    with flagsaver.flagsaver():
        flags.FLAGS(["audit", f"--{name}=~/x,y"])
        assert flags.FLAGS[name].value == f"{pathlib.Path.home()}/x,y"
        flags.FLAGS(["audit", f"--{name}=module:function~"])
        assert flags.FLAGS[name].value == "module:function~"


def test_every_flag_of_a_file_or_directory_is_such():
    """By its name or help: one that is defined later must not be forgotten."""
    words = ("directory", "file", "folder", "where the", "where public")
    spoken = {
        flag.name
        for module, members in flags.FLAGS.flags_by_module_dict().items()
        if module.startswith("experiments")
        for flag in members
        if flag.flag_type() == "string" and any(word in (flag.help or "").lower() for word in words)
    }
    assert spoken <= {*_PATHS}, spoken
