"""Serves a study: the address, the links, and the limits of the server."""

import ipaddress
import socket
import urllib.parse

import uvicorn
from absl import logging

from experiments.quiz_files import Opened
from mia_jax.runtime import storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study import server

_CONNECTIONS = 900  # At a time: a browser opens six, and many systems allow 1024 open files.
_HEAD = 16384  # Bytes of the head of a request, at most.


def serve(workdir: WorkDirectory, opened: Opened, host: str, port: int, url: str | None) -> None:
    """Asks observers until it is interrupted.

    Args:
      workdir: The work directory, where the links are written.
      opened: The study.
      host: Address to listen at.
      port: Port to listen at; 0 for any that is free.
      url: What links start with; by default the address and the port.

    Raises:
      UserError: If it is not possible to listen there, or nobody could follow the links.
    """
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise UserError(f"cannot listen at --host={host} --port={port}: {error.strerror}") from None
    host, port = listening.getsockname()
    if ipaddress.ip_address(host).is_unspecified and not url:
        raise UserError(f"--host={host} needs --url: what links shall start with")
    url = (url or f"http://{host}:{port}").rstrip("/")
    if not ipaddress.ip_address(host).is_loopback:
        logging.warning("Others can connect: put a proxy with TLS before the server")
    lines = [
        f"{number},{url}/o/{opened.words.observer(number)}\n"
        for number in opened.answers.observers()
    ]
    text = "".join(["observer,link\n", *lines])
    storage.write_bytes(workdir.quiz / "links.csv", text.encode())
    storage.write_bytes(workdir.quiz / "admin_token", f"{opened.words.admin()}\n".encode())
    split = urllib.parse.urlsplit(url)
    hosts = sorted({host, "localhost", split.hostname or host})
    app = server.make_app(
        *(opened.plan, opened.images, opened.answers, opened.words, hosts), root=split.path
    )
    logging.info("Serving at %s; the links are in %s", url, workdir.quiz / "links.csv")
    config = uvicorn.Config(
        app,
        access_log=False,
        h11_max_incomplete_event_size=_HEAD,
        http="h11",
        lifespan="off",
        limit_concurrency=_CONNECTIONS,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
