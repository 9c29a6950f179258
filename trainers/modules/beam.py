"""Which of all reports does a decoder find most probable? Beam search, a batch at a time.

Shapes: B reports, K beams of each, T steps, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

BEGIN = END = 0
"""One id for both, as R2Gen has it."""

State = list[Tensor]
"""What a decoder remembers of the words so far; of each tensor the first axis is (B * K)."""
Step = Callable[[Tensor, State], tuple[Tensor, State]]
"""Takes the last words (B * K,) and the state, returns the next words' logits and a new state."""


class Best(NamedTuple):
    """The best finished report of each, so far."""

    score: Tensor
    """(B,) the sum of its words' log-probabilities, the end included; -inf without any."""
    ids: Tensor
    """(B, T) its words, then `END`."""


@torch.no_grad()
def search(
    step: Step,
    state: State,
    *,
    batch: int,
    device: torch.device,
    beams: int,
    longest: int,
    shortest: int = 0,
) -> Tensor:
    """Return the ids (B, T) of the most probable reports that were found, `END` behind each.

    Of all continuations of a report's beams the K most probable are kept; those that end are put
    aside, and the others go on. What has not ended after `longest` words counts as it is. Scores
    are sums of log-probabilities, not divided by length, so that a search is over as soon as no
    beam can overtake what has ended. One beam is greedy decoding.

    Source: R2Gen's released code (after ruotianluo's captioning code) without its options, all of
    which are off there.

    Args:
        step: the decoder.
        state: of one beam a report, first axis (B,); may be empty.
        batch: B.
        device: where the decoder lies.
        beams: K.
        longest: most words, T.
        shortest: fewest words; the end is not allowed before.
    """
    words = torch.full((batch,), BEGIN, device=device)
    score = torch.zeros(batch, 1, device=device)
    ids = torch.empty(batch, 1, 0, dtype=torch.long, device=device)
    best = Best(
        torch.full((batch,), -torch.inf, device=device),
        torch.full((batch, longest), END, device=device),
    )
    for done in range(longest):
        logits, state = step(words, state)
        chance = logits.float().log_softmax(dim=1).unflatten(0, (batch, -1))  # (B, K or 1, V)
        if done < shortest:
            chance[..., END] = -torch.inf
        total = (score[:, :, None] + chance).flatten(1)
        score, place = total.topk(min(beams, total.shape[1]), dim=1)  # (B, K)
        beam, word = place // chance.shape[2], place % chance.shape[2]
        rows = beam + torch.arange(batch, device=device)[:, None] * chance.shape[1]
        before = ids.gather(1, beam[:, :, None].expand(-1, -1, done))
        ids = torch.cat([before, word[:, :, None]], dim=2)
        over = (word == END) | (done == longest - 1)
        best = _better(best, score, ids, over)
        score = score.masked_fill(over, -torch.inf)
        if (score.amax(dim=1) <= best.score).all():
            break
        words, state = word.flatten(), [part[rows.flatten()] for part in state]
    return best.ids


def _better(best: Best, score: Tensor, ids: Tensor, over: Tensor) -> Best:
    """Return the better of `best` and the best of the beams that are `over`."""
    top, which = score.masked_fill(~over, -torch.inf).max(dim=1)
    found = ids.gather(1, which[:, None, None].expand(-1, 1, ids.shape[2]))[:, 0]
    longer = torch.full_like(best.ids, END)
    longer[:, : found.shape[1]] = found
    ahead = top > best.score
    return Best(torch.where(ahead, top, best.score), torch.where(ahead[:, None], longer, best.ids))
