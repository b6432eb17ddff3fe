"""Photographs of people, and who plays which part in an experiment."""

from mia_jax.faces.sources import Faces, Images, load_folder, load_orl, load_tfds, read_image

__all__ = ["Faces", "Images", "load_folder", "load_orl", "load_tfds", "read_image"]
