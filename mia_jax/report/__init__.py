"""The report: figures, sentences and one page."""

from mia_jax.report.page import PORTRAYED, picture_names, render
from mia_jax.report.sentences import summary

__all__ = ["PORTRAYED", "picture_names", "render", "summary"]
