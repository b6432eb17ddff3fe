"""Admits a model of the gallery's people with some flags, as an audit begins."""

import gallery
from absl import flags
from absl.testing import flagsaver

from experiments import admission
from mia_jax.runtime.workdir import WorkDirectory


def admit(root, tmp_path, model=None, **given):
    """Admits a model into a fresh work directory, with these flags."""
    path = model
    if model is None or not isinstance(model, str):
        path = tmp_path / "model.onnx"
        gallery.save(gallery.classifier() if model is None else model, path)
    values = {
        "model": str(path),
        "gallery_dir": str(root / "gallery"),
        "auxiliary_dir": str(root / "public"),
        **given,
    }
    workdir = WorkDirectory(tmp_path / "run")
    with flagsaver.flagsaver(**values):
        for name in given:
            flags.FLAGS[name].present = 1
        try:
            admission.admit(workdir)
        finally:
            for name in given:
                flags.FLAGS[name].present = 0
    return workdir
