"""The binary of the study, and its files: what is made once, kept apart, refused, and counted."""

import contextlib
import csv
import http.client
import json
import os
import signal
import socket
import threading
import time

import binaries
import numpy as np
import observers_test
import pytest
import simulated
import uvicorn
from starlette.testclient import TestClient

from experiments import panel_files, quiz_files, quiz_server, quiz_tables
from experiments.quiz_files import Wanted
from mia_jax.evidence import observers, study
from mia_jax.evidence.study import Answers
from mia_jax.runtime import records, storage
from mia_jax.runtime.errors import MissingError, UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study import design, panels

WANTED = Wanted(people=3, clones=1, contact="", simulated=True)


@pytest.fixture
def workdir(tmp_path):
    """A work directory with a study of made-up pictures, and nothing else."""
    made = WorkDirectory(tmp_path)
    quiz_files.begin(made, WANTED, [], lambda: (simulated.stimuli(), ""))
    return made


def opened(workdir, observers=3):
    found = quiz_files.open_study(workdir)
    found.answers.invite(observers)
    return found


def whole(plan, number):
    return [simulated.right(step) for step in design.steps(plan, number)]


def sheet_of(found, number):
    plan = design.digest(found.plan)
    answers = whole(found.plan, number)
    return {"schema": 1, "plan": plan, "observer": found.words.observer(number), "answers": answers}


def test_a_plan_is_made_once_and_only_its_owner_reads_it(workdir):
    before = {path.name: path.read_bytes() for path in workdir.quiz.iterdir()}
    quiz_files.begin(workdir, WANTED, ["people"], pytest.fail)
    assert before == {path.name: path.read_bytes() for path in workdir.quiz.iterdir()}
    assert workdir.quiz.stat().st_mode & 0o777 == 0o700
    with pytest.raises(UserError, match=r"--people=4 contradicts .*plan.json, .* made with 3"):
        quiz_files.begin(workdir, Wanted(4, 2, "", True), ["people"], pytest.fail)


def test_a_study_that_others_could_read_is_tightened_when_it_is_opened(workdir):
    opened(workdir).answers.close()
    (workdir.quiz / "returned").mkdir()
    for path in (workdir.quiz, *workdir.quiz.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    opened(workdir)
    for path in (workdir.quiz, *workdir.quiz.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path
    assert {"secret", "answers.sqlite"} <= {path.name for path in workdir.quiz.iterdir()}


@pytest.mark.parametrize("secret", [b"", b"known", None])
def test_a_secret_that_is_none_opens_no_study(workdir, secret):
    """Links that follow from it could be guessed; a pipe would never end."""
    (workdir.quiz / "secret").unlink()
    if secret is None:
        os.mkfifo(workdir.quiz / "secret")
    else:
        (workdir.quiz / "secret").write_bytes(secret)
    with pytest.raises(UserError, match="quiz/secret is no secret of 32 bytes"):
        opened(workdir)


@pytest.mark.parametrize("content", [b"{", b"[" * 100000, b"\xff", None], ids=str)
def test_deleting_on_the_page_does_all_that_forgetting_does(workdir, content):
    """And a file that came back damaged, or a pipe, is not in the way."""
    found = opened(workdir)
    returned = workdir.quiz / "returned"
    storage.write_json(returned / "theirs.json", sheet_of(found, 2))
    storage.write_json(returned / "other.json", sheet_of(found, 3))
    quiz_tables.write_answers(workdir, quiz_files.all_answers(workdir, found))
    if content is None:
        os.mkfifo(returned / "a.json")
    else:
        (returned / "a.json").write_bytes(content[:2000000])
    client = TestClient(quiz_server.application(workdir, found, ["testserver"]))
    path = f"/o/{found.words.observer(2)}/delete"
    form = simulated.Form(client.get(path).text).hidden
    assert client.post(path, data=form).status_code == 200
    assert {each.name for each in returned.iterdir()} == {"a.json", "other.json"}
    assert not {"answers.json", "answers.csv"} & {each.name for each in workdir.quiz.iterdir()}
    assert found.answers.deleted() == {2}


@contextlib.contextmanager
def waiting_for_heads(most, patience):
    """A server that says yes, in a thread: its port."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"yes"})

    config = uvicorn.Config(
        *(app, "127.0.0.1", 0),
        http=quiz_server.impatient(most, patience),
        log_config=None,
        lifespan="off",
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        thread.join(0.01)
    try:
        yield running.servers[0].sockets[0].getsockname()[1]
    finally:
        running.should_exit = True
        thread.join()


def asked(port, address):
    client = http.client.HTTPConnection("127.0.0.1", port, 30, source_address=(address, 0))
    client.request("GET", "/")
    answer = client.getresponse().read()
    client.close()
    return answer


def test_half_open_heads_keep_nobody_away():
    """Those of one address are few, and each ends by itself, whether it sent nothing or a part."""
    with waiting_for_heads(5, 1.0) as port, contextlib.ExitStack() as stack:
        halves = []
        for number in range(30):
            half = stack.enter_context(socket.create_connection(("127.0.0.1", port), 30))
            halves.append(half)
            with contextlib.suppress(ConnectionError):
                half.sendall(b"GET / HTTP/1.1\r\nHost: a" if number % 2 else b"")
        assert asked(port, "127.0.0.2") == b"yes"
        for half in halves:
            with contextlib.suppress(ConnectionError):
                assert half.recv(1) == b""
        assert asked(port, "127.0.0.1") == b"yes"


def test_one_who_is_slow_between_requests_is_not_cut_off():
    with waiting_for_heads(5, 1.0) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, 30)
        for _ in range(3):
            client.request("GET", "/")
            assert client.getresponse().read() == b"yes"
            time.sleep(0.6)
        client.close()


def test_a_work_directory_without_a_study_is_named(tmp_path):
    with pytest.raises(MissingError, match="holds no study yet"):
        quiz_files.open_study(WorkDirectory(tmp_path))


def test_two_studies_have_other_orders_and_other_links(workdir, tmp_path):
    other = WorkDirectory(tmp_path / "other")
    quiz_files.begin(other, WANTED, [], lambda: (simulated.stimuli(), ""))
    one, two = opened(workdir), opened(other)
    assert one.words.observer(1) != two.words.observer(1)
    assert one.plan.order != two.plan.order


def test_answers_of_the_server_and_of_files_are_counted_together_and_none_twice(workdir):
    found = opened(workdir)
    for step, answer in enumerate(whole(found.plan, 1)):
        found.answers.add(1, step, answer)
    storage.write_json(workdir.quiz / "returned" / "a.json", sheet_of(found, 2))
    answers = quiz_files.all_answers(workdir, found)
    assert {row.observer for row in answers.rows} == {1, 2}
    storage.write_json(workdir.quiz / "returned" / "b.json", sheet_of(found, 1))
    with pytest.raises(UserError, match="observer 1 answered to the server, and in a file"):
        quiz_files.all_answers(workdir, found)
    found.answers.delete(1)
    with pytest.raises(UserError, match=r"b.json is of nobody who was invited"):
        quiz_files.all_answers(workdir, found)


def test_a_forgotten_observer_is_in_no_file(workdir):
    found = opened(workdir)
    found.answers.add(1, 0, design.AGREED)
    for number in (2, 3):
        storage.write_json(workdir.quiz / "returned" / f"{number}.json", sheet_of(found, number))
    quiz_tables.write_answers(workdir, quiz_files.all_answers(workdir, found))
    quiz_files.forget(workdir, found, 2)
    assert [path.name for path in (workdir.quiz / "returned").iterdir()] == ["3.json"]
    assert not (workdir.quiz / "answers.json").exists()
    assert not (workdir.quiz / "answers.csv").exists()
    assert {row.observer for row in quiz_files.all_answers(workdir, found).rows} == {3}


def test_tables_say_what_the_records_do(workdir):
    answers = observers_test.by_hand()
    quiz_tables.write_answers(workdir, answers)
    assert records.read(workdir.quiz / "answers.json", Answers) == answers
    with (workdir.quiz / "answers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(answers.rows)
    assert rows[0] == {
        "simulated": "False",
        "quiz": "recognition",
        "observer": "1",
        "item": "r1",
        "kind": "clone",
        "person": "ann",
        "named": "ann",
        "similarity": "",
    }
    quiz_tables.write_results(workdir, observers.score(answers, 0))
    with (workdir.quiz / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["quiz"], row["person"]) for row in rows] == [
        (quiz, person) for quiz in study.QUIZZES for person in ("all", "ann", "bob")
    ]
    assert float(rows[0]["clones"]) == 0.75
    assert float(rows[3]["others"]) == pytest.approx(0.3)


def test_sheets_of_judges_are_scored_by_their_names(workdir):
    rng = np.random.default_rng(0)
    faces = {
        name: panels.Faces(
            rng.random((2, 8, 8, 1)), rng.random((4, 8, 8, 1)), rng.random((2, 8, 8, 1))
        )
        for name in ("ann", "bob")
    }
    panel_files.write(workdir, panels.draw_all(faces, 0))
    home = workdir.quiz
    lines = (home / "panels" / "sheet.jsonl").read_text().splitlines()
    key = records.read(home / "panels.json", panel_files.Key).panels
    assert {json.loads(line)["panel"] for line in lines} == {*key}
    assert {path.stem for path in (home / "panels").glob("*.png")} == {*key}
    kinds = ("clone", "same person", "different person")
    assert not any(kind in line for kind in kinds for line in lines)
    assert panel_files.judged(workdir, 0) == {}
    filled = [{**json.loads(line), "answer": "Yes."} for line in lines]
    text = "\n".join(json.dumps(line) for line in filled)
    storage.write_bytes(home / "judges" / "a model.jsonl", text.encode())
    assert panel_files.judged(workdir, 0)["a model"].said.value == 1
    panel_files.write(workdir, panels.draw_all(faces, 0))
    with pytest.raises(UserError, match="answers other panels"):
        panel_files.write(workdir, panels.draw_all(faces, 1))
    storage.write_bytes(home / "judges" / "a model.jsonl", b"yes\n")
    with pytest.raises(UserError, match=r"a model.jsonl: Expecting value"):
        panel_files.judged(workdir, 0)


def serve(workdir, *flags):
    """Starts the server as a user does; returns the process once it listens."""
    process = binaries.Running("quiz", "serve", f"--workdir={workdir.root}", "--port=0", *flags)
    process.wait_for("Serving at http://127.0.0.1:")
    return process


def links_of(workdir):
    with (workdir.quiz / "links.csv").open() as file:
        return {int(row["observer"]): row["link"] for row in csv.DictReader(file)}


def client(link):
    _, _, address, _, word = link.split("/")
    return simulated.Client(address, word)


def test_the_same_command_goes_on_after_a_kill_and_score_counts_what_was_answered(workdir):
    process = serve(workdir, "--observers=2")
    links = links_of(workdir)
    assert sorted(links) == [1, 2]
    plan = quiz_files.open_study(workdir).plan
    steps = design.steps(plan, 1)
    for place in range(10):
        assert client(links[1]).answer(lambda step, _: simulated.right(steps[step])) == place
    process.kill()
    process.end()
    process = serve(workdir)
    again = links_of(workdir)
    assert len(again) == 60 and again[1].rsplit("/", 1)[1] == links[1].rsplit("/", 1)[1]
    one = client(again[1])
    while one.answer(lambda step, _: simulated.right(steps[step])) is not None:
        pass
    process.signal(signal.SIGTERM)
    ended = process.end(60)
    said = ended.stderr
    assert ended.returncode == 130 and "Traceback" not in said
    assert not any(word in said for word in ("GET", "POST", links[1].rsplit("/", 1)[1]))
    result = binaries.succeed("quiz", "score", f"--workdir={workdir.root}")
    assert "1 simulated observer began" in result.stderr
    found = records.read(workdir.quiz_results, study.Study)
    assert found.simulated and found.recognition.overall.clones.value == 1


@pytest.mark.parametrize(
    ("host", "words"),
    [("0.0.0.0", "--host=0.0.0.0 needs --url"), ("192.0.2.1", "cannot listen at --host=192.0.2.1")],
)
def test_a_server_that_nobody_could_reach_is_refused(host, words):
    with pytest.raises(UserError, match=words):
        quiz_server.listen(host, 0, None)


@pytest.mark.parametrize(
    ("url", "root"), [("https://a.example/quiz/", "/quiz"), ("https://a.example/", ""), (None, "")]
)
def test_the_path_of_the_url_is_that_of_every_page(workdir, monkeypatch, url, root):
    """`tests/server_test.py` goes through a proxy; here, what the flag says reaches the server."""
    seen, make = {}, quiz_server.server.make_app
    monkeypatch.setattr(
        quiz_server.server,
        "make_app",
        lambda *given, **more: seen.update(more) or make(*given, **more),
    )
    monkeypatch.setattr(quiz_server.uvicorn.Server, "run", lambda *_, **__: None)
    listening = quiz_server.listen("127.0.0.1", 0, url)
    quiz_server.serve(workdir, opened(workdir), listening, url)
    assert seen == {"root": root}
    for link in links_of(workdir).values():
        assert link.startswith(url.rstrip("/") + "/o/" if url else "http://127.0.0.1:")


def test_a_file_of_answers_is_scored_alone(tmp_path):
    records.write(tmp_path / "answers.json", observers_test.by_hand())
    flags = (f"--workdir={tmp_path}", f"--answers={tmp_path / 'answers.json'}")
    binaries.succeed("quiz", "score", *flags)
    found = records.read(tmp_path / "quiz" / "results.json", study.Study)
    assert found == observers.score(observers_test.by_hand(), 0)
