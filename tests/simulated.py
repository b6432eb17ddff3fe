"""Studies of made-up pictures, and simulated observers who answer them."""

import contextlib
import html.parser
import http.client
import re
import threading
import urllib.parse

import numpy as np
import uvicorn

from mia_jax.evidence import study
from mia_jax.study import design, links, server, store

PEOPLE = ("ann", "bob", "zoë")


def stimuli(people=PEOPLE, clones=1, channels=1):
    rng = np.random.default_rng(0)

    def some(*shape):
        return rng.random((*shape, 16, 16, channels))

    count = len(people)
    return design.Stimuli(
        people, some(count), some(count), some(count, clones), some(count), some()
    )


def plan(**options):
    return design.make_plan(stimuli(**options), 1, "the owner", "Drawn by chance", simulated=True)


def right(step):
    """What an observer answers who sees everything: the person, or 100."""
    if step.item is None:
        return step.choices[0]
    if step.quiz == study.SIMILARITY:
        own = step.item.kind in (study.CLONE, study.PHOTOGRAPH, study.CHECK)
        return "100" if own else "0"
    if step.item.person is None:
        return design.CANNOT_TELL
    return str(step.named.index(step.item.person))


class Form(html.parser.HTMLParser):
    """The form of a page: hidden fields, the answers that can be chosen, and the pictures."""

    def __init__(self, text):
        super().__init__()
        self.hidden, self.choices, self.pictures = {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag == "input" and found["type"] == "hidden":
            self.hidden[found["name"]] = found["value"]
        elif tag == "input":
            self.choices.append(found["value"])
        elif tag == "img":
            self.pictures.append(found["src"])


class Client:
    """A simulated observer with a connection, and no browser."""

    def __init__(self, address, link):
        self.connection = http.client.HTTPConnection(address, timeout=60)
        self.link = link

    def ask(self, method, path, body, headers):
        """Asks, and once more where the connection was idle too long, as browsers do."""
        for last in (False, True):
            try:
                self.connection.request(method, path or f"/o/{self.link}", body, headers)
                response = self.connection.getresponse()
                return response.status, response.read()
            except (ConnectionError, http.client.HTTPException):
                self.connection.close()
                if last:
                    raise

    def get(self, path=None, **headers):
        return self.ask("GET", path, None, headers)

    def post(self, fields, path=None, **headers):
        body = urllib.parse.urlencode(fields)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.ask("POST", path, body, {**kind, **headers})

    def form(self):
        status, page = self.get()
        assert status == 200, page
        return Form(page.decode())

    def answer(self, choose):
        """Answers the step that is due; returns which it was, or None at the end."""
        form = self.form()
        if not form.choices:
            return None
        step = int(form.hidden["step"])
        status, page = self.post({**form.hidden, "answer": choose(step, form)})
        assert status == 303, (status, page)
        return step


@contextlib.contextmanager
def serving(made, images, path, observers=3, root=""):
    """A server of a study on loopback, in a thread: its address, its words and its answers."""
    answers = store.Store(path, design.digest(made))
    answers.invite(observers)
    words = links.Links(b"s" * links.SECRET_BYTES)
    app = server.make_app(made, images, answers, words, ["127.0.0.1"], answers.delete, root)
    config = uvicorn.Config(
        app, port=0, access_log=False, log_config=None, lifespan="off", server_header=False
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started:
            thread.join(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}", words, answers
    finally:
        running.should_exit = True
        thread.join()
        answers.close()


def lines_without_words(page):
    """A page without what differs between any two: links, names of pictures and proofs."""
    return re.sub(rb"[\w-]{24}", b"*", page)
