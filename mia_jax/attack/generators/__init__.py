"""Generators of faces whose latents an attack may search: one file each, each with a `space`."""
