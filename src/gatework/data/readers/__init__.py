"""Readers of files with sequences of numbers, one a kind of file."""
