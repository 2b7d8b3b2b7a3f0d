"""Serving the studio on this machine, until Ctrl-C."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from gatework.data import InputError
from gatework.studio.models import Studied
from gatework.studio.server import host_names, make_app

__all__ = ["LOOPBACK", "serve"]

LOOPBACK = "127.0.0.1"


def serve(models: Sequence[Studied], port: int, ready: Callable[[str], None]) -> None:
    """Serve the studio to this machine alone, until it is interrupted.

    Args:
        models: What is shown.
        port: Where; 0 for any that is free.
        ready: Called with the page's address when it can be opened.

    Raises:
        InputError: The port is taken.
    """
    import uvicorn

    listener = _listener(port)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        make_app(models, host_names(port)),
        log_level="warning",
        access_log=False,
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    ready(f"http://{LOOPBACK}:{port}/")
    server.run(sockets=[listener])


def _listener(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise InputError(
            f"port {port} cannot be used ({error.strerror})",
            "a port that nothing else on this machine uses",
            "name another with --port, or --port 0 for any",
        ) from None
    listener.listen()
    return listener
