"""Tests of the server, over real connections on loopback: what it asks, keeps, and refuses."""

import concurrent.futures
import http.client
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request

import proxy
import pytest
import simulated

from mia_jax.evidence.study import Answers
from mia_jax.runtime import records
from mia_jax.study import design, links, server, store

ROOT = pathlib.Path(__file__).parent.parent
PLAN, IMAGES = simulated.plan()
STEPS = len(design.steps(PLAN, 1))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    path = tmp_path_factory.mktemp("quiz") / "answers.sqlite"
    with simulated.serving(PLAN, IMAGES, path, observers=12) as found:
        yield found


def client(served, number):
    address, words, _ = served
    return simulated.Client(address, words.observer(number))


def answer_all(observer, number, until=STEPS):
    steps = design.steps(PLAN, number)
    while (place := observer.answer(lambda step, _: simulated.right(steps[step]))) is not None:
        if place + 1 == until:
            break


def begin(observer):
    """Agrees, and answers the practice."""
    observer.answer(lambda *_: design.AGREED)
    observer.answer(lambda *_: "0")


def test_a_whole_quiz(served):
    observer = client(served, 1)
    answer_all(observer, 1)
    status, page = observer.get()
    assert status == 200 and b"Thank you" in page and b"Drawn by chance" in page
    given = served[2].answers()[1]
    assert given == [simulated.right(step) for step in design.steps(PLAN, 1)]
    # After the end a form leads nowhere, and no picture is shown any more.
    name = served[1].picture(1, STEPS - 1, 0)
    assert observer.get(f"/o/{observer.link}/{name}.png")[0] == 404


def test_pages_and_pictures_tell_nothing(served):
    observer = client(served, 2)
    sizes, words = set(), re.compile(rb"ann|bob|zo\xc3\xab|clone|seed|mean|attention|held", re.I)
    while (form := observer.form()).choices:
        _, page = observer.get()
        step = design.steps(PLAN, 2)[int(form.hidden["step"])]
        if step.item:
            assert not words.search(simulated.lines_without_words(page)), page
            assert step.name.encode() not in page
        for source in form.pictures:
            status, picture = observer.get(source)
            assert status == 200
            sizes.add(len(picture))
            assert re.fullmatch(rf"/o/{observer.link}/[\w-]{{24}}\.png", source)
        observer.answer(lambda step, form: form.choices[-1])
    assert len(sizes) == 1


def test_the_page_does_not_depend_on_which_answer_is_right(served):
    pages = set()
    for number in (3, 4):
        observer = client(served, number)
        begin(observer)
        pages.add(simulated.lines_without_words(observer.get()[1]))
    assert len(pages) == 1  # Two observers' first items are of different people and kinds.
    first = [design.steps(PLAN, number)[2] for number in (3, 4)]
    assert first[0].item != first[1].item


@pytest.mark.parametrize(
    "link", ["", "x" * 24, "../admin/answers.json", "%00", links.Links(b"other" * 8).observer(1)]
)
def test_a_wrong_link_opens_nothing(served, link):
    status, page = simulated.Client(served[0], link).get()
    assert status == 404
    assert b"img" not in page and b"form" not in page


def test_a_foreign_or_forged_form_is_refused(served):
    mine, other = client(served, 5), client(served, 6)
    begin(mine)
    begin(other)
    form, foreign = mine.form().hidden, other.form().hidden
    for fields, status in (
        ({**foreign, "answer": "0"}, 403),
        ({**form, "form": "x" * 24, "answer": "0"}, 403),
        ({**form, "step": "3", "answer": "0"}, 403),
        ({**form, "step": "99999999999", "answer": "0"}, 403),
        ({**form, "step": "-1", "answer": "0"}, 403),
        ({**form, "answer": "7"}, 400),
        ({**form, "answer": "ann"}, 400),
        ({**form, "answer": ""}, 400),
        (form, 400),
        ({**form, "answer": "0", "extra": "1"}, 400),
        ([*form.items(), ("answer", "0"), ("answer", "1")], 400),
        ({**form, "answer": "0" * 5000}, 413),
    ):
        assert mine.post(fields)[0] == status, fields
        mine.connection.close()
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert mine.post({**form, "answer": "0"}, **cross)[0] == 403
    assert mine.post({**form, "answer": "0"}, **{"Content-Type": "text/plain"})[0] == 415
    assert served[2].answered(5) == served[2].answered(6) == 2


def test_a_replayed_form_counts_once_and_contradicts_nothing(served):
    observer = client(served, 7)
    begin(observer)
    form = observer.form().hidden
    statuses = [observer.post({**form, "answer": answer})[0] for answer in ("0", "0", "1")]
    assert statuses == [303, 303, 409]
    assert served[2].answers()[7] == [design.AGREED, "0", "0"]


def test_nobody_sees_anothers_pictures_or_later_ones(served):
    mine, other = client(served, 8), client(served, 9)
    names = other.form().pictures
    assert not names  # Photographs are shown to nobody who has not agreed.
    begin(other)
    source = other.form().pictures[0]
    name = source.rsplit("/", 1)[1]
    assert other.get(source)[0] == 200
    assert mine.get(f"/o/{mine.link}/{name}")[0] == 404
    later = served[1].picture(9, 5, 0)
    assert other.get(f"/o/{other.link}/{later}.png")[0] == 404


def test_answers_are_for_who_holds_the_token(served, tmp_path):
    address, words, _ = served
    stranger = simulated.Client(address, words.observer(1))
    path = "/admin/answers.json"
    for headers in ({}, {"Authorization": f"Bearer {words.observer(1)}"}, {"Authorization": "é"}):
        assert stranger.get(path, **headers)[0] == 404
    status, text = stranger.get(path, Authorization=f"Bearer {words.admin()}")
    assert status == 200
    file = tmp_path / "export.json"
    file.write_bytes(text)
    found = records.read(file, Answers)
    assert {row.observer for row in found.recognition} >= {1, 2}
    assert found.simulated


def test_wrong_tokens_do_not_keep_the_owner_from_the_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(server, "_REQUESTS", 20)
    with simulated.serving(PLAN, IMAGES, tmp_path / "answers.sqlite") as (address, words, _):
        stranger = simulated.Client(address, words.observer(1))
        path, own = "/admin/answers.json", {"Authorization": f"Bearer {words.admin()}"}
        # More than two minutes allow, in case one begins meanwhile.
        statuses = [stranger.get(path, Authorization="Bearer x")[0] for _ in range(50)]
        assert statuses[0] == 404 and 429 in statuses
        assert stranger.get(path, **own)[0] == 200


def test_deleting_takes_a_form_of_ones_own_and_ends_the_link(served):
    observer = client(served, 10)
    begin(observer)
    path = f"/o/{observer.link}/delete"
    assert b"will be deleted" in observer.get(path)[1]
    assert observer.post({"form": observer.form().hidden["form"]}, path)[0] == 403
    form = simulated.Form(observer.get(path)[1].decode()).hidden
    status, page = observer.post(form, path)
    assert status == 200 and b"deleted for good" in page
    assert 10 not in served[2].answers()
    assert observer.get()[0] == 410
    assert observer.post({"step": "0", "form": "", "answer": design.AGREED})[0] == 410


def test_headers_let_a_browser_do_little(served):
    observer = client(served, 11)
    for path in (None, "/style.css", "/nowhere"):
        observer.connection.request("GET", path or f"/o/{observer.link}")
        response = observer.connection.getresponse()
        response.read()
        headers = response.headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'") and "script-src" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert not {"Set-Cookie", "Server", "ETag", "Last-Modified"} & {*headers}


def test_another_name_of_the_server_is_refused(served):
    assert client(served, 11).get(Host="evil.example")[0] == 400


def test_one_link_may_not_ask_for_more_than_anybody_needs(tmp_path):
    with simulated.serving(PLAN, IMAGES, tmp_path / "answers.sqlite") as (address, words, _):
        one = simulated.Client(address, words.observer(1))
        statuses = [one.get("/o/wrong")[0] for _ in range(950)]
        assert statuses[0] == 404 and statuses[-1] == 429
        assert one.get()[0] == 200  # Who has a link is not in the way of who has none.


def browse(base, link, fields=None):
    """Follows a link of a page, or sends its form, as a browser does; returns address and text."""
    data = None if fields is None else urllib.parse.urlencode(fields).encode()
    with urllib.request.urlopen(urllib.parse.urljoin(base, link), data, timeout=60) as reply:
        return reply.url, reply.read().decode("latin-1")


@pytest.mark.parametrize("strip", [True, False])
def test_behind_a_path_every_link_of_every_page_leads_somewhere(tmp_path, strip):
    """The proxy takes the path off a request, or leaves it there."""
    file = tmp_path / "answers.sqlite"
    with (
        simulated.serving(PLAN, IMAGES, file, root="/quiz") as (address, words, answers),
        proxy.below("/quiz", address, strip) as outside,
    ):
        start = f"http://{outside}/quiz/o/{words.observer(1)}"
        where, page = browse(start, "")
        for step in design.steps(PLAN, 1)[:3]:
            assert where == start
            for link in re.findall(r'(?:href|src)="([^"]+)"', page):
                browse(where, link)  # A page that is not there raises.
            (action,) = re.findall(r'action="([^"]+)"', page)
            fields = {**simulated.Form(page).hidden, "answer": step.choices[0]}
            where, page = browse(where, action, fields)
        assert len(answers.answers()[1]) == 3
        (deletion,) = re.findall(r'href="([^"]+delete)"', page)
        where, page = browse(where, deletion)
        (back,) = re.findall(r'href="([^"]+)">Go on', page)
        assert browse(where, back)[0] == start
        (action,) = re.findall(r'action="([^"]+)"', page)
        where, page = browse(where, action, simulated.Form(page).hidden)
        assert "deleted for good" in page
        for link in re.findall(r'href="([^"]+)"', page):
            browse(where, link)


def test_two_hundred_observers_at_once_nothing_lost_nothing_twice(tmp_path, capsys):
    """Each answers all of part 1, comes back now and then, and sends every third form twice."""
    plan, images = simulated.plan(people=simulated.PEOPLE[:2])
    most = [step.quiz for step in design.steps(plan, 1)].index("similarity")
    count, workers = 200, 8
    with simulated.serving(plan, images, tmp_path / "answers.sqlite", count) as served:
        answers = served[2]

        def take(numbers):
            """Several observers in turn, step by step, so that all are under way at once."""
            waiting = [(design.steps(plan, number), client(served, number)) for number in numbers]
            for _ in range(most):
                for steps, observer in waiting:
                    form = observer.form().hidden
                    place = int(form["step"])
                    fields = {**form, "answer": simulated.right(steps[place])}
                    for _ in range(1 + (place % 3 == 0)):
                        status, page = observer.post(fields)
                        assert status == 303, page
                    if place % 10 == 0:
                        observer.connection.close()

        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            groups = [range(1 + worker, count + 1, workers) for worker in range(workers)]
            list(pool.map(take, groups))
        seconds = time.perf_counter() - started
        given = answers.answers()
    assert given == {
        number: [simulated.right(step) for step in design.steps(plan, number)[:most]]
        for number in range(1, count + 1)
    }
    with capsys.disabled():
        kept = count * most
        print(f"\n{count} simulated observers, {kept} answers, {kept / seconds:.0f} a second")


SERVER = """
import pathlib, sys
sys.path[:0] = sys.argv[2:]
import simulated
plan, images = simulated.plan()
with simulated.serving(plan, images, pathlib.Path(sys.argv[1]), 4) as (address, _, _):
    print(address, flush=True)
    sys.stdin.read()
"""


def test_a_killed_server_loses_nothing_that_it_said_it_had(tmp_path, capsys):
    """A process of its own is killed while four simulated observers answer as fast as they can."""
    file = tmp_path / "answers.sqlite"
    paths = [str(ROOT), str(ROOT / "tests")]
    words = links.Links(b"s" * links.SECRET_BYTES)
    steps = {number: design.steps(PLAN, number) for number in range(1, 5)}
    said = dict.fromkeys(steps, 0)
    ahead = 0
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(file), *paths],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        address = process.stdout.readline().strip()

        def take(number, address=address):
            """Answers until the server is gone; returns at which step the observer began."""
            observer = simulated.Client(address, words.observer(number))
            begun = None
            try:
                while said[number] < STEPS:
                    form = observer.form().hidden
                    place = int(form["step"])
                    begun = place if begun is None else begun
                    answer = simulated.right(steps[number][place])
                    assert observer.post({**form, "answer": answer})[0] == 303
                    said[number] = place + 1
                    time.sleep(0.01)
            except (OSError, http.client.HTTPException):
                pass
            return begun

        before = dict(said)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            running = {number: pool.submit(take, number) for number in steps}
            while sum(said.values()) < sum(before.values()) + 50:
                time.sleep(0.001)
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        for number, each in running.items():
            # An answer may have been kept whose receipt was lost, and never more than that one.
            assert each.result() - before[number] in (0, 1)
            ahead += each.result() - before[number]
    kept = store.Store(file, design.digest(PLAN))
    for number, answers in kept.answers().items():
        assert answers == [simulated.right(step) for step in steps[number][: len(answers)]]
        assert len(answers) - said[number] in (0, 1)
    kept.close()
    with capsys.disabled():
        print(f"\nkilled twice: {sum(said.values())} answers said to be kept are, {ahead} more")
