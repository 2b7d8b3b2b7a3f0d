"""Serving the studio on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from gatework.errors import InputError
from gatework.studio.models import Studied
from gatework.studio.server import PATIENCE, host_names, make_app

__all__ = ["LOOPBACK", "serve"]

LOOPBACK = "127.0.0.1"
MOST_CONNECTIONS = 800
"""Open at the same time; a process may have a thousand files open on most systems."""


class Protocol(H11Protocol):
    """HTTP to clients that finish the head of a request within `PATIENCE` seconds.

    Those that do not are left, so that a page is not kept waiting behind connections on which
    nothing ever comes.
    """

    _waiting = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to look after the client."""
        super().connection_made(transport)
        self.loop.call_later(PATIENCE / 2, self._look)

    def _look(self) -> None:
        """Leave a client that was seen in the same request's head at the last look already."""
        if self.transport.is_closing():
            return
        before, self._waiting = self._waiting, self.conn.their_state is h11.IDLE
        if before and self._waiting:
            self.transport.close()
        else:
            self.loop.call_later(PATIENCE / 2, self._look)


def serve(models: Sequence[Studied], port: int, ready: Callable[[str], None]) -> None:
    """Serve the studio to this machine alone, until it is interrupted.

    Args:
        models: What is shown.
        port: Where; 0 for any that is free.
        ready: Called with the page's address when it can be opened.

    Raises:
        InputError: The port is taken.
    """
    listener = _listener(port)
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        make_app(models, host_names(port)),
        http=Protocol,
        log_level="warning",
        access_log=False,
        ws="none",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=MOST_CONNECTIONS,
        backlog=MOST_CONNECTIONS,
        timeout_graceful_shutdown=1,
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
    listener.listen(MOST_CONNECTIONS)
    return listener
