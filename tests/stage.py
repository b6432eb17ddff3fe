"""Who is who, made up for the tests of what is put before the judges."""

from mia_jax.faces.protocol import Protocol


def protocol(disjoint=False):
    """Two evaluators; the second does not know bob."""
    own = (0, 1), (2, 3) if disjoint else (0, 1)
    classes = {"target": ("ann", "bob", "eve"), "r": ("ann", "bob", "zoë"), "s": ("ann", "zoë")}
    training_ = {role: dict.fromkeys(names, own[1]) for role, names in classes.items()}
    training_["target"] = dict.fromkeys(classes["target"], own[0])
    everybody = ("ann", "bob", "eve", "zoë")
    return Protocol(
        seed=0,
        targeted=("ann",),
        classes=classes,
        auxiliary=("kim",),
        training=training_,
        validation=dict.fromkeys(everybody, (4,)),
        test=dict.fromkeys(everybody, (5,)),
    )
