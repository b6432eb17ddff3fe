"""Binaries: train, attack, evaluate, reproduce, which runs all three, game, and benchmark."""
