"""What the clones show, and to whom: judges, what they see, the figures, and the verdict."""

from mia_jax.evidence.embedders import Embedder, dlib_embedder, own_embedder
from mia_jax.evidence.evaluation import judge_all
from mia_jax.evidence.examination import Evidence, Examined, examine, share_of_others
from mia_jax.evidence.judges import (
    SHARES,
    Judge,
    check_independent,
    embedder_judge,
    recognizer_judge,
)
from mia_jax.evidence.results import Evaluation, Judgement, Measure, Rates, Verdict
from mia_jax.evidence.sets import Gallery, gallery
from mia_jax.evidence.verdict import verdicts

__all__ = [
    "SHARES",
    "Embedder",
    "Evaluation",
    "Evidence",
    "Examined",
    "Gallery",
    "Judge",
    "Judgement",
    "Measure",
    "Rates",
    "Verdict",
    "check_independent",
    "dlib_embedder",
    "embedder_judge",
    "examine",
    "gallery",
    "judge_all",
    "own_embedder",
    "recognizer_judge",
    "share_of_others",
    "verdicts",
]
