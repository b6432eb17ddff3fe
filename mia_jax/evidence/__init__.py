"""What the clones show, and to whom: judges, what they see, and the figures made of it."""

from mia_jax.evidence.evaluation import Evidence, Examined, examine, judge_all, share_of_others
from mia_jax.evidence.judges import SHARES, Judge, check_independent, recognizer_judge
from mia_jax.evidence.results import Evaluation, Judgement, Measure, Rates

__all__ = [
    "SHARES",
    "Evaluation",
    "Evidence",
    "Examined",
    "Judge",
    "Judgement",
    "Measure",
    "Rates",
    "check_independent",
    "examine",
    "judge_all",
    "recognizer_judge",
    "share_of_others",
]
