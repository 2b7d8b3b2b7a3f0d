"""`gatework studio`."""

from __future__ import annotations

import threading
import webbrowser
from pathlib import Path

import torch

from gatework.cli.terminal import Terminal

__all__ = ["study"]


def study(path: Path, port: int, open_page: bool, last: bool) -> None:
    """Serve the studio until Ctrl-C.

    Args:
        path: a run folder, or a folder of runs.
        port: where; 0 for any that is free.
        open_page: whether to open it in a browser.
        last: show the models that the runs ended with, not the best ones.
    """
    from gatework.studio.models import open_models
    from gatework.studio.serving import serve

    torch.set_num_threads(1)  # one sequence at a time leaves nothing to share
    console = Terminal()
    models = open_models(path, last=last)

    def ready(address: str) -> None:
        console.print(f"studio  {address}  ({', '.join(m.name for m in models)})")
        for one in models:
            if not last and (best := one.run.about_best()):
                console.print(f"model   {one.name}: the best, {best} (--last for that one)")
        console.print("Ctrl-C ends it; it answers this machine alone")
        if open_page:
            threading.Timer(0.5, webbrowser.open, [address]).start()

    serve(models, port, ready)
