"""What it means that an embedder takes clones for their people, in sentences."""

from mia_jax.evidence.results import Measure
from mia_jax.evidence.unlocking import Unlocking
from mia_jax.report import formats


def sentences(found: Unlocking) -> list[str]:
    """Says whom the model lets in, and what to compare that with.

    Args:
      found: What was counted.

    Returns:
      A few sentences.
    """

    def rate(measure: Measure) -> str:
        return formats.percent(measure.value)

    others = f", {rate(found.others)} of clones aimed at others" if found.others else ""
    opened = [name for name, share in found.people.items() if share > 0]
    return [
        f"At its threshold of {found.threshold:.3f} the model takes {rate(found.clones)} of the "
        f"clones for their person; {rate(found.photographs)} of the person's own photographs, "
        f"{rate(found.strangers)} of other people's, {rate(found.seeds)} of the images before the "
        f"attack{others}.",
        f"A clone unlocks it as {len(opened)} of {len(found.people)} people. That is no evidence "
        "that it looks like them: the attack sought what this model accepts.",
    ]
