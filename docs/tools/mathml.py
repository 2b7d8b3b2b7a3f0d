"""A hook of mkdocs: formulas become MathML when the site is built.

Browsers draw MathML themselves, so the pages need no script and no network.
"""

from __future__ import annotations

import html
import re
from typing import Any

from latex2mathml.converter import convert

INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.DOTALL)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.DOTALL)


def on_page_content(page_html: str, **_: Any) -> str:
    """Replace what pymdownx.arithmatex marked."""
    return INLINE.sub(_inline, BLOCK.sub(_block, page_html))


def _inline(match: re.Match[str]) -> str:
    return convert(html.unescape(match[1]).strip())


def _block(match: re.Match[str]) -> str:
    formula = convert(html.unescape(match[1]).strip(), display="block")
    return f'<div class="formula">{formula}</div>'
