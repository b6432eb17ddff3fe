"""Binaries: train, attack, evaluate, and reproduce, which runs all three."""
