"""What a cell is, shown: its equations, derivative, plan and cost in words, its data flow drawn.

explanation.py   `gatework.explain`: equations, derived equations, the plan, the cost of a step
flow.py          equations → nodes and wires: what a textbook would draw
layout.py        nodes and wires → places: columns from left to right, no two things in one place
svg.py           places → SVG
"""

from gatework.show.svg import cell_svg

__all__ = ["cell_svg"]
