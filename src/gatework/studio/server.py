"""The page's questions and their answers, over HTTP, on this machine alone.

The page can ask for readings of a text or of a held-out sequence, with gates held, and for their
tiles, and nothing else: it names models, sequences and values by number and name, never by path,
and sends no code. Every size is limited. Whatever else comes is answered with an error that says
what was expected.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gatework.studio.answers import GET, POST, Answer
from gatework.studio.asking import wrong
from gatework.studio.models import MOST_STEPS, Studied
from gatework.studio.readings import Studio

__all__ = ["host_names", "make_app"]

MOST_BODY = 6 * MOST_STEPS + 10_000
"""Longest body of a request: JSON may write a byte as six."""
PATIENCE = 10
"""Seconds that a body may take to arrive."""
SCRIPTS = (
    "api", "curves", "maps", "page", "panel", "passages", "reading", "said", "source", "studio",
    "text",
)  # fmt: skip
ASSETS = {
    "index.html": "text/html; charset=utf-8",
    "studio.css": "text/css; charset=utf-8",
    **{f"{name}.js": "text/javascript; charset=utf-8" for name in SCRIPTS},
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self' "
    "'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


def make_app(models: Sequence[Studied], hosts: frozenset[str]) -> ASGIApp:
    """The studio as an ASGI application.

    Args:
        models: What is shown.
        hosts: The values of the header Host that are answered, such as "127.0.0.1:8407".
    """
    studio = Studio(models)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        yield
        await run_in_threadpool(studio.close)

    routes = [Route("/", _asset("index.html", ASSETS["index.html"]), methods=["GET"])]
    routes += [Route(f"/{n}", _asset(n, kind), methods=["GET"]) for n, kind in ASSETS.items()]
    for method, answers in (("GET", GET), ("POST", POST)):
        routes += [Route(p, _answers(studio, a), methods=[method]) for p, a in answers.items()]
    handlers: Any = {HTTPException: _http_error, Exception: _server_error}
    return Guard(Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers), hosts)


class Guard:
    """Lets through what this page on this machine asks for, and nothing from elsewhere.

    A page of another site can make a browser send requests to this machine; such a request names
    that site in Host (DNS rebinding) or in Origin, and is refused.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, send)
            return

        async def send_guarded(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *_raw_headers()]
            await send(message)

        await self.app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        host = headers.get("host", "").lower()
        if host not in self.hosts:
            return _error("another Host", f"{', '.join(sorted(self.hosts))}", 421)
        origin = headers.get("origin")
        if origin is not None and origin.lower() != f"http://{host}":
            return _error("a request from another page", "one from the studio's own", 403)
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return _error("a request from another page", "one from the studio's own", 403)
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return _error("a body that is not JSON", "content-type: application/json", 415)
        return None


# ---- answers -----------------------------------------------------------------------------------


def _answers(studio: Studio, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads the body, within its limit, and answers in a thread."""

    async def endpoint(request: Request) -> Response:
        try:
            async with asyncio.timeout(PATIENCE):
                body = await _body(request)
        except ClientDisconnect:  # nobody is there to answer to
            return Response(status_code=400)
        except TimeoutError:
            raise wrong("a body that does not end", f"all of it in {PATIENCE} s", 408) from None
        return await run_in_threadpool(answer, studio, request, body)

    return endpoint


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            raise wrong("a body that is too long", f"at most {MOST_BODY:,} bytes", 413)
    return bytes(body)


def _asset(name: str, kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        content = files("gatework.studio").joinpath("assets", name).read_bytes()
        return Response(content, headers={"content-type": kind})

    return endpoint


# ---- results -----------------------------------------------------------------------------------


def _error(came: str, expected: str, status: int) -> Response:
    content = {"error": came, "expected": expected}
    return JSONResponse(content, status, headers=HEADERS)


def _http_error(request: Request, error: HTTPException) -> Response:
    if error.detail.startswith("{"):
        told = json.loads(error.detail)
        return JSONResponse(
            {"error": told["came"], "expected": told["expected"]}, error.status_code
        )
    return JSONResponse({"error": error.detail, "expected": ""}, error.status_code)


def _server_error(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "a fault of the studio", "expected": ""}, 500)


def _raw_headers() -> list[tuple[bytes, bytes]]:
    return [(k.encode(), v.encode()) for k, v in HEADERS.items()]


def host_names(port: int) -> frozenset[str]:
    """What a browser on this machine may call the studio."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
