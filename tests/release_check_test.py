"""Tests of the release check: what ends it, with which code, and where it is refused."""

import judged
import pytest
from absl import flags
from absl.testing import flagsaver

from experiments import panel, release_check
from mia_jax.evidence.embedders import Embedder
from mia_jax.runtime import records
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory

ALL = ["identified", "leak", "inconclusive"]


@pytest.fixture
def fail_on(request):
    flags.FLAGS.mark_as_parsed()
    with flagsaver.flagsaver(fail_on=request.param):
        yield


def evaluated(home, levels, overall=None):
    """A work directory with these verdicts by an independent judge."""
    people = {f"p{i}": judged.person(0.2, i + 1) for i in range(len(levels))}
    verdicts = {
        name: judged.verdict(level, 0.3) for name, level in zip(people, levels, strict=True)
    }
    workdir = WorkDirectory(home)
    found = judged.evaluation(
        judged.judgement(shares=(), people=people), verdict=verdicts, overall=overall
    )
    records.write(workdir.evaluation, found)
    return workdir


def test_by_default_all_findings_end_it():
    assert flags.FLAGS["fail_on"].default == ALL


@pytest.mark.parametrize(
    ("levels", "overall", "code", "words"),
    [
        (["identified", "not_shown"], None, 3, ["1 of 2 people is identified: p0."]),
        (
            ["narrowed_down", "not_shown"],
            None,
            4,
            ["leaks: 1 of 2 people is identified or narrowed down (p0)."],
        ),
        # The run that README showed: nobody alone, and exit code 0.
        (
            ["not_shown", "not_shown"],
            0.0167,
            4,
            ["leaks: over all 2 people at once clones and people belong together (p = 0.0167)."],
        ),
        (["inconclusive", "not_shown"], 0.4, 5, ["Inconclusive for 1 of 2 people (p0): no indep"]),
        (
            ["identified", "narrowed_down", "inconclusive"],
            0.001,
            3,
            [
                "1 of 3 people is identified: p0. The model leaks: ",
                "2 of 3 people are identified or narrowed down (p0 and p1).",
                "Inconclusive for 1 of 3 people (p2)",
            ],
        ),
        (["not_shown", "not_shown"], 0.3, None, []),
    ],
)
@pytest.mark.parametrize("fail_on", [ALL], indirect=True)
def test_each_finding_has_its_exit_code_and_its_sentence(
    tmp_path, capsys, fail_on, levels, overall, code, words
):
    workdir = evaluated(tmp_path, levels, overall)
    if code is None:
        release_check.end(workdir)
        return
    with pytest.raises(SystemExit) as ended:
        release_check.end(workdir)
    said = capsys.readouterr().err
    assert ended.value.code == code
    assert said.count("\n") == 1 and f"(exit code {code}, by --fail_on)" in said
    for each in words:
        assert each in said


@pytest.mark.parametrize(
    ("fail_on", "code"),
    [(["leak"], 4), (["inconclusive"], 5), (["inconclusive", "leak"], 4), ([], None)],
    indirect=["fail_on"],
)
def test_only_what_is_asked_for_ends_it_and_the_rest_is_said(tmp_path, caplog, fail_on, code):
    workdir = evaluated(tmp_path, ["identified", "inconclusive"])
    if code is None:
        release_check.end(workdir)
    else:
        with pytest.raises(SystemExit) as ended:
            release_check.end(workdir)
        assert ended.value.code == code
    assert "1 of 2 people is identified: p0 (--fail_on=identified would end with" in caplog.text


@pytest.mark.parametrize("fail_on", [["recognizable"], ["leak", "none"]], indirect=True)
def test_what_is_never_found_is_refused(fail_on):
    with pytest.raises(UserError, match="is nothing that is found: choose from identified, leak"):
        release_check.check_judges(panel.Wanted((Embedder("e", None),), ()))


@pytest.mark.parametrize("fail_on", [["identified"], ["identified", "leak"]], indirect=True)
def test_an_independent_judge_is_needed_where_nothing_else_fails(fail_on):
    release_check.check_judges(panel.Wanted((Embedder("e", None),), ()))
    with pytest.raises(UserError, match="needs a judge that shares nothing with the target"):
        release_check.check_judges(panel.Wanted((), ("evaluator",)))


@pytest.mark.parametrize("fail_on", [[], ALL, ["inconclusive"]], indirect=True)
def test_what_cannot_be_told_is_inconclusive_and_needs_no_refusal(fail_on):
    release_check.check_judges(panel.Wanted((), ("evaluator",)))
    release_check.check_power(10, 2, 7)


def test_the_power_is_named_before_anything_is_judged(caplog):
    """ "21 people and 7 restarts are enough" was said where half of all leaks are missed."""
    flags.FLAGS.mark_as_parsed()
    with caplog.at_level("INFO", logger="absl"):
        release_check.check_power(21, 20, 7)
    (said,) = caplog.messages
    assert said.startswith("With 7 restarts of 20 people, and 21 to choose among, a leak of one of")
    assert 0 < float(said.split()[-1]) < 0.8


@pytest.mark.parametrize("fail_on", [["identified"]], indirect=True)
def test_a_check_that_could_not_fail_is_refused(fail_on):
    release_check.check_power(40, 5, 7)
    with pytest.raises(UserError, match=r"--fail_on=identified cannot fail: too few people"):
        release_check.check_power(10, 2, 7)
