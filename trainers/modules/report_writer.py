"""How is a report written from the patches of its radiographs? R2Gen's transformer with a memory.

Patches go through a pre-norm encoder of their own. A relational memory of a few slots follows the
words as they are written, and moves scale and shift of every norm of the decoder. Without slots it
is a plain transformer.

Source: Chen et al., "Generating Radiology Reports via Memory-driven Transformer", EMNLP 2020,
sections 2.2 and 2.3, and the released code, whose sizes, activations, dropout and initialisation
are these. Ours: torch's LayerNorm, which divides by the biased deviation; words that were written
are not read again at every step, which changes nothing but the time.
Shapes: B reports, M patches of all images of one, T tokens, E encoder width, D width, H heads, S
slots, V vocabulary.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.modules.beam import State, search

EPS = 1e-6
MEMORY_BIAS = 0.1
"""Every bias of the networks that move a norm starts so. Source: the released code."""


class Attention(nn.Module):
    """Attention of several heads, whose keys and values can be kept for the next word."""

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads, self.dropout = num_heads, dropout
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def seen(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return keys and values (B, H, M, D / H) of `tokens` (B, M, D)."""
        return self._split(self.key(tokens)), self._split(self.value(tokens))

    def forward(
        self, tokens: Tensor, seen: tuple[Tensor, Tensor], *, causal: bool = False
    ) -> Tensor:
        """Return what `tokens` (B, T, D) find in what is `seen`; if `causal`, not ahead of them."""
        dropout = self.dropout if self.training else 0.0
        query = self._split(self.query(tokens))
        found = F.scaled_dot_product_attention(query, *seen, dropout_p=dropout, is_causal=causal)
        return self.out(found.transpose(1, 2).flatten(2))

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


class RelationalMemory(nn.Module):
    """A few slots that take up each word through attention and gates, one after the other."""

    def __init__(self, width: int, *, slots: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.slots = slots
        self.attention = Attention(width, num_heads, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.from_word = nn.Linear(width, 2 * width)
        self.from_memory = nn.Linear(width, 2 * width)

    def start(self, word: Tensor) -> Tensor:
        """Return the memory (B, S, D) before any word, the first rows of an identity matrix.

        Args:
            word: any (B, D), whose kind and place the memory has.
        """
        slots = torch.eye(self.slots, word.shape[1], dtype=word.dtype, device=word.device)
        return slots.expand(len(word), -1, -1)

    def step(self, word: Tensor, memory: Tensor) -> Tensor:
        """Return the memory (B, S, D) after one more word (B, D)."""
        word = word[:, None]
        new = memory + self.attention(memory, self.attention.seen(torch.cat([memory, word], 1)))
        new = new + self.mlp(new)
        gates = self.from_word(word) + self.from_memory(memory.tanh())
        take, keep = gates.sigmoid().chunk(2, dim=2)
        return take * new.tanh() + keep * memory

    def forward(self, words: Tensor) -> Tensor:
        """Return the memories (B, T, S * D) after each of `words` (B, T, D)."""
        memory, after = self.start(words[:, 0]), []
        for word in words.unbind(dim=1):
            memory = self.step(word, memory)
            after.append(memory.flatten(1))
        return torch.stack(after, dim=1)


class MovedNorm(nn.Module):
    """A LayerNorm whose scale and shift a memory moves, word by word."""

    def __init__(self, width: int, slots: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.scale = _mover(width, slots) if slots else None
        self.shift = _mover(width, slots) if slots else None

    def forward(self, tokens: Tensor, memory: Tensor | None) -> Tensor:
        """Return `tokens` (B, T, D), normalised; `memory` (B, T, S * D), None where it has none."""
        if memory is None or self.scale is None or self.shift is None:
            return self.norm(tokens)
        plain = F.layer_norm(tokens, tokens.shape[-1:], eps=EPS)
        scale = self.norm.weight + self.scale(memory)
        return scale * plain + self.norm.bias + self.shift(memory)


def _mover(width: int, slots: int) -> nn.Sequential:
    network = nn.Sequential(nn.Linear(slots * width, width), nn.ReLU(), nn.Linear(width, width))
    for layer in (network[0], network[2]):
        nn.init.constant_(layer.bias, MEMORY_BIAS)
    return network


def _mlp(width: int, inner: int, dropout: float) -> nn.Sequential:
    first, last = nn.Linear(width, inner), nn.Linear(inner, width)
    return nn.Sequential(first, nn.ReLU(), nn.Dropout(dropout), last)


class EncoderLayer(nn.Module):
    """Patches look at one another, then at themselves; norms come first."""

    def __init__(self, width: int, *, num_heads: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, num_heads, dropout)
        self.mlp = _mlp(width, inner, dropout)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=EPS) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, patches: Tensor) -> Tensor:
        """Return the patches (B, M, D)."""
        normed = self.norms[0](patches)
        found = self.attention(normed, self.attention.seen(normed))
        patches = patches + self.dropout(found)
        return patches + self.dropout(self.mlp(self.norms[1](patches)))


class DecoderLayer(nn.Module):
    """Words look at those before them, at the patches, at themselves; norms come first."""

    def __init__(
        self, width: int, *, num_heads: int, inner: int, dropout: float, slots: int
    ) -> None:
        super().__init__()
        self.words = Attention(width, num_heads, dropout)
        self.patches = Attention(width, num_heads, dropout)
        self.mlp = _mlp(width, inner, dropout)
        self.norms = nn.ModuleList(MovedNorm(width, slots) for _ in range(3))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        tokens: Tensor,
        patches: tuple[Tensor, Tensor],
        memory: Tensor | None,
        before: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the tokens (B, T, D), and keys and values of all words so far.

        Args:
            tokens: all words, or with `before` the newest alone.
            patches: their keys and values in this layer.
            memory: (B, T, S * D), or None.
            before: keys and values of the words before.
        """
        first, second, third = self.norms
        normed = first(tokens, memory)
        seen = self.words.seen(normed)
        if before is not None:
            pairs = zip(before, seen, strict=True)
            key, value = (torch.cat([old, new], dim=2) for old, new in pairs)
            seen = (key, value)
        tokens = tokens + self.dropout(self.words(normed, seen, causal=before is None))
        tokens = tokens + self.dropout(self.patches(second(tokens, memory), patches))
        return tokens + self.dropout(self.mlp(third(tokens, memory))), seen


class ReportWriter(nn.Module):
    """Patches in, the logits of each next word out."""

    def __init__(
        self,
        embed_dim: int,
        *,
        vocab_size: int,
        width: int,
        depth: int,
        num_heads: int,
        inner: int,
        length: int,
        slots: int,
        dropout: float,
        patch_dropout: float,
    ) -> None:
        """Build it.

        Args:
            embed_dim: E.
            vocab_size: V, id 0 included.
            width: D.
            depth: layers of the encoder, and as many of the decoder.
            num_heads: of every attention, H.
            inner: width within each MLP.
            length: most tokens of a report.
            slots: of the memory, S; 0 for a plain transformer.
            dropout: of words, attention and hidden values.
            patch_dropout: of the projected patches.
        """
        super().__init__()
        self.width = width
        self.project = nn.Sequential(
            nn.Linear(embed_dim, width), nn.ReLU(), nn.Dropout(patch_dropout)
        )
        plain = {"num_heads": num_heads, "inner": inner, "dropout": dropout}
        self.reader = nn.Sequential(
            *(EncoderLayer(width, **plain) for _ in range(depth)), nn.LayerNorm(width, eps=EPS)
        )
        self.words = nn.Embedding(vocab_size, width)
        self.register_buffer("places", sine_table(length + 1, width), persistent=False)
        self.dropout = nn.Dropout(dropout)
        self.memory = (
            RelationalMemory(width, slots=slots, num_heads=num_heads, dropout=dropout)
            if slots
            else None
        )
        self.layers = nn.ModuleList(DecoderLayer(width, slots=slots, **plain) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.output = nn.Linear(width, vocab_size)
        self._initialise()

    def _initialise(self) -> None:
        """Initialise all but the first and the last projection as the released code does."""
        for part in (self.reader, self.words, self.memory, self.layers):
            for parameter in part.parameters() if part is not None else ():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)

    def forward(self, patches: Tensor, ids: Tensor) -> Tensor:
        """Return the logits (B, T, V) of the word after each of `ids` (B, T).

        Args:
            patches: (B, M, E).
            ids: what stands behind the end of a report is seen by nothing that counts.
        """
        read = self.reader(self.project(patches))
        memory = self.memory(self._embed(ids)) if self.memory is not None else None
        tokens = self._embed(ids)
        for layer in self.layers:
            tokens, _ = layer(tokens, layer.patches.seen(read), memory)
        return self.output(self.norm(tokens))

    def _embed(self, ids: Tensor, *, first: int = 0) -> Tensor:
        """Return (B, T, D) of `ids` (B, T) that stand from place `first` on."""
        words = self.words(ids) * math.sqrt(self.width)
        return self.dropout(words + self.places[first : first + ids.shape[1]])

    def write(self, patches: Tensor, *, beams: int, longest: int, shortest: int) -> Tensor:
        """Return the ids (B, T) of reports about `patches` (B, M, E); see `beam.search`."""
        B = len(patches)
        read = self.reader(self.project(patches))
        fixed = [layer.patches.seen(read) for layer in self.layers]
        wide: dict[int, list[tuple[Tensor, Tensor]]] = {1: fixed}

        def step(words: Tensor, state: State) -> tuple[Tensor, State]:
            beams = len(words) // B
            if beams not in wide:  # all beams of a report look at the same patches
                wide[beams] = [
                    (key.repeat_interleave(beams, dim=0), value.repeat_interleave(beams, dim=0))
                    for key, value in fixed
                ]
            return self._step(words, state, wide[beams])

        start = [self.memory.start(read[:, 0])] if self.memory is not None else []
        return search(
            step,
            start,
            batch=B,
            device=patches.device,
            beams=beams,
            longest=longest,
            shortest=shortest,
        )

    def _step(
        self, words: Tensor, state: State, patches: list[tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, State]:
        """Return the logits (B, V) after `words` (B,), and the state with them taken in.

        The state is the memory, where there is one; and, but for the first word, keys and values
        of the words before, layer by layer.
        """
        memories, seen = (state[:1], state[1:]) if self.memory is not None else ([], state)
        tokens = self._embed(words[:, None], first=seen[0].shape[2] if seen else 0)
        moved = None
        if self.memory is not None:
            memories = [self.memory.step(tokens[:, 0], memories[0])]
            moved = memories[0].flatten(1)[:, None]
        kept: State = []
        for number, (layer, own) in enumerate(zip(self.layers, patches, strict=True)):
            before = (seen[2 * number], seen[2 * number + 1]) if seen else None
            tokens, pair = layer(tokens, own, moved, before)
            kept += pair
        return self.output(self.norm(tokens))[:, 0], [*memories, *kept]


def sine_table(length: int, width: int) -> Tensor:
    """Return the places (length, D), sine and cosine by turns.

    Source: Vaswani et al. 2017, section 3.5.
    """
    place = torch.arange(length)[:, None]
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    return torch.stack([(place * rate).sin(), (place * rate).cos()], dim=2).flatten(1)[:, :width]
