"""What a run says: a page to read and to pass on."""

from __future__ import annotations

from gatework.reports.learning import cost_in_words, draw_learning_curves
from gatework.reports.page import (
    figure,
    page,
    paragraph,
    preformatted,
    section,
    settings_table,
    table,
)
from gatework.tasks import Shown
from gatework.train.records import Record, curve
from gatework.train.run import Run

__all__ = ["run_page"]

MOST_POINTS = 400


def run_page(run: Run, shown: Shown | None) -> str:
    """Return the report of one run.

    Args:
        run: its settings and measurements.
        shown: what the trained model did; None where there was no time for it.
    """
    settings = run.config.shown()
    settings["learning_rate"] = run.config.peak_rate
    lead = f"{run.config.cell}, {run.manifest.parameters:,} parameters, trained on "
    sections = [
        section("How well it predicts", *_progress(run)),
        section(shown.title, *_shown(shown)) if shown else "",
        section("Settings", settings_table({**settings, **_origin(run)})),
    ]
    return page(f"Gatework run {run.path.name}", f"{lead}{run.manifest.source}.", sections)


def _progress(run: Run) -> list[str]:
    """How the cost of what is learned from and of what is held out went, and where it was best."""
    records = list(run.records())
    parts = {"training": curve(records, "train"), "held out": curve(records, "valid")}
    ends = ", ".join(
        f"{name} ends at {points[-1].cost:.3f}" for name, points in parts.items() if points
    )
    curves = {name: _thinned(points) for name, points in parts.items() if points}
    task = run.task
    svg = draw_learning_curves(curves, task.unit, task.counted).in_page
    caption = "Cost in the course of training: of what is learned from, and of what is held out."
    alt = f"{task.unit} against {task.counted} learned from: {ends}."
    words = [paragraph(cost_in_words(task)), figure(svg, alt, caption), *_figures(records)]
    if best := run.about_best():
        words.append(paragraph(f"The best on held-out data was {best}."))
    return words


def _figures(records: list[Record]) -> list[str]:
    """What people quote, beside what needs no model: of the last measurement that has it."""
    told = [record for record in records if record.figures]
    if not told:
        return []
    figures, naive = told[-1].figures or {}, told[-1].naive or {}
    rows = [(n, f"{v:.4g}", f"{naive[n]:.4g}" if n in naive else "") for n, v in figures.items()]
    return [table(("held out", "this model", "without a model"), rows)]


def _shown(shown: Shown) -> list[str]:
    picture = [figure(shown.picture, shown.words, "", wide=True)] if shown.picture else []
    return [paragraph(shown.words), *picture, preformatted(shown.text)]


def _thinned(points: list[Record]) -> list[Record]:
    """Evenly spread points, the last one among them, no more than can be told apart."""
    apart = -(-len(points) // MOST_POINTS)
    return points[::-1][::apart][::-1]


def _origin(run: Run) -> dict[str, str]:
    return {"sha256 of the data": run.manifest.sha256[:16], **run.manifest.versions}
