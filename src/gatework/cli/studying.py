"""`gatework studio`."""

from __future__ import annotations

import threading
import webbrowser
from importlib.util import find_spec
from pathlib import Path

import torch
from rich.console import Console

from gatework.data import InputError

__all__ = ["study"]

NEEDED = ("starlette", "uvicorn")
HIGHEST_PORT = 65_535


def study(path: Path, port: int, open_page: bool) -> None:
    """Serve the studio until Ctrl-C.

    Args:
        path: a run folder, or a folder of runs.
        port: where; 0 for any that is free.
        open_page: whether to open it in a browser.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise InputError(
            f"the studio needs {' and '.join(missing)}",
            "Gatework with its optional part for the studio",
            "pip install 'gatework[studio]'",
        )
    if not 0 <= port <= HIGHEST_PORT:
        raise InputError(f"--port {port}", f"from 0 to {HIGHEST_PORT}", "write --port 8407")
    from gatework.studio.models import open_models
    from gatework.studio.serving import serve

    torch.set_num_threads(1)  # one sequence at a time leaves nothing to share
    console = Console(highlight=False, markup=False, soft_wrap=True)
    models = open_models(path)

    def ready(address: str) -> None:
        console.print(f"studio  {address}  ({', '.join(m.name for m in models)})")
        console.print("Ctrl-C ends it; it answers this machine alone")
        if open_page:
            threading.Timer(0.5, webbrowser.open, [address]).start()

    serve(models, port, ready)
