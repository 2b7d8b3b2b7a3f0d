"""What a run and a comparison say, as pages to read and to pass on."""

from __future__ import annotations

from collections.abc import Sequence

from gatework.data import Corpus
from gatework.lens import Passage
from gatework.lens.page import figure, page, paragraph, preformatted, section, table
from gatework.lens.passage import COLUMNS
from gatework.lens.plots import Curve, draw_horizons, draw_learning_curves, draw_passage
from gatework.train.comparison import FAR_LAG, MAX_LAG, REACH_SHARES, Contender
from gatework.train.records import Record, curve
from gatework.train.run import Run

__all__ = ["comparison_page", "reach_text", "run_page"]

MOST_POINTS = 400
SAMPLE = "Drawn from the trained network byte by byte, after the words it was given to begin with."
BITS = (
    "Bits per byte: what it costs on average to write down the next byte if you know the "
    "network's prediction. A byte drawn at random costs 8 bits, one known for certain costs 0. "
    "Held-out text is text that the network never learned from."
)
INFLUENCE = (
    "Influence is how much the network's state would change if the byte read k steps earlier "
    "were a little different: the mean norm of ∂hₜ/∂xₜ₋ₖ, taken by back-propagation from "
    "many places of the held-out text, as a share of the influence of the newest byte (k = 0). "
    "The axis is logarithmic: each mark down is a tenth. What has no influence any more is "
    "forgotten; and no error can be traced back to it, so nothing can be learned from it either."
)


def run_page(run: Run, sample: str | None) -> str:
    """Return the report of one run.

    Args:
        run: its settings and measurements.
        sample: text that the trained model wrote; None where there was no time for one.
    """
    settings = run.config.model_dump(mode="json", exclude_none=True, exclude={"files"})
    settings["learning_rate"] = run.config.peak_rate
    lead = f"{run.config.cell}, {run.manifest.parameters:,} parameters, trained on "
    sections = [
        section("How well it predicts", *_progress(run)),
        section("What it writes", paragraph(SAMPLE), preformatted(sample)) if sample else "",
        section("Settings", table(("setting", "value"), _rows({**settings, **_origin(run)}))),
    ]
    return page(f"Gatework run {run.path.name}", f"{lead}{run.manifest.corpus}.", sections)


def comparison_page(contenders: Sequence[Contender], corpus: Corpus) -> str:
    """Return the report of a comparison."""
    names = [contender.config.cell for contender in contenders]
    lead = (
        f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
    ) + f" with about {round(contenders[0].parameters, -3):,} parameters each, on {corpus.name}."
    curves = {contender.config.cell: contender.validations for contender in contenders}
    sections = [
        section("In short", _summary(contenders)),
        section("How far back each remembers", *_memory(contenders)),
        section("How they learn", *_learning(curves)),
        section("What the gates do", *_gates(contenders)),
        section("How it was measured", *_method(contenders, corpus)),
    ]
    return page("How far back does a recurrent network remember?", lead, sections)


def reach_text(contender: Contender, share: float) -> str:
    """Return the reach in bytes with its band, as people write it."""
    low, high = contender.horizon.reach_band(share)
    reach = contender.horizon.reach(share)
    if low == high or reach > MAX_LAG:
        return _lag(reach)
    return f"{_lag(reach)} ({_lag(low)}–{_lag(high)})"


def _summary(contenders: Sequence[Contender]) -> str:
    above = [f"above {100 * share:g} %" for share in REACH_SHARES]
    header = ("cell", "units", "parameters", "bits per byte", *above, f"left at {FAR_LAG}")
    rows = [
        (
            contender.config.cell,
            f"{contender.config.hidden_size:,}",
            f"{contender.parameters:,}",
            f"{contender.bits_per_byte:.3f}",
            *(reach_text(contender, share) for share in REACH_SHARES),
            f"{contender.far_influence:.0e}",
        )
        for contender in contenders
    ]
    words = (
        "Fewer bits per byte are better. The last columns: for how many bytes back the influence "
        "of an input stays above a share of that of the newest one, with the 95 % band; and "
        f"what share is left {FAR_LAG} bytes back."
    )
    return table(header, rows) + paragraph(words, quiet=True)


def _memory(contenders: Sequence[Contender]) -> list[str]:
    horizons = {contender.config.cell: contender.horizon for contender in contenders}
    alt = "Influence against lag. " + " ".join(
        f"{c.config.cell} falls below 1 % after {reach_text(c, 0.01)} bytes "
        f"and has {c.far_influence:.0e} left at {FAR_LAG}."
        for c in contenders
    )
    caption = (
        f"Influence of the byte k steps back, mean and 95 % band over "
        f"{len(contenders[0].horizon.influence)} places of the held-out text."
    )
    return [paragraph(INFLUENCE), figure(draw_horizons(horizons).in_page, alt, caption)]


def _progress(run: Run) -> list[str]:
    """How the cost of what is learned from and of what is held out went, and where it was best."""
    records = list(run.records())
    parts = {"training": curve(records, "train"), "held out": curve(records, "valid")}
    ends = ", ".join(
        f"{name} ends at {points[-1].bits_per_byte:.3f}" for name, points in parts.items() if points
    )
    curves = {name: _curve(_thinned(points)) for name, points in parts.items() if points}
    svg = draw_learning_curves(curves, "megabytes read").in_page
    caption = "Cost of a byte in the course of training: of the text learned from, and held out."
    words = [paragraph(BITS), figure(svg, f"Bits per byte against bytes read: {ends}.", caption)]
    if best := run.about_best():
        words.append(paragraph(f"The best on held-out text was {best}."))
    return words


def _thinned(points: list[Record]) -> list[Record]:
    """Evenly spread points, the last one among them, no more than can be told apart."""
    apart = -(-len(points) // MOST_POINTS)
    return points[::-1][::apart][::-1]


def _curve(records: Sequence[Record]) -> Curve:
    return [r.bytes / 1e6 for r in records], [r.bits_per_byte for r in records]


def _learning(validations: dict[str, list[Record]]) -> list[str]:
    curves: dict[str, Curve] = {name: _curve(records) for name, records in validations.items()}
    alt = "Bits per byte against bytes read. " + " ".join(
        f"{name} ends at {records[-1].bits_per_byte:.3f}."
        for name, records in validations.items()
        if records
    )
    svg = draw_learning_curves(curves, "megabytes read").in_page
    return [paragraph(BITS), figure(svg, alt, "Cost of held-out text in the course of training.")]


def _gates(contenders: Sequence[Contender]) -> list[str]:
    words = (
        f"{COLUMNS} A gate near 1 is open, near 0 closed. In an LSTM the "
        "input gate i lets the new in, the forget gate f keeps the old, the output gate o gives "
        "it out, and c is what is kept. In a GRU the update gate z keeps the old and the reset "
        "gate r decides how much of it the new may see. A vanilla RNN has no gate: all of its "
        "state h is overwritten with every byte."
    )
    return [paragraph(words), *(_gate_map(contender) for contender in contenders)]


def _gate_map(contender: Contender) -> str:
    cell, passage = contender.config.cell, contender.passage
    panels = ", ".join([*passage.gates, *passage.states])
    alt = f"{cell}: {panels} of units {', '.join(map(str, passage.units))}, {_activity(passage)}"
    caption = (
        f"{cell}: {panels} of the {len(passage.units)} units that change most over the passage; "
        "the number of the unit stands at the left."
    )
    return figure(draw_passage(passage, f"passage-{cell}").in_page, alt, caption, wide=True)


def _activity(passage: Passage) -> str:
    """Say in words what can be said of a heat map: how open each gate is on average."""
    means = [f"{name} is {values.mean():.0%} open" for name, values in passage.gates.items()]
    return (", ".join(means) or "no gates") + " on average."


def _method(contenders: Sequence[Contender], corpus: Corpus) -> list[str]:
    config = contenders[0].config
    last = contenders[0].validations[-1]
    words = (
        f"All read the same {last.bytes:,} bytes in the same order, {last.step:,} steps of "
        f"{config.batch_size} streams × {config.window} bytes (truncated back-propagation with "
        f"carried state), with AdamW and one schedule whose peak is {_rates(contenders)}, from "
        "torch's own initial weights, and with hidden sizes chosen so that the models have "
        "equally many parameters. The norm is the Frobenius "
        "norm of the Jacobian with respect to the input's embedding, estimated with random sign "
        f"vectors from 0 to {MAX_LAG} bytes back; its band is a bootstrap over places of the text."
    )
    settings = config.model_dump(
        mode="json", exclude_none=True, exclude={"cell", "hidden_size", "files", "learning_rate"}
    )
    notes = [paragraph(note, quiet=True) for note in corpus.notes]
    checksum = {"sha256 of the text": corpus.sha256[:16]}
    rows = _rows({**settings, **checksum})
    return [paragraph(words), *notes, table(("setting", "value"), rows)]


def _rates(contenders: Sequence[Contender]) -> str:
    return ", ".join(f"{c.config.peak_rate:g} for {c.config.cell}" for c in contenders)


def _origin(run: Run) -> dict[str, str]:
    return {"sha256 of the text": run.manifest.corpus_sha256[:16], **run.manifest.versions}


def _rows(settings: dict[str, object]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), str(value)) for name, value in settings.items()]


def _lag(reach: int) -> str:
    return f"{reach}" if reach <= MAX_LAG else f">{MAX_LAG}"
