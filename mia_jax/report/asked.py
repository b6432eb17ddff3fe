"""How often a model that may only be asked was asked, in a sentence."""

from mia_jax.report import formats
from mia_jax.runtime.ledger import REPEATED, Asked


def sentence(found: Asked) -> str:
    """Says how many pictures a model was shown, what for, and how many it might have been.

    Args:
      found: What was counted.

    Returns:
      A sentence.
    """
    parts = [
        f"{formats.count(count.shown)} for the {name}"
        for name, count in found.purposes.items()
        if name != REPEATED
    ]
    failed = found.purposes.get(REPEATED)
    if failed is not None and failed.shown:
        parts.append(f"{formats.count(failed.shown)} in calls that failed and were repeated")
    *most, last = parts
    listed = f"{', '.join(most)} and {last}" if most else last
    return (
        f"The target was asked about {formats.count(found.shown)} pictures in all, of "
        f"{formats.count(found.allowed)} that it might be: {listed}."
    )
