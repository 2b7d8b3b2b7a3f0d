"""Letters of any script in a figure: a font that has them, or their code points in their place.

matplotlib draws letters from the fonts of this machine. A browser that shows an SVG has fonts of
its own, so there the letters themselves may stand; see `gatework.lens.drawing.Plot`.
"""

from __future__ import annotations

import unicodedata
from functools import cache

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font
from matplotlib.text import Text

__all__ = ["cells", "font_with", "spell_out"]

FONTS = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans CJK KR"),
    *("Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Droid Sans Fallback"),
    *("PingFang SC", "Hiragino Sans", "Hiragino Sans GB", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "SimHei", "SimSun", "Yu Gothic", "MS Gothic", "Malgun Gothic"),
    *("Noto Sans Thai", "Noto Sans Devanagari", "Noto Sans Arabic", "Noto Sans Hebrew"),
    *("Noto Sans Symbols2", "Noto Emoji", "Segoe UI", "Segoe UI Symbol", "Segoe UI Emoji"),
    *("Leelawadee UI", "Thonburi", "Nirmala UI", "Kohinoor Devanagari", "Arial Unicode MS"),
)
"""Looked through in this order; which of them there are is different on each machine."""


@cache
def font_with(text: str) -> str | None:
    """Return the first font that has every letter of a text, None where there is none."""
    there = set(fontManager.get_font_names())
    return next((f for f in FONTS if f in there and all(map(_glyphs(f).__contains__, text))), None)


@cache
def _glyphs(font: str) -> frozenset[str]:
    path = findfont(FontProperties(family=[font]), fallback_to_default=False)
    return frozenset(map(chr, get_font(path).get_charmap()))


def spell_out(figure: Figure) -> dict[Text, str]:
    """Give every text of a figure a font that has its letters, or write code points instead.

    Returns:
        What the texts were that are written as code points now, such as "U+5927".
    """
    spelled = {}
    for text in figure.findobj(Text):
        whole = text.get_text()
        if whole.isascii():
            continue
        font = font_with(whole)
        if font is None:
            spelled[text] = whole
            text.set_text("".join(c if font_with(c) else f"U+{ord(c):04X}" for c in whole))
            font = font_with(text.get_text())
        text.set_fontfamily([font or FONTS[0]])
    return spelled


def cells(text: str) -> int:
    """Return how many columns a text takes in a fixed-width font: two for 大, none for a mark."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return max(1, len(text) + wide - sum(unicodedata.category(c)[0] == "M" for c in text))
