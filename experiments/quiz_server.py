"""Serves a study: the address, the links, and the limits of the server.

A connection that asks for nothing ends after a while, and one address has a part of all
connections, so that nobody keeps observers away by opening many. A study that is open to the
public stands behind a proxy all the same.
"""

import asyncio
import collections
import functools
import ipaddress
import socket
import urllib.parse
from collections.abc import Sequence

import h11
import uvicorn
from absl import logging
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from experiments import quiz_files
from experiments.quiz_files import Opened
from mia_jax.runtime import storage
from mia_jax.runtime.errors import UserError
from mia_jax.runtime.workdir import WorkDirectory
from mia_jax.study import server

_CONNECTIONS = 900  # At a time: a browser opens six, and many systems allow 1024 open files.
_OF_ADDRESS = 100  # Of these from one address, where no proxy stands before the server.
_HEAD = 16384  # Bytes of the head of a request, at most.
_PATIENCE = 10.0  # Seconds in which the head of a request has to arrive.


def impatient(most: int | None, patience: float = _PATIENCE) -> type[H11Protocol]:
    """Makes a protocol that ends connections which keep the server waiting for a request.

    Args:
      most: Connections of one address; None for any number.
      patience: Seconds in which the head of a request has to arrive.

    Returns:
      The protocol, which counts the connections of one server.
    """
    taken: collections.Counter[str] = collections.Counter()

    class Impatient(H11Protocol):
        """Ends what is half-open."""

        deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            taken[self._address()] += 1
            if most is not None and taken[self._address()] > most:
                self.transport.abort()
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.conn.their_state is h11.IDLE:
                self._wait()
            elif self.deadline:
                self.deadline.cancel()
                self.deadline = None

        def connection_lost(self, exc: Exception | None) -> None:
            taken[self._address()] -= 1
            if not taken[self._address()]:
                del taken[self._address()]
            if self.deadline:
                self.deadline.cancel()
            super().connection_lost(exc)

        def _address(self) -> str:
            return self.client[0] if self.client else ""

        def _wait(self) -> None:
            """Ends the connection unless the whole head of a request comes in time."""
            if self.deadline is None:
                self.deadline = self.loop.call_later(patience, self.transport.abort)

    return Impatient


def application(
    workdir: WorkDirectory, opened: Opened, hosts: Sequence[str], root: str = ""
) -> Starlette:
    """Makes the application of a study.

    Args:
      workdir: The work directory, in which an observer's answers may be in several files.
      opened: The study.
      hosts: Names by which the server may be called.
      root: The path below which a proxy puts it; see `server.make_app`.

    Returns:
      An ASGI application.
    """
    forget = functools.partial(quiz_files.forget, workdir, opened)
    return server.make_app(
        *(opened.plan, opened.images, opened.answers, opened.words, hosts, forget), root=root
    )


def listen(host: str, port: int, url: str | None) -> socket.socket:
    """Begins to listen, before a study is made.

    Args:
      host: Address to listen at.
      port: Port to listen at; 0 for any that is free.
      url: What links start with; by default the address and the port.

    Returns:
      The socket.

    Raises:
      UserError: If it is not possible to listen there, or nobody could follow the links.
    """
    try:
        listening = socket.create_server((host, port))
    except OSError as error:
        raise UserError(f"cannot listen at --host={host} --port={port}: {error.strerror}") from None
    host, _ = listening.getsockname()
    if ipaddress.ip_address(host).is_unspecified and not url:
        listening.close()
        raise UserError(f"--host={host} needs --url: what links shall start with")
    return listening


def serve(
    workdir: WorkDirectory, opened: Opened, listening: socket.socket, url: str | None
) -> None:
    """Asks observers until it is interrupted.

    Args:
      workdir: The work directory, where the links are written.
      opened: The study.
      listening: From `listen`.
      url: What links start with; by default the address and the port.
    """
    host, port = listening.getsockname()
    proxied = url is not None  # Then all observers have the proxy's address.
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
    app = application(workdir, opened, hosts, split.path)
    logging.info("Serving at %s; the links are in %s", url, workdir.quiz / "links.csv")
    config = uvicorn.Config(
        app,
        access_log=False,
        h11_max_incomplete_event_size=_HEAD,
        http=impatient(None if proxied else _OF_ADDRESS),
        lifespan="off",
        limit_concurrency=_CONNECTIONS,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
