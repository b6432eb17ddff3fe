"""What an evaluation found, as it is computed, stored in `evaluation.json`, and printed.

The end of the story's evidence: `evaluation` fills the judgements, the binary adds what was
attacked and at what cost, `runtime.records` writes and reads the whole, and the report prints it.
Nothing here depends on the machine's speed: times are kept apart, in `seconds.json`.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mia_jax.recognizer.training import RecognizerFacts

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class Measure:
    """A mean, and how well the people at hand determine it.

    Attributes:
      value: The mean.
      interval: Its 95% interval over people, or over images where there is but one person; None
        where they cannot tell, as a single one.
    """

    value: float
    interval: Interval | None


@dataclasses.dataclass(frozen=True)
class Rates:
    """How a judge sees a group of images of, or aimed at, one person; or the mean over persons.

    Attributes:
      rank1: Fraction of the images for which the judge puts the person first.
      rank5: Among the first five.
      rank10: Among the first ten.
      cmc_area: Area under the cumulative matching curve, in [0, 1].
      mean_score: The judge's score of the person; a recognizer's confidence is in [0, 1].
      mean_target_score: The confidence of the attacked model that this is the person, in [0, 1].
      psnr: To the training photograph of least squared difference, in dB; this and the two below
        are None where an image, or what the judge makes of it, holds values that are not finite.
      ssim: To the same photograph, in [-1, 1].
      feature_distance: Mean Euclidean distance to the training photographs in the judge's features.
      median_rank: The person's median rank, 1 for the best.
      set_rank: The person's rank for all images taken together, by the mean of their features; over
        persons the median.
      found: Fraction of the images in which the judge finds a face; None for a judge who does not
        look for one.
      cmc: At k - 1, the fraction of the images for which the judge puts the person among the first
        k; one value for each person whom the judge knows.
    """

    rank1: Measure
    rank5: Measure
    rank10: Measure
    cmc_area: Measure
    mean_score: Measure
    mean_target_score: Measure
    psnr: Measure | None
    ssim: Measure | None
    feature_distance: Measure | None
    median_rank: float
    set_rank: float
    found: Measure | None
    cmc: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class SetRates:
    """How a judge sees whole sets of images, one for each person, by the mean of their features.

    Attributes:
      rank1: Fraction of the sets for which the judge puts the person first.
      median_rank: The person's median rank.
      cmc: At k - 1, the fraction of the sets for which the person is among the first k.
    """

    rank1: Measure
    median_rank: float
    cmc: tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Sets:
    """The sets of all attacked people, kind by kind.

    Attributes:
      clones: Each person's clones taken together.
      seeds: The images from which their attack started.
      others: Clones aimed at other people; None where nobody else was attacked.
      photographs: The test photographs, for the ceiling.
    """

    clones: SetRates
    seeds: SetRates
    others: SetRates | None
    photographs: SetRates


@dataclasses.dataclass(frozen=True)
class SetMeasures:
    """How a set of images lies among a person's photographs, in a judge's features.

    The surroundings of an image reach to its k-th nearest neighbor in its own set, k = 5, or the
    last where there are fewer. Distances are Euclidean. Of many images, 200 are measured. A value
    is None where there are too few images or photographs, or features are not finite.

    Attributes:
      precision: Fraction of the images that lie in the surroundings of a photograph.
      recall: Fraction of the photographs that lie in the surroundings of an image.
      density: In how many surroundings of photographs an image lies, over k; 1 for the photographs
        themselves.
      coverage: Fraction of the photographs with an image in their surroundings.
      diversity: Mean distance of two images.
      nearest_own: Mean distance to the nearest of the person's training photographs.
      nearest_stranger: Mean distance to the nearest photograph of anybody else in the data set.
      own_is_nearer: Fraction of the images for which the former is less than the latter.
    """

    precision: float | None
    recall: float | None
    density: float | None
    coverage: float | None
    diversity: float | None
    nearest_own: float | None
    nearest_stranger: float | None
    own_is_nearer: float | None


@dataclasses.dataclass(frozen=True)
class SetComparison:
    """A person's clones, and what to compare them with, among the person's photographs.

    Attributes:
      clones: The clones, against all photographs of the person that the target trained or was
        tested on.
      seeds: The images from which the attack started, against the same.
      others: Clones aimed at other people, of several of them; None where nobody else was attacked.
      photographs: The test photographs, against those that trained the target.
    """

    clones: SetMeasures
    seeds: SetMeasures
    others: SetMeasures | None
    photographs: SetMeasures


@dataclasses.dataclass(frozen=True)
class FrechetDistances:
    """Squared Fréchet distances, in a judge's features, to the training photographs.

    The images of all attacked people are pooled, so that clones aimed at others would be the same
    clones again: these are no null here. Only sets of the same size compare: clones and seeds.
    A value is None where there are fewer than two images, or features are not finite.

    Attributes:
      clones: From the clones, 200 of a person at most.
      seeds: From the images from which their attack started.
      photographs: From the test photographs, which are fewer, and come out too far for that.
    """

    clones: float | None
    seeds: float | None
    photographs: float | None


@dataclasses.dataclass(frozen=True)
class Acceptance:
    """How often a judge takes images for their person who takes few strangers for them.

    Attributes:
      false_accepts: Fraction of the real pairs of strangers (photographs of one person, put forward
        as another) that score above the threshold, at most.
      threshold: The score above which an image is accepted.
      set_threshold: The score above which a set is, from all photographs of a stranger together.
      clones: Fraction of the clones that are accepted, mean over persons.
      sets: Fraction of the people whose clones taken together are.
      seeds: Of the seeds that were not attacked.
      mean_face: Of the mean face.
      others: Of clones aimed at others; None where nobody else was attacked.
      photographs: Of real photographs of the person that trained nothing: the true accepts.
    """

    false_accepts: float
    threshold: float
    set_threshold: float
    clones: Measure
    sets: Measure
    seeds: Measure
    mean_face: Measure
    others: Measure | None
    photographs: Measure


@dataclasses.dataclass(frozen=True)
class Disturbed:
    """Images that are changed as a photograph may be, without hiding who is on it.

    Attributes:
      clones: Fraction of a sample of the clones for which the judge still puts the person first.
      photographs: The same of real photographs that trained nothing.
    """

    clones: Measure
    photographs: Measure


@dataclasses.dataclass(frozen=True)
class Controls:
    """What is reached without knowing anything of the person.

    Attributes:
      seeds: The images from which the attack started.
      mean_face: The plain mean of the auxiliary faces, one image.
      others: Clones aimed at other people; None where nobody else was attacked.
    """

    seeds: Rates
    mean_face: Rates
    others: Rates | None


@dataclasses.dataclass(frozen=True)
class Pick:
    """One of a person's clones.

    Attributes:
      restart: Its number, from 0.
      score: The judge's score of the person.
      rank: The person's rank by the judge, 1 for the best.
      target_score: The target's confidence, in [0, 1].
    """

    restart: int
    score: float
    rank: int
    target_score: float


@dataclasses.dataclass(frozen=True)
class PersonFigures:
    """How a judge sees one person's clones.

    Attributes:
      clones: All of them.
      controls: What to compare them with.
      photographs: Real photographs of the person that trained nothing.
      best: The clone that the judge ranks, then scores best: it takes the judge to find it.
      attacker_pick: The clone that an attacker with the target alone would choose.
      exposure_rank: The person's place among all attacked, 1 for the highest rate.
      set_score: The judge's score of the person for all clones taken together.
      set_measures: How they lie among the person's photographs.
    """

    clones: Rates
    controls: Controls
    photographs: Rates
    best: Pick
    attacker_pick: Pick
    exposure_rank: int
    set_score: float
    set_measures: SetComparison


@dataclasses.dataclass(frozen=True)
class Chance:
    """The rates of a judge who guesses, in [0, 1]."""

    rank1: float
    rank5: float
    rank10: float


@dataclasses.dataclass(frozen=True)
class Judgement:
    """What one judge says.

    Attributes:
      shares: What the judge has in common with the target, from `judges.SHARES`, sorted; nothing
        makes it a stranger.
      classes: Among how many people the judge chooses.
      chance: What guessing among them reaches.
      people: The figures of each attacked person whom the judge knows, by name.
      mean: Of the clones, over persons.
      controls: The same of the controls.
      ceiling: The judge on real photographs of the attacked people that trained nothing.
      ceiling_photographs: How many those are.
      sets: The same for sets of images taken together.
      stranger_pairs: How many pairs of strangers the thresholds of `verification` come from.
      verification: True accepts at some rates of false accepts.
      robustness: By kind of disturbance, "none" first.
      adversariality: How much more often the judge accepts clones that all strangers reject (rank 1
        here, below their thresholds for 1% there) than other people's real photographs; None for a
        stranger, and where one of the two has no case.
      mean_set_measures: Of the people's `set_measures`, the mean of each over those who have it.
      frechet: How far the clones of all are from the photographs of all, as distributions.
    """

    shares: tuple[str, ...]
    classes: int
    chance: Chance
    people: Mapping[str, PersonFigures]
    mean: Rates
    controls: Controls
    ceiling: Rates
    ceiling_photographs: int
    sets: Sets
    stranger_pairs: int
    verification: tuple[Acceptance, ...]
    robustness: Mapping[str, Disturbed]
    adversariality: float | None
    mean_set_measures: SetComparison
    frechet: FrechetDistances


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How two judges see the same clones: fractions that add up to 1.

    Attributes:
      first: The name of one judge.
      second: The name of the other.
      both: Of the clones, those for which both put the person first.
      only_first: Those for which only the first judge does.
      only_second: Those for which only the second does.
      neither: The rest.
    """

    first: str
    second: str
    both: float
    only_first: float
    only_second: float
    neither: float


IDENTIFIED, NARROWED_DOWN, NOT_SHOWN = "identified", "narrowed_down", "not_shown"
INCONCLUSIVE, LEAK = "inconclusive", "leak"


@dataclasses.dataclass(frozen=True)
class OnTarget:
    """Whether an attack reached its own goal: what the target makes of clones and photographs.

    Attributes:
      clones_first: Fraction of a person's clones for which the target puts the person first; equal
        scores count against the person.
      photographs_first: The same of the person's test photographs, in an audit the gallery's.
      clones_confidence: The target's mean confidence that a clone is the person, in [0, 1].
      photographs_confidence: The same of the photographs.
    """

    clones_first: float
    photographs_first: float
    clones_confidence: float
    photographs_confidence: float


@dataclasses.dataclass(frozen=True)
class SmallestLeak:
    """The smallest leak that a run would have shown in four of five cases.

    Attributes:
      fraction: How far the clones would have to come from where they are without a leak to the
        person's own photographs, in (0, 1], in the features of the independent judges.
      set_rank1: How often the judges would put the person first for such clones taken together.
      set_rank: The person's median rank for them.
    """

    fraction: float
    set_rank1: float
    set_rank: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the evidence comes to for one person.

    Attributes:
      level: "identified": to independent judges, those that share nothing with the target, the
        clones taken together are more like the person than all nulls explain, and each of these
        judges ranks the person first; "narrowed_down": the former alone; "not_shown": nothing was
        shown at this budget; "inconclusive": nothing was shown, and nothing can be said.
      reasons: Why nothing can be said, where nothing was shown; a clause each.
      p_value: Of the independent judges' word, corrected for all tests of the run; None if none was
        asked.
      set_p_value: Before that, of the clones taken together: how often sets of clones come as near
        to somebody at whom they were not aimed.
      named_by: The judges that share something with the target and name the person clearly more
        often than chance and the controls: what fools the target fools them.
      on_target: What the target makes of the clones.
      smallest_leak: What this run would have shown of the person; None where no leak would have
        been, however large, and without an independent judge.
    """

    level: str
    reasons: tuple[str, ...]
    p_value: float | None
    set_p_value: float | None
    named_by: tuple[str, ...]
    on_target: OnTarget
    smallest_leak: SmallestLeak | None


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """What the evidence comes to over all attacked people.

    Attributes:
      level: The gravest of the findings; "not_shown" without any.
      findings: All that hold, the gravest first: "identified": somebody is; "leak": somebody is at
        least narrowed down, or clones and people belong together over all people at once;
        "inconclusive": of somebody nothing can be said.
      together: Whether clones and people belong together over all people at once.
      p_value: Of the test over all people at once, corrected as the people's are; None if no
        independent judge was asked, or one person is attacked.
      test_p_value: The same before that.
      smallest_leak: The smallest leak of everybody that the test over all people would have shown;
        None where there is none.
    """

    level: str
    findings: tuple[str, ...]
    together: bool
    p_value: float | None
    test_p_value: float | None
    smallest_leak: SmallestLeak | None


@dataclasses.dataclass(frozen=True)
class PersonFacts:
    """What is known of an attacked person without any judge.

    Attributes:
      training_photographs: How many photographs of the person trained the target.
      iterations_to_90: Median number of updates until the target was 90% sure; None for never.
      iterations_to_99: The same for 99%.
    """

    training_photographs: int
    iterations_to_90: int | None
    iterations_to_99: int | None


@dataclasses.dataclass(frozen=True)
class AttackFacts:
    """How the clones were made; stored with them as JSON.

    Attributes:
      name: The recipe.
      arguments: The recipe's arguments by name.
      restarts: Clones of each person.
      random_seed: The experiment's.
      gradients_per_iteration: Gradient evaluations that an update takes.
      iterations: Updates of a restart, at most.
    """

    name: str
    arguments: Mapping[str, bool | int | float | str | None]
    restarts: int
    random_seed: int
    gradients_per_iteration: int
    iterations: int


@dataclasses.dataclass(frozen=True)
class Cost:
    """What the attack took, apart from time.

    Attributes:
      gradient_evaluations: Of all restarts of all people.
      gradient_evaluations_per_restart: Of one, on average.
      device: Kind of the device that evaluated the clones.
    """

    gradient_evaluations: int
    gradient_evaluations_per_restart: float
    device: str


@dataclasses.dataclass(frozen=True)
class DatasetFacts:
    """The faces.

    Attributes:
      name: The data set.
      credit: One line on where the photographs come from; empty where there is nothing to say.
      people: How many.
      photographs: How many of all of them.
      image_shape: Height, width and channels.
      auxiliary_people: How many train no recognizer and are the attacker's; None where the
        attacker's faces come from elsewhere (the attack's argument `auxiliary` says from where).
      auxiliary_photographs: How many photographs the attacker has.
    """

    name: str
    credit: str
    people: int
    photographs: int
    image_shape: tuple[int, ...]
    auxiliary_people: int | None
    auxiliary_photographs: int


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What the figures can be traced to.

    Attributes:
      versions: Of Python and of the packages on which results depend; of a judge that is a file,
        its digest.
      commit: Of the checkout; None outside of one.
      clean: Whether the checkout held nothing that is not committed; None outside of one.
      flags: The flags that say what was computed.
    """

    versions: Mapping[str, str]
    commit: str | None
    clean: bool | None
    flags: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Everything in `evaluation.json`.

    Attributes:
      judges: What each judge says, by name; the first leads the report.
      verdict: What it comes to for each attacked person, by name.
      conclusion: What it comes to over all of them.
      agreement: Every two judges, side by side.
      people: What is known of each attacked person without a judge, by name.
      recognizers: The recognizers by role, "target" first.
      attack: How the clones were made.
      diverged: Whether the attack's last loss is above its first, in the median over all restarts.
      cost: What that took.
      dataset: The faces.
      provenance: Versions, commit and flags.
    """

    judges: Mapping[str, Judgement]
    verdict: Mapping[str, Verdict]
    conclusion: Conclusion
    agreement: tuple[Agreement, ...]
    people: Mapping[str, PersonFacts]
    recognizers: Mapping[str, RecognizerFacts]
    attack: AttackFacts
    diverged: bool
    cost: Cost
    dataset: DatasetFacts
    provenance: Provenance
