"""Columns of small tables of series."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np


def hours(count: int, first: str = "2024-01-01") -> list[str]:
    """Times one hour apart."""
    begin = datetime.fromisoformat(first)
    return [(begin + timedelta(hours=k)).isoformat() for k in range(count)]


def daily_wave(count: int, *, size: float = 1.0, seed: int = 0) -> np.ndarray:
    """Values that come again after 24 steps, with some noise."""
    noise = np.random.default_rng(seed).standard_normal(count)
    return size * (3 + np.sin(2 * np.pi * np.arange(count) / 24) + 0.2 * noise)
