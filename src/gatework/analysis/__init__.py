"""What the equations of a cell say, for any cell.

gates.py        which values are gates, which of them keep a state and which write it
memory.py       how much of a state stays, and on which way
ranges.py       between which numbers a value lies
calculus.py     the derivative of each function
equivalence.py  whether two cells compute the same
"""
