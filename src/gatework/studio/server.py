"""The page's questions and their answers, over HTTP, on this machine alone.

The page can ask for readings of a text, with gates held, and for their tiles, and nothing else: it
names models and values by number and name, never by path, and sends no code. Every size is limited.
Whatever else comes is answered with an error that says what was expected.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gatework.data import characters_of
from gatework.studio.firing import Library
from gatework.studio.models import Studied
from gatework.studio.reading import CHUNK, LEVELS, Reading

__all__ = ["MOST_BYTES", "host_names", "make_app"]

MOST_BYTES = 200_000
"""Longest text."""
MOST_BODY = 6 * MOST_BYTES + 10_000
"""Longest body of a request: JSON may write a byte as six."""
PATIENCE = 10
"""Seconds that a body may take to arrive."""
MOST_READINGS, MOST_MEMORY = 24, 500_000_000
"""Readings that are kept, the last ones used, and the bytes that they may take together."""
ACTIVE = 8
"""Readings that go on at the same time, the last ones asked about."""
MOST_STEPS = 4_096
"""Steps of a single unit in one answer."""
ASSETS = {
    "index.html": "text/html; charset=utf-8",
    "studio.css": "text/css; charset=utf-8",
    **dict.fromkeys(
        ("api.js", "maps.js", "panel.js", "reading.js", "studio.js", "text.js"),
        "text/javascript; charset=utf-8",
    ),
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

Hold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ReadBody(_Body):
    """Read a text."""

    model: Annotated[int, Field(ge=0)]
    text: Annotated[str, Field(min_length=1, max_length=MOST_BYTES)]
    hold: Annotated[dict[Name, Hold], Field(max_length=16)] = {}


class TextBody(_Body):
    """Divide a text into characters."""

    text: Annotated[str, Field(max_length=MOST_BYTES)]


class CellBody(_Body):
    """Draw a model's cell."""

    model: Annotated[int, Field(ge=0)]
    hold: Annotated[dict[Name, Hold], Field(max_length=16)] = {}


class UnitBody(_Body):
    """Find where a unit fires."""

    model: Annotated[int, Field(ge=0)]
    layer: Annotated[int, Field(ge=0)]
    value: Name
    unit: Annotated[int, Field(ge=0)]


class Studio:
    """Models, the readings that the page asked for, and the thread that reads.

    The thread reads a chunk of each reading in turn, so that a long text does not hold up a short
    one. A reading that the page asks about no more, because a slider has moved on, falls behind.
    """

    def __init__(self, models: Sequence[Studied]) -> None:
        self.models = list(models)
        self._readings: OrderedDict[str, Reading] = OrderedDict()
        self._libraries: dict[int, Library | None] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._go_on, name="reading", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _go_on(self) -> None:
        for studied in self.models:
            studied.describe()  # what takes a moment, before the page asks for it
        while True:
            with self._changed:
                while not self._closed and not self._unfinished():
                    self._changed.wait()
                if self._closed:
                    return
                active = self._unfinished()[-ACTIVE:]
            for reading in reversed(active):
                reading.advance()

    def _unfinished(self) -> list[Reading]:
        return [r for r in self._readings.values() if not r.finished]

    def model(self, number: int) -> Studied:
        """The model of that number."""
        if number >= len(self.models):
            raise _wrong(f"model {number}", f"a number below {len(self.models)}")
        return self.models[number]

    def hold(self, studied: Studied, pins: dict[str, float]) -> dict[str, float]:
        """What is held, checked: gates of the model alone."""
        for name in pins:
            if name not in studied.gates:
                known = ", ".join(studied.gates) or "none"
                raise _wrong(f"hold {name[:20]!r}", f"a gate of {studied.cell.name}: {known}")
        return dict(sorted(pins.items()))

    def read(self, body: ReadBody) -> tuple[str, Reading]:
        """The reading of a text; begun, if it is new."""
        studied = self.model(body.model)
        pins = self.hold(studied, body.hold)
        data = _data(body.text)
        told = json.dumps([body.model, pins]).encode() + data
        key = hashlib.sha256(told).hexdigest()[:20]
        with self._changed:
            if key not in self._readings:
                self._readings[key] = Reading(studied, data, pins)
                self._changed.notify()
            self._readings.move_to_end(key)
            self._let_go()
            return key, self._readings[key]

    def _let_go(self) -> None:
        """Drop the readings that were used longest ago, as many as must be."""
        while len(self._readings) > MOST_READINGS or (
            len(self._readings) > 1 and sum(r.nbytes for r in self._readings.values()) > MOST_MEMORY
        ):
            self._readings.popitem(last=False)

    def reading(self, key: str) -> Reading:
        """A reading that was begun before."""
        with self._changed:
            if key not in self._readings:
                raise _wrong("a reading that is not known", "one begun a short while ago", 404)
            self._readings.move_to_end(key)
            return self._readings[key]

    def library(self, number: int) -> Library | None:
        """Held-out text as a model read it; read at the first time of asking."""
        if number not in self._libraries:
            self._libraries[number] = Library.of(self.model(number))
        return self._libraries[number]


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
    routes += [
        Route("/api/models", _answers(studio, _models), methods=["GET"]),
        Route("/api/readings", _answers(studio, _begin), methods=["POST"]),
        Route("/api/readings/{key}", _answers(studio, _progress), methods=["GET"]),
        Route("/api/readings/{key}/bits", _answers(studio, _bits), methods=["GET"]),
        Route("/api/readings/{key}/tile", _answers(studio, _tile), methods=["GET"]),
        Route("/api/readings/{key}/step", _answers(studio, _step), methods=["GET"]),
        Route("/api/readings/{key}/unit", _answers(studio, _unit), methods=["GET"]),
        Route("/api/characters", _answers(studio, _characters), methods=["POST"]),
        Route("/api/cell", _answers(studio, _cell), methods=["POST"]),
        Route("/api/passages", _answers(studio, _passages), methods=["POST"]),
    ]
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

Answer = Callable[[Studio, Request, bytes], Response]


def _answers(studio: Studio, answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    """An endpoint that reads the body, within its limit, and answers in a thread."""

    async def endpoint(request: Request) -> Response:
        try:
            async with asyncio.timeout(PATIENCE):
                body = await _body(request)
        except ClientDisconnect:  # nobody is there to answer to
            return Response(status_code=400)
        except TimeoutError:
            raise _wrong("a body that does not end", f"all of it in {PATIENCE} s", 408) from None
        return await run_in_threadpool(answer, studio, request, body)

    return endpoint


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            raise _wrong("a body that is too long", f"at most {MOST_BODY:,} bytes", 413)
    return bytes(body)


def _asset(name: str, kind: str) -> Callable[[Request], Response]:
    def endpoint(request: Request) -> Response:
        content = files("gatework.studio").joinpath("assets", name).read_bytes()
        return Response(content, headers={"content-type": kind})

    return endpoint


def _models(studio: Studio, request: Request, body: bytes) -> Response:
    examples = [_example(m) for m in studio.models if m.held_out]
    return JSONResponse(
        {
            "models": [m.describe() for m in studio.models],
            "example": examples[0] if examples else "",
            "limit": MOST_BYTES,
            "levels": LEVELS,
            "tile": CHUNK,
        }
    )


def _begin(studio: Studio, request: Request, body: bytes) -> Response:
    key, reading = studio.read(_parsed(ReadBody, body))
    return JSONResponse({"reading": key, "length": len(reading)})


def _characters(studio: Studio, request: Request, body: bytes) -> Response:
    """What is written under the maps: each character, and over how many bytes it stands."""
    found = characters_of(_data(_parsed(TextBody, body).text))
    return JSONResponse({"labels": [c.label for c in found], "widths": [c.width for c in found]})


def _progress(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    return JSONResponse(
        {
            "done": reading.done,
            "length": len(reading),
            "bits": reading.mean_bits(),
            "error": reading.error,
        }
    )


def _bits(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    first = _number(request, "from", len(reading) - 1)
    return _binary(reading.bits[first : min(reading.done, first + MOST_STEPS)].tobytes())


def _tile(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    layer, name = _value(reading, request)
    level = _number(request, "level", len(LEVELS) - 1)
    number = _number(request, "tile", max(0, (reading.done - 1) // (CHUNK * LEVELS[level])))
    if not reading.done:
        raise _wrong("a tile of what is not read yet", "to wait a moment", 409)
    tile = reading.tile(layer, name, level, number)
    return _binary(tile.tobytes(), {"x-units": str(tile.shape[0]), "x-columns": str(tile.shape[1])})


def _step(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    at = _number(request, "at", reading.done - 1)
    return JSONResponse(reading.step(at, 8))


def _unit(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    layer, value = _value(reading, request)
    unit = _number(request, "unit", reading.studied.rows[value].count - 1)
    first = _number(request, "from", reading.done - 1)
    last = _number(request, "to", len(reading))
    if last - first > MOST_STEPS:
        raise _wrong(f"{last - first:,} steps", f"at most {MOST_STEPS:,}")
    return JSONResponse({"from": first, "values": reading.unit(layer, value, unit, first, last)})


def _cell(studio: Studio, request: Request, body: bytes) -> Response:
    asked = _parsed(CellBody, body)
    studied = studio.model(asked.model)
    return JSONResponse(studied.picture(studio.hold(studied, asked.hold)))


def _passages(studio: Studio, request: Request, body: bytes) -> Response:
    asked = _parsed(UnitBody, body)
    studied = studio.model(asked.model)
    if asked.layer >= studied.run.config.layers:
        raise _wrong(f"layer {asked.layer}", f"below {studied.run.config.layers}")
    if asked.value not in studied.values:
        raise _wrong(f"value {asked.value[:20]!r}", f"one of {', '.join(studied.values)}")
    if asked.unit >= studied.rows[asked.value].count:
        raise _wrong(f"unit {asked.unit}", f"below {studied.rows[asked.value].count}")
    library = studio.library(asked.model)
    if library is None:
        return JSONResponse({"missing": studied.run.manifest.source})
    return JSONResponse(library.passages(asked.layer, asked.value, asked.unit))


# ---- what was asked ----------------------------------------------------------------------------


def _data(text: str) -> bytes:
    """The bytes of a text that was sent."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise _wrong("a text with half a character", "whole Unicode characters") from None
    if len(data) > MOST_BYTES:
        raise _wrong(f"a text of {len(data):,} bytes", f"at most {MOST_BYTES:,}", 413)
    return data


def _parsed(kind: type[Any], body: bytes) -> Any:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(p)[:20] for p in f['loc']) or 'body'}: {f['msg']}"
            for f in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise _wrong("; ".join(faults[:4])[:400], (kind.__doc__ or "").strip()) from None


def _number(request: Request, name: str, highest: int) -> int:
    """A whole number from 0 to `highest` in the question."""
    text = request.query_params.get(name, "")
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) > highest:
        raise _wrong(f"{name} = {text[:20]!r}", f"a whole number from 0 to {highest}")
    return int(text)


def _value(reading: Reading, request: Request) -> tuple[int, str]:
    name = request.query_params.get("value", "")
    if name not in reading.scales:
        raise _wrong(f"value = {name[:20]!r}", f"one of {', '.join(reading.scales)}")
    return _number(request, "layer", reading.studied.run.config.layers - 1), name


def _example(studied: Studied) -> str:
    """Some held-out text to begin with: a whole definition, if it is code."""
    text = studied.held_out or b""
    middle = len(text) // 2
    found = next((p for s in (b"\ndef ", b"\n") if (p := text.find(s, middle)) >= 0), middle - 1)
    return text[found + 1 : found + 421].decode(errors="ignore")


# ---- results -----------------------------------------------------------------------------------


def _wrong(came: str, expected: str, status: int = 400) -> HTTPException:
    return HTTPException(status, json.dumps({"came": came, "expected": expected}))


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


def _binary(content: bytes, headers: dict[str, str] | None = None) -> Response:
    kind = "application/octet-stream"
    return Response(content, headers={"content-type": kind, **(headers or {})})


def _raw_headers() -> list[tuple[bytes, bytes]]:
    return [(k.encode(), v.encode()) for k, v in HEADERS.items()]


def host_names(port: int) -> frozenset[str]:
    """What a browser on this machine may call the studio."""
    return frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
