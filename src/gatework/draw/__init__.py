"""A cell's data flow as a picture, drawn from its equations.

flow.py    equations → nodes and wires: what a textbook would draw
layout.py  nodes and wires → places: columns from left to right, no two things in one place
svg.py     places → SVG
"""

from gatework.draw.svg import cell_svg

__all__ = ["cell_svg"]
