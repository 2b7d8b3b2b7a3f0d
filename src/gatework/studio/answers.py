"""The page's questions and their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from gatework.studio.asking import (
    MOST_SEQUENCES,
    CellBody,
    ReadBody,
    TextBody,
    UnitBody,
    number,
    parsed,
    wrong,
)
from gatework.studio.reading import CHUNK, LEVELS, Reading
from gatework.studio.readings import Studio
from gatework.studio.tracks import curves_of, told_characters, told_sequence
from gatework.tasks.held_out import Place
from gatework.tasks.text.held_out import HeldOutText

__all__ = ["GET", "POST", "Answer"]

MOST_STEPS = 4_096
"""Steps of a single unit, or costs, in one answer."""
MOST_FOUND = 100
"""Sequences that are named in one answer."""
MOST_LOOKED_FOR = 100
"""Characters of what is looked for."""
EXAMPLE = 420
"""Symbols of a held-out text to begin with."""
TOLD = 8
"""Symbols, classes or targets of which a prediction is told."""

Answer = Callable[[Studio, Request, bytes], Response]


def _models(studio: Studio, request: Request, body: bytes) -> Response:
    return JSONResponse(
        {
            "models": [m.describe() for m in studio.models],
            "reads": _reads(studio),
            "levels": LEVELS,
            "tile": CHUNK,
        }
    )


def _reads(studio: Studio) -> dict[str, Any]:
    """What the models are given: a text, or one of the held-out sequences."""
    held_out, limit = studio.held_out, studio.limit
    about: dict[str, Any] = {"step": held_out.step, "limit": limit}
    if not studio.models[0].reads_text:
        return {**about, "sequences": len(held_out.lengths), "begin": held_out.passage(1).sequence}
    texts = [cast(HeldOutText, m.held_out) for m in studio.models]
    examples = [_example(text) for text in texts if text.lengths[0]]
    return {**about, "sequences": 0, "example": examples[0] if examples else ""}


def _example(text: HeldOutText) -> str:
    """Some held-out text to begin with."""
    return text.text(text.passage(EXAMPLE)).decode(errors="ignore")


def _begin(studio: Studio, request: Request, body: bytes) -> Response:
    key, reading = studio.read(parsed(ReadBody, body))
    return JSONResponse({"reading": key, "length": len(reading)})


def _characters(studio: Studio, request: Request, body: bytes) -> Response:
    """What is written over the maps: each character, and over how many steps it stands."""
    typed, place = studio.typed(parsed(TextBody, body).text)
    return JSONResponse(told_characters(typed.track(place)))


def _sequences(studio: Studio, request: Request, body: bytes) -> Response:
    """The held-out sequences whose name has some words, the first of them, and how many."""
    asked = request.query_params.get("find", "")[:MOST_LOOKED_FOR].casefold()
    held_out = studio.held_out
    every = range(0 if studio.models[0].reads_text else len(held_out.lengths))
    found = [k for k in every if not asked or asked in held_out.name(k).casefold()]
    told = [
        {
            "number": k,
            "name": held_out.name(k) or "the series",
            "length": int(held_out.lengths[k]),
        }
        for k in found[:MOST_FOUND]
    ]
    return JSONResponse({"found": told, "count": len(found)})


def _sequence(studio: Studio, request: Request, body: bytes) -> Response:
    place = _place(studio, request)
    begin = studio.held_out.begin(place.sequence)
    return JSONResponse(told_sequence(studio.held_out.track(place), place.first, begin))


def _curves(studio: Studio, request: Request, body: bytes) -> Response:
    return _binary(curves_of(studio.held_out.track(_place(studio, request))).tobytes())


def _place(studio: Studio, request: Request) -> Place:
    sequence = number(request, "sequence", MOST_SEQUENCES)
    return studio.place(sequence, number(request, "first", MOST_SEQUENCES))


def _progress(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    return JSONResponse(
        {
            "done": reading.done,
            "length": len(reading),
            "cost": reading.mean_cost(),
            "error": reading.error,
        }
    )


def _costs(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    first = number(request, "from", len(reading) - 1)
    return _binary(reading.costs[first : min(reading.done, first + MOST_STEPS)].tobytes())


def _tile(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    layer, name = _value(reading, request)
    level = number(request, "level", len(LEVELS) - 1)
    tile_number = number(request, "tile", max(0, (reading.done - 1) // (CHUNK * LEVELS[level])))
    if not reading.done:
        raise wrong("a tile of what is not read yet", "to wait a moment", 409)
    tile = reading.tile(layer, name, level, tile_number)
    return _binary(tile.tobytes(), {"x-units": str(tile.shape[0]), "x-columns": str(tile.shape[1])})


def _step(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    return JSONResponse(reading.step(number(request, "at", reading.done - 1), TOLD))


def _unit(studio: Studio, request: Request, body: bytes) -> Response:
    reading = studio.reading(request.path_params["key"])
    layer, value = _value(reading, request)
    unit = number(request, "unit", reading.studied.rows[value].count - 1)
    first = number(request, "from", reading.done - 1)
    last = number(request, "to", len(reading))
    if last - first > MOST_STEPS:
        raise wrong(f"{last - first:,} steps", f"at most {MOST_STEPS:,}")
    return JSONResponse({"from": first, "values": reading.unit(layer, value, unit, first, last)})


def _value(reading: Reading, request: Request) -> tuple[int, str]:
    name = request.query_params.get("value", "")
    if name not in reading.scales:
        raise wrong(f"value = {name[:20]!r}", f"one of {', '.join(reading.scales)}")
    return number(request, "layer", len(reading.studied.layers) - 1), name


def _cell(studio: Studio, request: Request, body: bytes) -> Response:
    asked = parsed(CellBody, body)
    studied = studio.model(asked.model)
    return JSONResponse(studied.picture(studio.hold(studied, asked.hold)))


def _passages(studio: Studio, request: Request, body: bytes) -> Response:
    asked = parsed(UnitBody, body)
    studied = studio.model(asked.model)
    if asked.layer >= len(studied.layers):
        raise wrong(f"layer {asked.layer}", f"below {len(studied.layers)}")
    if asked.value not in studied.values:
        raise wrong(f"value {asked.value[:20]!r}", f"one of {', '.join(studied.values)}")
    if asked.unit >= studied.rows[asked.value].count:
        raise wrong(f"unit {asked.unit}", f"below {studied.rows[asked.value].count}")
    library = studio.library(asked.model)
    if library is None:
        return JSONResponse({"missing": studied.run.manifest.source})
    return JSONResponse(library.passages(asked.layer, asked.value, asked.unit))


def _binary(content: bytes, headers: dict[str, str] | None = None) -> Response:
    kind = "application/octet-stream"
    return Response(content, headers={"content-type": kind, **(headers or {})})


GET: dict[str, Answer] = {
    "/api/models": _models,
    "/api/sequences": _sequences,
    "/api/sequence": _sequence,
    "/api/curves": _curves,
    "/api/readings/{key}": _progress,
    "/api/readings/{key}/costs": _costs,
    "/api/readings/{key}/tile": _tile,
    "/api/readings/{key}/step": _step,
    "/api/readings/{key}/unit": _unit,
}
POST: dict[str, Answer] = {
    "/api/readings": _begin,
    "/api/characters": _characters,
    "/api/cell": _cell,
    "/api/passages": _passages,
}
