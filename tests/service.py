"""A recognizer behind HTTP, on this machine only: what `docs/black_box.md` asks."""

import contextlib
import io
import pathlib
import re
import threading

import flask
import numpy as np
from werkzeug.serving import make_server

PAGE = pathlib.Path(__file__).parent.parent / "docs/black_box.md"


def client():
    """The function of the docs."""
    code = next(code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
                if "def ask" in code)  # fmt: skip
    names = {"np": np}
    exec(compile(code, "docs", "exec"), names)
    return names["ask"]


def app(recognize):
    """Serves `recognize(images) -> confidences`: NumPy's file format in, JSON out."""
    service = flask.Flask("recognizer")

    @service.post("/confidences")
    def confidences():
        images = np.load(io.BytesIO(flask.request.get_data()))
        return flask.jsonify(np.asarray(recognize(images)).tolist())

    return service


@contextlib.contextmanager
def serve(recognize):
    """Runs the service on a free port of the loopback interface; yields its address."""
    server = make_server("127.0.0.1", 0, app(recognize), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/confidences"
    finally:
        server.shutdown()
        thread.join()
