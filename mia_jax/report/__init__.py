"""The report: figures and one page."""

from mia_jax.report.page import DASH, PICTURES, PORTRAYED, render, summary

__all__ = ["DASH", "PICTURES", "PORTRAYED", "render", "summary"]
