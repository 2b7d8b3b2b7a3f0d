"""An agent with a memory: many episodes in one sequence, and a reset where each begins.

For those who train agents. In a maze, a sign at the entrance says which of four doors is right.
Then comes a corridor of unknown length, and at its end are the doors. Who has chosen begins anew in
another maze. Sixteen agents with one network act side by side, step by step. They learn from the
same forty steps in one call: the state they came with goes in, `resets=` says where episodes begin.

    $ python examples/agent_with_resets.py
    rollout   1: 0.7... of the choices are wrong
    ...
    rollout 150: 0.0... of the choices are wrong
    in one more rollout ... episodes began, and ... went on from the one before
    in one call with resets= the scores are those of acting: True
    without resets= they are: False
"""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

import gatework as gw

DOORS, AGENTS, STEPS = 4, 16, 40
SHORTEST, LONGEST = 3, 10  # steps from the sign to the doors


class Mazes:
    """Mazes side by side, each with its sign, and the steps that are left to its doors."""

    def __init__(self) -> None:
        self.begins = torch.ones(AGENTS, dtype=torch.bool)
        self.right = self.left = torch.zeros(AGENTS, dtype=torch.long)

    def look(self) -> Tensor:
        """What agents see, [B, DOORS + 1]: the sign at the entrance; whether doors are there."""
        new = torch.randint(DOORS, (AGENTS,)), torch.randint(SHORTEST, LONGEST + 1, (AGENTS,))
        self.right = torch.where(self.begins, new[0], self.right)
        self.left = torch.where(self.begins, new[1], self.left - 1)
        sign = nn.functional.one_hot(self.right, DOORS) * self.begins[:, None]
        return torch.cat([sign, (self.left == 0)[:, None]], 1).float()

    def choose(self, doors: Tensor) -> Tensor:
        """1 for a right door and 0 for a wrong one; NaN where there are no doors yet."""
        self.begins = self.left == 0
        return torch.where(self.begins, (doors == self.right).float(), torch.nan)


class Agent(nn.Module):
    """A GRU and, from its output, the scores of the doors."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = gw.nn.GRU(DOORS + 1, 32)
        self.scores = nn.Linear(32, DOORS)


@torch.no_grad()
def act(agent: Agent, stream: gw.nn.Stream, mazes: Mazes) -> list[Tensor]:
    """Forty steps: what was seen, where episodes began, scores, choices and rewards, [T, B, …]."""
    steps = []
    for _ in range(STEPS):
        begins, seen = mazes.begins, mazes.look()
        stream.reset(begins)
        scores = agent.scores(stream.step(seen))
        doors = Categorical(logits=scores).sample()
        steps.append((seen, begins, scores, doors, mazes.choose(doors)))
    return [torch.stack(part) for part in zip(*steps, strict=True)]


def main() -> None:
    """Act and learn in turn, then compare the two."""
    torch.set_num_threads(1)  # there is too little work to share
    torch.manual_seed(0)
    agent, mazes = Agent(), Mazes()
    optimizer = torch.optim.Adam(agent.parameters(), lr=0.01)
    stream = agent.memory.stream(batch_size=AGENTS)  # sees what was learned at its next step
    for number in range(1, 151):
        came_with = stream.state
        seen, begins, scores, doors, rewards = act(agent, stream, mazes)
        y, _ = agent.memory(seen, came_with, resets=begins)
        chosen = Categorical(logits=agent.scores(y)).log_prob(doors)
        better = (rewards - rewards.nanmean()).nan_to_num()  # than usual; 0 where nothing is chosen
        loss = -(better * chosen).mean()  # REINFORCE (Williams 1992)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if number == 1 or number % 30 == 0:
            print(f"rollout {number:3}: {1 - rewards.nanmean():.2f} of the choices are wrong")

    came_with = stream.state
    seen, begins, scores, *_ = act(agent, stream, mazes)
    print(
        f"in one more rollout {begins.sum()} episodes began, and {(~begins[0]).sum()} went on from "
        "the one before"
    )
    with torch.no_grad():
        at_once, forgetting = (agent.memory(seen, came_with, resets=r)[0] for r in (begins, None))
    same = [torch.allclose(agent.scores(y), scores, atol=1e-4) for y in (at_once, forgetting)]
    print(f"in one call with resets= the scores are those of acting: {same[0]}")
    print(f"without resets= they are: {same[1]}")


if __name__ == "__main__":
    main()
