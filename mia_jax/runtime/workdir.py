"""The work directory: where everything of an experiment lies.

protocol.json                      who is who
target/, evaluator/, ...           a recognizer each:
  training/<step>/                   its state after the last round, until training is done
  checkpoint/                        its best weights
  metrics.csv, events.out.tfevents.* its training curves
  recognizer.json                    what it is; written last, so it says that training is done
target/                            one that was trained elsewhere instead:
  model.json, templates.npz          which file, how its pictures are prepared, whom it enrolled
  admission.json                     how well it knows the gallery's people
  recognizer.json                    what it is; written last
clones/<identity>.npz              the clones of one person
clones/parts/                      restarts of a person whose attack is not yet done
clones/stopped/                    what was found until a model that is asked failed to answer
clones/manifest.json               whose attack is done
evaluation.json, figures/, report.html
points.npz                         the points of faces that were aligned
asked.sqlite                       every answer of a target that may only be asked
asked.json                         how often it was asked
successful_attacks.json            of an embedder: how many clones systems accept as their person
likely.json                        which of the attacker's faces look like people under attack
beside.json                        whether it gives away less than the model of another one
game.json                          what the leakage game found
game/                              its worlds, a work directory each
calibration/                       shadow recognizers, and what candidates reach on them
compare/                           methods on the same people: clones and figures of each, the table
quiz/                              the study with observers, for its owner's eyes only:
  plan.json, pictures.npz            what observers are asked, made before the first answer
  secret, links.csv, admin_token     what links follow from, the links, the key to all answers
  answers.sqlite                     answers to the server
  static/, returned/                 the quiz as files, and those that came back
  panels/, panels.json, judges/      panels, what they are, and the sheets that judges filled in
  answers.json, answers.csv          all answers
  results.json, results.csv          what they come to
seconds.json                       how long each stage took
"""

import hashlib
import os
import pathlib
import re
import urllib.parse

from mia_jax.runtime.errors import UserError

# File systems take 255 bytes; what is added, such as -000000-000099.npz, must fit as well.
_LONGEST_NAME = 200
_TAKEN = ("clones", "figures", "game", "calibration", "compare", "quiz")


class WorkDirectory:
    """Paths within a work directory.

    Attributes:
      root: The directory itself.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        """Names a work directory, which need not exist yet."""
        self.root = pathlib.Path(root).absolute()

    @property
    def protocol(self) -> pathlib.Path:
        """Who is who."""
        return self.root / "protocol.json"

    def recognizer(self, role: str) -> pathlib.Path:
        """Everything of one recognizer: "target", or an evaluator by its name.

        Raises:
          UserError: If something else lies under that name.
        """
        if role in _TAKEN:
            raise UserError(
                f"a recognizer cannot be called {role!r}: that is the name of another directory "
                f"in {self.root}"
            )
        return self.root / file_name(role)

    @property
    def clones(self) -> pathlib.Path:
        """The clones of every person."""
        return self.root / "clones"

    def clones_of(self, identity: str) -> pathlib.Path:
        """The clones of one person."""
        return self.clones / f"{file_name(identity)}.npz"

    @property
    def parts(self) -> pathlib.Path:
        """Restarts of people whose attack is not yet done."""
        return self.clones / "parts"

    def part_of(self, identity: str, first: int, last: int) -> pathlib.Path:
        """Restarts `first` to `last` of one person, while others are still missing."""
        return self.parts / f"{file_name(identity)}-{first:06d}-{last:06d}.npz"

    def stopped_of(self, identity: str, first: int, last: int) -> pathlib.Path:
        """The same of a search that the model's answers ended, as far as it came."""
        part = self.part_of(identity, first, last)
        return self.clones / "stopped" / part.name

    @property
    def manifest(self) -> pathlib.Path:
        """Whose attack is done, and whose is not."""
        return self.clones / "manifest.json"

    @property
    def seconds(self) -> pathlib.Path:
        """How long each stage took, apart from the results, which do not depend on it."""
        return self.root / "seconds.json"

    @property
    def evaluation(self) -> pathlib.Path:
        """All figures of the evaluation."""
        return self.root / "evaluation.json"

    @property
    def successful_attacks(self) -> pathlib.Path:
        """How many clones an embedder, and others, accept as the person whose template it was."""
        return self.root / "successful_attacks.json"

    @property
    def points(self) -> pathlib.Path:
        """The points of faces that were aligned, so that each photograph is searched once."""
        return self.root / "points.npz"

    @property
    def answers(self) -> pathlib.Path:
        """What a target that may only be asked answered, and how often it was asked."""
        return self.root / "asked.sqlite"

    @property
    def asked(self) -> pathlib.Path:
        """How often it was asked, for the report."""
        return self.root / "asked.json"

    @property
    def beside(self) -> pathlib.Path:
        """Whether the target gives away less than that of another work directory."""
        return self.root / "beside.json"

    @property
    def likely(self) -> pathlib.Path:
        """The attacker's faces that judges take for people under attack."""
        return self.root / "likely.json"

    @property
    def admission(self) -> pathlib.Path:
        """How well a target from elsewhere knows the people of the gallery."""
        return self.recognizer("target") / "admission.json"

    @property
    def model(self) -> pathlib.Path:
        """Which model from elsewhere is the target."""
        return self.recognizer("target") / "model.json"

    @property
    def templates(self) -> pathlib.Path:
        """The templates of an embedder from elsewhere."""
        return self.recognizer("target") / "templates.npz"

    @property
    def game(self) -> pathlib.Path:
        """All figures of the leakage game."""
        return self.root / "game.json"

    @property
    def worlds(self) -> pathlib.Path:
        """The worlds in which the leakage game is played."""
        return self.root / "game"

    @property
    def calibration(self) -> pathlib.Path:
        """Everything of the calibration: a directory for each victim, and the tables."""
        return self.root / "calibration"

    @property
    def comparison(self) -> pathlib.Path:
        """Everything of the comparison of methods."""
        return self.root / "compare"

    @property
    def quiz(self) -> pathlib.Path:
        """Everything of the study with observers."""
        return self.root / "quiz"

    @property
    def quiz_results(self) -> pathlib.Path:
        """What observers' answers come to."""
        return self.quiz / "results.json"

    @property
    def figures(self) -> pathlib.Path:
        """The pictures."""
        return self.root / "figures"

    @property
    def report(self) -> pathlib.Path:
        """The report."""
        return self.root / "report.html"


def file_name(identity: str) -> str:
    """Turns a name into a safe file name of at most 200 characters; plain names stay as they are.

    Different names have different file names: what is too long ends in a hash of the whole, after
    a character that no other file name holds.
    """
    quoted = urllib.parse.quote(identity, safe=" ()+,=@[]{}'!#$&")
    if quoted.startswith("."):
        quoted = quoted.replace(".", "%2E")
    if len(quoted) <= _LONGEST_NAME:
        return quoted
    ending = "^" + hashlib.sha256(identity.encode()).hexdigest()[:32]
    start = quoted[: _LONGEST_NAME - len(ending)]
    return re.sub("%[0-9A-F]?$", "", start) + ending  # No half of an escaped character.
