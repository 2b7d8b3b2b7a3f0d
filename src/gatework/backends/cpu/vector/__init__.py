"""What machine code is written with: values, vectors, tiles, functions. Knows no plan."""
