"""What a run says: a page to read and to pass on."""

from __future__ import annotations

from gatework.reports.learning import BITS, draw_learning_curves
from gatework.reports.page import figure, page, paragraph, preformatted, section, settings_table
from gatework.train.records import Record, curve
from gatework.train.run import Run

__all__ = ["run_page"]

MOST_POINTS = 400
SAMPLE = "Drawn from the trained network byte by byte, after the words it was given to begin with."


def run_page(run: Run, sample: str | None) -> str:
    """Return the report of one run.

    Args:
        run: its settings and measurements.
        sample: text that the trained model wrote; None where there was no time for one.
    """
    settings = run.config.shown()
    settings["learning_rate"] = run.config.peak_rate
    lead = f"{run.config.cell}, {run.manifest.parameters:,} parameters, trained on "
    sections = [
        section("How well it predicts", *_progress(run)),
        section("What it writes", paragraph(SAMPLE), preformatted(sample)) if sample else "",
        section("Settings", settings_table({**settings, **_origin(run)})),
    ]
    return page(f"Gatework run {run.path.name}", f"{lead}{run.manifest.corpus}.", sections)


def _progress(run: Run) -> list[str]:
    """How the cost of what is learned from and of what is held out went, and where it was best."""
    records = list(run.records())
    parts = {"training": curve(records, "train"), "held out": curve(records, "valid")}
    ends = ", ".join(
        f"{name} ends at {points[-1].bits_per_byte:.3f}" for name, points in parts.items() if points
    )
    curves = {name: _thinned(points) for name, points in parts.items() if points}
    svg = draw_learning_curves(curves).in_page
    caption = "Cost of a byte in the course of training: of the text learned from, and held out."
    words = [paragraph(BITS), figure(svg, f"Bits per byte against bytes read: {ends}.", caption)]
    if best := run.about_best():
        words.append(paragraph(f"The best on held-out text was {best}."))
    return words


def _thinned(points: list[Record]) -> list[Record]:
    """Evenly spread points, the last one among them, no more than can be told apart."""
    apart = -(-len(points) // MOST_POINTS)
    return points[::-1][::apart][::-1]


def _origin(run: Run) -> dict[str, str]:
    return {"sha256 of the text": run.manifest.corpus_sha256[:16], **run.manifest.versions}
