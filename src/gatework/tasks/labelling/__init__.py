"""Labels: a class or a number for each sequence, or a class for each row."""
