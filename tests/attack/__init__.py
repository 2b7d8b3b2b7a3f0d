"""Attacks with random inputs: bounded ones are part of the tests, long ones are run by hand.

    python tests/attack/run.py --minutes 30 --seed 7

An attack is a function of a seed that raises when it finds something wrong. Each is deterministic,
so that what it found is found again by its name and seed.
"""
