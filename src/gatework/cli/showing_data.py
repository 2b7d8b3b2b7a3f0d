"""`gatework data`: what is understood of files, before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from shlex import join
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gatework.cli.blocks import bar, curve, sparkline
from gatework.cli.terminal import Terminal
from gatework.data.overview import Seen, seen_in
from gatework.data.reading import read_sequences
from gatework.data.sequences import Sequences
from gatework.data.times import gaps_of, step_of, written
from gatework.tasks.settings import TableSettings, settings_of

__all__ = ["show_data"]

DOES = {
    "text": "predict each byte, or character, from all before it",
    "forecast": "predict how {target} goes on, from what was before",
    "classify": "predict the class of each sequence{target}",
    "regress": "predict a number for each sequence{target}",
    "tag": "predict the class of each row{target}",
}
"""What is learned by each kind of task."""
PARTS = {
    "id": "tells sequences apart",
    "time": "time",
    "target": "to be predicted",
    "input": "read",
    "future": "known ahead",
    "static": "of whole sequences",
}
CHANGES = {
    "--target COLUMN": "what is predicted",
    "--id COLUMN": "tells sequences apart",
    "--time-column COLUMN": "puts rows in order",
    "--inputs COLUMN,…": "what is read; all others, unless given",
    "--static COLUMN,…": "what holds for whole sequences",
    "--ignore COLUMN,…": "what is left out",
}
AHEAD = {
    "--future COLUMN,…": "what is known ahead, such as holidays",
    "--horizon N": "steps ahead; 24, unless given",
}
UNITS = {1: "second", 60: "minute", 3600: "hour", 86_400: "day", 7 * 86_400: "week"}
WIDTH, HEIGHT, SPARK = 64, 8, 24
MOST_COLUMNS, MOST_CLASSES = 30, 12
"""What is shown at most."""


def show_data(files: list[Path], kind: str, asked: Mapping[str, Any]) -> None:
    """Print what files are taken for, what is in them, and how to have it otherwise.

    Args:
        files: to be read.
        kind: of the task.
        asked: settings of the task that were asked for.

    Raises:
        InputError: they cannot be used.
    """
    settings = settings_of({**{n: v for n, v in asked.items() if n != "task"}, "kind": kind})
    console = Terminal()
    if not isinstance(settings, TableSettings):
        _show_text(console, files, settings, asked)
        return
    sequences = read_sequences(files, settings, kind)
    _show_task(console, sequences, kind)
    _show_columns(console, sequences)
    _show_labels(console, sequences)
    if kind == "forecast":
        _show_curve(console, sequences)
    for note in sequences.notes:
        console.print(f"note    {note}")
    try:
        _show_held_out(console, settings, files)
    finally:  # also where it cannot be learned as it is
        _show_changes(console, sequences, files, asked, kind)


# ---- texts


def _show_text(
    console: Console, files: list[Path], settings: Any, asked: Mapping[str, Any]
) -> None:
    from gatework.tasks import task_class

    source: Any
    task, source = task_class("text").load(settings, tuple(files))
    learned, held_out = source.sizes
    console.print(f"task    text: {DOES['text']}")
    console.print(
        f"file    {source.name}: {learned:,} {task.counted} to learn from, {held_out:,} held out"
    )
    beginning = bytes(source.train[:2000].tolist()) if task.counted == "bytes" else b""
    for line in beginning.decode("utf-8", "replace").splitlines()[:5]:
        console.print(f"        {line[:100]}")
    for note in source.notes:
        console.print(f"note    {note}")
    console.print(f"\ntrain   {_command('train', files, asked)}")
    console.print("change  --symbols characters  what a step reads: characters, not bytes")


# ---- sequences


def _show_task(console: Console, sequences: Sequences, kind: str) -> None:
    target = ", ".join(name for name, part in sequences.parts.items() if part == "target")
    named = f", {target}" if target else ""
    words = DOES[kind].format(
        target=(target or sequences.columns[0]) if kind == "forecast" else named
    )
    console.print(f"task    {kind}: {words}")
    count, lengths = len(sequences), sequences.lengths
    rows = f"{int(lengths.sum()):,} rows"
    if count > 1:
        least, most = int(lengths.min()), int(lengths.max())
        each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        rows = f"{count:,} sequences of {each} rows, {rows} together"
    console.print(f"file    {sequences.name}: {rows}")
    if sequences.times is not None:
        console.print(f"time    {_span(sequences)}")


def _span(sequences: Sequences) -> str:
    times: Any = sequences.times
    begins, ends = times[sequences.starts[:-1]].min(), times[sequences.starts[1:] - 1].max()
    first, last = (written(float(time), dated=sequences.dated) for time in (begins, ends))
    step = step_of(sequences)
    how = "at irregular times" if step is None else f"every {_step(step, sequences.dated)}"
    gaps, left_out = gaps_of(sequences)
    missing = f", {len(gaps):,} gaps of {int(left_out.sum()):,} rows" if len(gaps) else ""
    return f"{first} to {last}, {how}{missing}"


def _step(step: float, dated: bool) -> str:
    """A step in time, in the unit that suits it.

    Example:
        >>> _step(3600.0, True), _step(1800.0, True), _step(2.5, False)
        ('hour', '30 minutes', '2.5')
    """
    if not dated:
        return f"{step:g}"
    if 27.5 * 86_400 < step < 31.5 * 86_400:
        return "month"
    unit = max((seconds for seconds in UNITS if step >= seconds), default=1)
    count = step / unit
    return UNITS[unit] if count == 1 else f"{count:g} {UNITS[unit]}s"


def _show_columns(console: Console, sequences: Sequences) -> None:
    seen = seen_in(sequences)
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("column", "is", "holds", "missing", f"in {sequences.ids[0]!r}"):
        table.add_column(title, justify="right" if title == "missing" else "left", overflow="fold")
    for name, part in sequences.parts.items():
        if name not in seen:
            table.add_row(Text(name), PARTS[part], _held(sequences, name, part), "", "")
    first = sequences.values[sequences.rows(0)]
    for k, (name, figures) in enumerate(list(seen.items())[:MOST_COLUMNS]):
        part = PARTS[sequences.parts.get(name, "input")]
        texts = sequences.categories.get(name)
        drawn = "" if texts else sparkline(first[:, k], SPARK)
        table.add_row(Text(name), part, _range(figures, texts), _share(figures, sequences), drawn)
    console.print()
    console.print(table, soft_wrap=False)
    if len(seen) > MOST_COLUMNS:
        console.print(f"and {len(seen) - MOST_COLUMNS:,} columns more")
    console.print()


def _held(sequences: Sequences, name: str, part: str) -> str:
    """What a column that is no value of the rows holds."""
    if part == "id":
        return _few(sequences.ids)
    if part == "target" and sequences.labels is not None:
        return _few(list(dict.fromkeys(sequences.labels.tolist())))
    if part == "time":
        return "dates" if sequences.dated else "numbers"
    return _few(sequences.categories[name]) if name in sequences.categories else ""


def _range(figures: Seen, texts: tuple[str, ...] | None) -> str:
    if texts:
        return _few(texts)
    if np.isnan(figures.least):
        return "nothing"
    return f"{figures.least:.4g} to {figures.most:.4g}"


def _few(texts: Any) -> str:
    """Some of many texts.

    Example:
        >>> _few(["a", "b", "c", "d"])
        'a, b, c … (4)'
    """
    shown = ", ".join(str(text)[:20] for text in texts[:3])
    return shown + (f" … ({len(texts):,})" if len(texts) > 3 else "")


def _share(figures: Seen, sequences: Sequences) -> str:
    if not figures.missing:
        return "–"
    return f"{figures.missing:,} ({figures.missing / len(sequences.values):.1%})"


def _show_labels(console: Console, sequences: Sequences) -> None:
    labels = sequences.labels
    if labels is None:
        return
    if labels.dtype.kind == "f":
        counts, edges = np.histogram(labels[np.isfinite(labels)], SPARK)
        console.print(f"target  {edges[0]:.4g} {sparkline(counts, SPARK)} {edges[-1]:.4g}\n")
        return
    counted = Counter(str(label) for label in labels.tolist())
    width = max(map(len, counted))
    most = max(counted.values())
    for name, count in counted.most_common(MOST_CLASSES):
        console.print(f"class   {name[:40]:{min(width, 40)}}  {count:>7,}  {bar(count / most, 30)}")
    if len(counted) > MOST_CLASSES:
        console.print(f"        and {len(counted) - MOST_CLASSES:,} classes more")
    console.print()


def _show_curve(console: Console, sequences: Sequences) -> None:
    """Draw the end of the first series, which is where forecasts begin."""
    width = min(WIDTH, max(20, console.width - 14))
    values = sequences.values[sequences.rows(0)][-2 * width :, 0]
    if np.isnan(values).all():
        return
    values = np.repeat(values, max(1, width // len(values)))
    of = f" of {sequences.ids[0]}" if len(sequences) > 1 else ""
    shown = min(int(sequences.lengths[0]), 2 * width)
    console.print(f"{sequences.columns[0]}{of}, the last {shown:,} rows", style="bold")
    least, most = f"{np.nanmin(values):.4g}", f"{np.nanmax(values):.4g}"
    for k, line in enumerate(curve(values, width, HEIGHT)):
        side = {0: most, HEIGHT - 1: least}.get(k, "")
        console.print(Text.assemble((f"{side:>9} │", "dim"), (line, "cyan")))
    console.print()


def _show_held_out(console: Console, settings: TableSettings, files: list[Path]) -> None:
    from gatework.tasks import task_class

    task, source = task_class(settings.kind).load(settings, tuple(files))
    learned, held_out = source.sizes
    console.print(f"learn   {learned:,} {task.counted}; {held_out:,} are held out")


def _show_changes(
    console: Console, sequences: Sequences, files: list[Path], asked: Mapping[str, Any], kind: str
) -> None:
    others = [k for k in ("forecast", "classify", "regress", "tag", "text") if k != kind]
    changes = {f"--task {'|'.join(others)}": "what is learned"}
    if sequences.parts:
        changes |= CHANGES
    if kind == "forecast":
        changes |= AHEAD
    console.print(f"\ntrain   {_command('train', files, asked)}")
    width = max(len(option) for option in changes if "|" not in option) if len(changes) > 1 else 0
    for k, (option, words) in enumerate(changes.items()):
        console.print(f"{'' if k else 'change':8}{option:{width}}  {words}")


def _command(name: str, files: list[Path], asked: Mapping[str, Any]) -> str:
    """The command that does something with the same files and settings."""
    options: list[str] = []
    for setting, value in asked.items():
        option = {"time": "--time-column"}.get(setting, f"--{setting.replace('_', '-')}")
        if value is True:
            options.append(option)
        elif isinstance(value, tuple):
            options += [option, ",".join(map(str, value))]
        else:
            options += [option, str(value)]
    return f"gatework {name} {join(map(str, files))} {join(options)}".strip()
