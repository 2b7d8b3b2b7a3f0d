"""Right models of the kinds that people build: the doctor accuses none of them."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatework as gw

pytestmark = pytest.mark.slow

B, T, I, H, V = 4, 6, 5, 8, 11
LENGTHS = torch.tensor([6, 2, 5, 3])


def tokens(*shape):
    return torch.randint(1, V, shape, generator=torch.Generator().manual_seed(0))


def normal(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def padded_tokens():
    return tokens(B, T) * (torch.arange(T) < LENGTHS[:, None])


class LanguageModel(nn.Module):
    """Time first, tied weights, the state in and out, logits of all steps in one row."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, H)
        self.rnn = nn.LSTM(H, H, num_layers=2, dropout=0.5)
        self.head = nn.Linear(H, V)
        self.head.weight = self.embed.weight

    def forward(self, x, state=None):
        y, state = self.rnn(self.embed(x), state)
        return self.head(y.reshape(-1, H)), state


class Crnn(nn.Module):
    """Text in images: convolutions, columns as steps, logits time first for CTC."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.MaxPool2d(2))
        self.rnn = nn.LSTM(3 * 4, H, bidirectional=True)
        self.head = nn.Linear(2 * H, V)

    def forward(self, x):
        features = self.conv(x).permute(3, 0, 1, 2).flatten(2)
        return self.head(self.rnn(features)[0]).log_softmax(-1)


class CharTagger(nn.Module):
    """Words from their characters' final states, then a tagger over packed sentences."""

    def __init__(self):
        super().__init__()
        self.chars = nn.Embedding(V, I, padding_idx=0)
        self.word = nn.GRU(I, H, batch_first=True, bidirectional=True)
        self.sentence = nn.LSTM(2 * H, H, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * H, 3)

    def forward(self, chars, lengths):
        words, each = chars.shape[1:]
        _, state = self.word(self.chars(chars.view(-1, each)))
        x = torch.cat([state[0], state[1]], -1).view(-1, words, 2 * H)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.head(pad_packed_sequence(self.sentence(packed)[0], batch_first=True)[0])


class Translator(nn.Module):
    """An encoder, attention over its steps, a decoder that is called step by step."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, I, padding_idx=0)
        self.encoder = gw.nn.GRU(I, H, batch_first=True, bidirectional=True)
        self.bridge = nn.Linear(2 * H, H)
        self.decoder = gw.nn.GRU(I + 2 * H, H, batch_first=True)
        self.query, self.head = nn.Linear(H, 2 * H), nn.Linear(H, V)

    def forward(self, source, target):
        real = source != 0
        keys, state = self.encoder(self.embed(source), lengths=real.sum(1))
        state = self.bridge(torch.cat([*state], -1))[None]
        rows = []
        for word in self.embed(target).unbind(1):
            scores = (keys @ self.query(state[-1])[..., None])[..., 0]
            weights = scores.masked_fill(~real, -torch.inf).softmax(-1)
            context = (weights[:, None] @ keys)[:, 0]
            y, state = self.decoder(torch.cat([word, context], -1)[:, None], state)
            rows.append(self.head(y[:, 0]))
        return torch.stack(rows, 1)


class Siamese(nn.Module):
    """The same layer twice in one call, and logits of every pair."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H, batch_first=True)

    def forward(self, one, other):
        left, right = (self.rnn(x)[1][-1] for x in (one, other))
        return nn.functional.normalize(left) @ nn.functional.normalize(right).T


class Contrastive(nn.Module):
    """Each example against its neighbour in the batch."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H, batch_first=True)

    def forward(self, x):
        state = self.rnn(x)[1][-1]
        return (state * state.roll(1, 0)).sum(-1)


class Policy(nn.Module):
    """Reinforcement learning: features, a carried state, an action and a value."""

    def __init__(self):
        super().__init__()
        self.features = nn.Linear(I, H)
        self.rnn = gw.nn.LSTM(H, H)
        self.actor, self.critic = nn.Linear(H, 3), nn.Linear(H, 1)

    def forward(self, observation, state, done):
        y, state = self.rnn(self.features(observation), state, resets=done)
        return {"logits": self.actor(y), "value": self.critic(y)[..., 0]}, state


class Forecaster(nn.Module):
    """Scales its input, reads the last step, predicts the next three."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(1, H, num_layers=2, batch_first=True)
        self.head = nn.Linear(H, 3)

    def forward(self, series):
        scale = series.abs().mean(1, keepdim=True)
        y, _ = self.rnn((series / scale)[..., None])
        return self.head(y[:, -1]) * scale


class ManySeries(nn.Module):
    """The sequences of the batch are parts of one whole: each step's row reads all of them."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(I, H)
        self.head = nn.Linear(B * H, 2)

    def forward(self, x):
        return self.head(self.rnn(x)[0].flatten(1))


class Attending(nn.Module):
    """Attention over real steps; stacked bidirectional layers; lengths for all."""

    def __init__(self):
        super().__init__()
        self.lower = gw.nn.GRU(I, H, batch_first=True, bidirectional=True)
        self.upper = gw.nn.GRU(2 * H, H, batch_first=True, bidirectional=True)
        self.score, self.head = nn.Linear(2 * H, 1), nn.Linear(2 * H, 3)

    def forward(self, x, lengths):
        y = self.upper(self.lower(x, lengths=lengths)[0], lengths=lengths)[0]
        behind = torch.arange(T) >= lengths[:, None]
        weights = self.score(y)[..., 0].masked_fill(behind, -torch.inf).softmax(-1)
        return self.head((weights[:, None] @ y)[:, 0])


class CarryingAgent(nn.Module):
    """A policy that carries its state, begins with a learned one and resets at episode ends."""

    def __init__(self):
        super().__init__()
        self.rnn = gw.nn.LSTM(I, H, learned_state=True)
        self.carry = gw.nn.Carry(self.rnn)
        self.head = nn.Linear(H, 2)

    def forward(self, x):
        resets = (x[..., 0] > 1).roll(1, 0)
        y, _ = self.carry(x, resets=resets)
        self.carry.reset([0])
        return self.head(y)


class LearnedStart(nn.Module):
    """A learned initial state that the model hands in itself."""

    def __init__(self):
        super().__init__()
        self.rnn = gw.nn.GRU(I, H, learned_state=True)

    def forward(self, x):
        return self.rnn(x, 2 * self.rnn.initial_state(x.shape[1]))[0]


class LastToken(nn.Module):
    """Padding in front: the last step is every sequence's own."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(V, I, padding_idx=0)
        self.rnn = nn.LSTM(I, H, batch_first=True)

    def forward(self, x):
        return self.rnn(self.embed(x))[0][:, -1]


class Sampling(nn.Module):
    """A variational autoencoder, random in eval mode too."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = nn.GRU(I, H), nn.GRU(H, I)

    def forward(self, x):
        state = self.encoder(x)[1]
        drawn = state + torch.randn_like(state)
        return self.decoder(drawn.expand(len(x), -1, -1))[0]


class Chunked(nn.Module):
    """Long sequences in pieces, as more sequences."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(I, H, batch_first=True)

    def forward(self, x):
        y = self.rnn(x.reshape(-1, T // 2, I))[0]
        return y.reshape(len(x), T, H).mean(1)


class Agent(nn.Module):
    """A single step in a loop over the observations, its state kept for the next call."""

    def __init__(self):
        super().__init__()
        self.step, self.head, self.state = nn.LSTMCell(I, H), nn.Linear(H, 3), None

    def forward(self, observations):
        rows = []
        for row in observations:
            self.state = self.step(row, self.state)
            rows.append(self.head(self.state[0]))
        self.state = tuple(s.detach() for s in self.state)
        return torch.stack(rows)


CASES = {
    "language model": (LanguageModel, lambda: (tokens(T, B), None)),
    "language model with a state": (
        LanguageModel, lambda: (tokens(T, B), (normal(2, B, H), normal(2, B, H)))
    ),
    "text in images": (Crnn, lambda: normal(B, 1, 8, 2 * T)),
    "characters and words": (CharTagger, lambda: (tokens(B, T, 3), LENGTHS)),
    "translator": (Translator, lambda: (padded_tokens(), tokens(B, 3))),
    "siamese": (Siamese, lambda: (normal(B, T, I), normal(B, T, I).flip(0))),
    "contrastive": (Contrastive, lambda: normal(B, T, I)),
    "policy": (
        Policy,
        lambda: (normal(T, B, I), (normal(1, B, H), normal(1, B, H)), torch.eye(T, B).bool()),
    ),
    "forecaster": (Forecaster, lambda: normal(B, T)),
    "many series": (ManySeries, lambda: normal(T, B, I)),
    "attention": (Attending, lambda: (normal(B, T, I), LENGTHS)),
    "padding in front": (LastToken, lambda: padded_tokens().flip(1)),
    "agent": (Agent, lambda: normal(T, B, I)),
    "sampling": (Sampling, lambda: normal(T, B, I)),
    "chunked": (Chunked, lambda: normal(B, T, I)),
    "carrying agent": (CarryingAgent, lambda: normal(T, B, I)),
    "learned start": (LearnedStart, lambda: normal(T, B, I)),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:gatework.accelerate")  # some are Gatework's already
@pytest.mark.parametrize("accelerated", [False, True], ids=["as it is", "accelerated"])
@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_right_architectures_are_not_accused(case, accelerated):
    make, batch = case
    torch.manual_seed(0)
    model = make()
    report = gw.doctor(gw.accelerate(model) if accelerated else model, batch())
    assert report.ok, report
