"""The attack: clones of a person from the model alone."""
