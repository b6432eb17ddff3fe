"""The quiz over HTTP: one page at a time, and no way to a page, picture or answer but one's own.

An observer's link is all that opens anything, and it opens one step at a time: the pictures of that
step, and a form for it. Nothing is kept but answers: no cookie, no address, no time. There is no
script in any page, and a browser is told to run none.
"""

import asyncio
import dataclasses
import hashlib
import time
import urllib.parse
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mia_jax.runtime import records
from mia_jax.study import design, links, pages, pictures, store
from mia_jax.study.design import Plan, Step
from mia_jax.study.links import Links
from mia_jax.study.store import Store

_BODY = 2048  # Bytes of a form, at most: an answer takes a hundred.
_PATIENCE = 10.0  # Seconds that a form may take to arrive.
_REQUESTS = 900  # Of one link in a minute, at most: a page takes a dozen.
_STRANGER, _OWNER = 0, -1  # They have a budget of their own, as each observer has.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; img-src 'self'; style-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}


@dataclasses.dataclass
class _Allowance:
    """Counts requests by link and minute, and forgets them with the minute."""

    minute: int = 0
    taken: dict[int, int] = dataclasses.field(default_factory=dict)

    def take(self, number: int) -> bool:
        """Tells whether one more request of an observer, or of others, is allowed."""
        minute = int(time.monotonic() // 60)
        if minute != self.minute:
            self.minute, self.taken = minute, {}
        self.taken[number] = self.taken.get(number, 0) + 1
        return self.taken[number] <= _REQUESTS


class _SafeHeaders:
    """Adds to every response what a browser may do with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class _Refused(HTTPException):
    """A page that says why not."""

    def __init__(self, status: int, title: str, text: str, link: str = "") -> None:
        super().__init__(status)
        self.title, self.text, self.link = title, text, link


def _stranger() -> _Refused:
    """Refuses a link: wrong, of another study or made up, all the same."""
    return _Refused(404, "No such page", "Please use the link that you were sent, as it is.")


def make_app(
    plan: Plan,
    images: np.ndarray,
    answers: Store,
    words: Links,
    hosts: Sequence[str],
    forget: Callable[[int], None],
    root: str = "",
) -> Starlette:
    """Makes the application.

    Args:
      plan: The plan.
      images: `[n, side, side, channels]` of 8 bits: all pictures.
      answers: Where answers are kept; everybody invited there has a link.
      words: Links and names.
      hosts: Names by which the server may be called.
      forget: Deletes an observer's answers, by number, wherever they are.
      root: The path below which a proxy puts it, such as "/quiz"; empty for none. The proxy may
        take that path off a request before it passes it on, or leave it there.

    Returns:
      An ASGI application.
    """
    # By digest, so that the time of the look-up tells nothing of a link that is nearly right.
    numbers = {_digest(words.observer(number)): number for number in answers.observers()}
    allowance = _Allowance()
    known_steps: dict[int, tuple[Step, ...]] = {}

    def root_of(request: Request) -> str:
        """Returns the path below which the observer's browser sees the server."""
        return str(request.scope.get("root_path", "")) or root

    def observer_of(request: Request) -> tuple[int, str, tuple[Step, ...]]:
        """Returns the observer whose link was called, the link, and the observer's steps."""
        link = request.path_params["link"]
        number = numbers.get(_digest(link), _STRANGER)
        if not allowance.take(number):
            raise _Refused(429, "Too fast", "Please wait a minute, then use your link again.")
        if not number:
            raise _stranger()
        if number in answers.deleted():
            raise _Refused(410, "Deleted", "The answers given by this link were deleted.")
        if number not in known_steps:
            known_steps[number] = design.steps(plan, number)
        return number, link, known_steps[number]

    async def question(request: Request) -> Response:
        number, link, steps = observer_of(request)
        place = answers.answered(number)
        if place == len(steps):
            thanks = pages.message(plan, "Thank you", thanks=True, link=link, root=root_of(request))
            return HTMLResponse(thanks)
        names = [words.picture(number, place, each) for each in range(len(steps[place].pictures))]
        form = words.form(number, str(place))
        return HTMLResponse(pages.step(plan, steps, place, link, form, names, root_of(request)))

    async def answer(request: Request) -> Response:
        number, link, steps = observer_of(request)
        fields = await _form(request, ("step", "form", "answer"))
        place = int(fields["step"]) if fields["step"].isdecimal() else -1
        if not links.same(fields["form"], words.form(number, str(place))):
            raise _foreign(link)
        if fields["answer"] not in steps[place].choices:
            raise _Refused(400, "No such answer", "Please choose one of the answers.", link)
        outcome = answers.add(number, place, fields["answer"])
        if outcome == store.CONTRADICTED:
            raise _Refused(
                409, "Answered already", "Each question is answered once: the first counts.", link
            )
        if outcome == store.EARLY:
            raise _foreign(link)
        return RedirectResponse(f"{root_of(request)}/o/{link}", 303)

    async def picture(request: Request) -> Response:
        number, _, steps = observer_of(request)
        place = answers.answered(number)
        shown = steps[place].pictures if place < len(steps) else ()
        names = [words.picture(number, place, each) for each in range(len(shown))]
        wanted = request.path_params["name"]
        found = [which for which, name in zip(shown, names, strict=True) if name == wanted]
        if not found:
            raise _stranger()
        sent = pictures.encode(images[found[0]], words.noise(wanted))
        return Response(sent, media_type="image/png")

    async def deletion(request: Request) -> Response:
        number, link, _ = observer_of(request)
        form = words.form(number, "delete")
        text = "All answers given by your link will be deleted, and the link will end."
        page = pages.message(plan, "Delete my answers?", text, link, form, root=root_of(request))
        return HTMLResponse(page)

    async def delete(request: Request) -> Response:
        number, link, _ = observer_of(request)
        fields = await _form(request, ("form",))
        if not links.same(fields["form"], words.form(number, "delete")):
            raise _foreign(link)
        forget(number)
        text = "Your answers are deleted for good."
        return HTMLResponse(pages.message(plan, "Deleted", text, root=root_of(request)))

    async def export(request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = scheme.lower() == "bearer" and links.same(token, words.admin())
        if not allowance.take(_OWNER if known else _STRANGER):
            raise _Refused(429, "Too fast", "Please wait a minute.")
        if not known:
            raise _stranger()
        found = design.resolve(plan, answers.answers())
        return JSONResponse(records.versioned(found))

    async def style(request: Request) -> Response:
        del request
        return Response(pages.style(), media_type="text/css")

    async def icon(request: Request) -> Response:
        del request
        return Response(status_code=204)  # Browsers ask for one whatever the page says.

    async def refuse(request: Request, error: Exception) -> Response:
        shown = error if isinstance(error, _Refused) else _stranger()
        status = error.status_code if isinstance(error, HTTPException) else 500
        page = pages.message(plan, shown.title, shown.text, link=shown.link, root=root_of(request))
        return HTMLResponse(page, status)

    routes: list[BaseRoute] = [
        Route("/style.css", style),
        Route("/favicon.ico", icon),
        Route("/admin/answers.json", export),
        Route("/o/{link}", _by_method(question, answer), methods=["GET", "POST"]),
        Route("/o/{link}/delete", _by_method(deletion, delete), methods=["GET", "POST"]),
        Route("/o/{link}/{name}.png", picture),
    ]
    return Starlette(
        routes=[*routes, Mount(root, routes=routes)] if root else routes,
        middleware=[
            Middleware(_SafeHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
        ],
        exception_handlers={HTTPException: refuse},
    )


Handler = Callable[[Request], Awaitable[Response]]


def _by_method(get: Handler, post: Handler) -> Handler:
    """Sends forms one way, and everything else the other."""

    async def handle(request: Request) -> Response:
        return await (post if request.method == "POST" else get)(request)

    return handle


def _foreign(link: str) -> _Refused:
    """Refuses a form that is none of ours, or another observer's, or not the one that is due."""
    return _Refused(403, "Not your form", "Please go back to the questions by your link.", link)


async def _form(request: Request, names: Sequence[str]) -> dict[str, str]:
    """Reads a form that has these fields, each once, and no other.

    Raises:
      HTTPException: If it has others, is too long or too slow, or comes from another site.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(415)
    body = b""
    try:
        async with asyncio.timeout(_PATIENCE):
            async for part in request.stream():
                body += part
                if len(body) > _BODY:
                    raise HTTPException(413)
        pairs = urllib.parse.parse_qsl(
            body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=8
        )
    except TimeoutError:
        raise HTTPException(408) from None
    except (ClientDisconnect, ValueError):
        raise HTTPException(400) from None
    if sorted(name for name, _ in pairs) != sorted(names):
        raise HTTPException(400)
    return dict(pairs)


def _digest(link: str) -> bytes:
    """Returns the digest by which a link is looked up."""
    return hashlib.sha256(link.encode()).digest()
