"""The command `gatework`."""

from gatework.cli.app import main

__all__ = ["main"]
