"""The clockwork RNN (Koutník, Greff, Gomez & Schmidhuber 2014)."""

from gatework.lang import cat, cell, chunk, linear, tanh, where


@cell(sizes={"t": "1"})
def clockwork_rnn(x, h, t, *, modules=4):
    """CW-RNN: modules that run at every 1st, 2nd, 4th, … step (Koutník et al. 2014, eq. 1 and 3).

    The modules are equal parts of the state, the fastest first. Each reads itself and those that
    are slower, which makes the recurrent matrix block upper triangular; between its steps it stays
    as it is. `t` counts the steps; all run at the first, 0.

    Args:
        modules: How many there are; the periods are powers of 2.
    """
    parts = chunk(h, modules)
    size, new = f"hidden/{modules}", []
    for k, old in enumerate(parts):
        n = tanh(linear(f"n{k}", x, cat(parts[k:]), size=size, group=None))
        new.append(where(t % 2**k < 1, n, old))
    return cat(new), (t + 1) % 2 ** (modules - 1)
