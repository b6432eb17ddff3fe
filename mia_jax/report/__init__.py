"""The report: figures, sentences and one page."""

from mia_jax.report.page import END, PORTRAYED, picture_names, render
from mia_jax.report.sentences import summary
from mia_jax.report.study import sentences as study_sentences

__all__ = ["END", "PORTRAYED", "picture_names", "render", "study_sentences", "summary"]
