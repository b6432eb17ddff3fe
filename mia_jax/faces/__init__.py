"""Photographs of people, and who plays which part in an experiment."""

from mia_jax.faces.datasets import load_tfds
from mia_jax.faces.images import read_image
from mia_jax.faces.protocol import Protocol, make_protocol
from mia_jax.faces.sources import (
    Faces,
    Images,
    load_folder,
    load_named_photographs,
    load_orl,
    load_photographs,
)

__all__ = [
    "Faces",
    "Images",
    "Protocol",
    "load_folder",
    "load_named_photographs",
    "load_orl",
    "load_photographs",
    "load_tfds",
    "make_protocol",
    "read_image",
]
