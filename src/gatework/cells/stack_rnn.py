"""The stack-augmented RNN (Joulin & Mikolov 2015)."""

from gatework.lang import cat, cell, linear, sigmoid, softmax, split


@cell(sizes={"s": "depth"})
def stack_rnn(x, h, s, *, top=2):
    """Stack RNN: it learns when to push, to pop and to leave a stack (Joulin & Mikolov 2015).

    Equations 3 to 7 with one stack of numbers. The layer is given its `depth`; what is pushed
    beyond it is lost. Each action is taken to the extent of its share. An empty place is 0; the
    authors' code has -1 there, which is the same network with another bias of the state.

    Args:
        top: How many numbers on top of the stack the state reads, the paper's k.
    """
    h = sigmoid(
        linear("h", x) + linear("h", h, bias=False) + linear("h", s[:top], bias=False, group="top")
    )
    push, pop, keep = split(softmax(linear("a", h, size="3")), ["1", "1", "1"])
    pushed = cat([sigmoid(linear("d", h, size="1")), s[:-1]])
    popped = cat([s[1:], 0.0])
    return h, push * pushed + pop * popped + keep * s
