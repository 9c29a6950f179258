"""How is a report written word by word, with a look at the image? A causal transformer decoder.

The parameters are named as in REFERS's released weights (`textual.`), which has them from VirTex.

Shapes: B reports, T tokens of each, M image tokens, D encoder width, H decoder width, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trainers.distributed import mean_share

IGNORED = -100
"""The label of a position that is not scored, as torch has it."""


class NextWords(NamedTuple):
    """How well each word is foretold by those before it."""

    error: Tensor
    """Cross-entropy (nats), mean over the scored words."""
    accuracy: Tensor
    """Share of the scored words, in [0, 1], that got the highest logit."""


class WordEmbedding(nn.Module):
    """Words and their places."""

    def __init__(
        self, vocab_size: int, width: int, *, length: int, dropout: float, unseen: int | None
    ) -> None:
        super().__init__()
        self.unseen = unseen
        self.words = nn.Embedding(vocab_size, width)
        self.positions = nn.Embedding(length, width)
        self.layer_norm = nn.LayerNorm(width, eps=1e-8)
        self.dropout = nn.Dropout(dropout)

    def forward(self, ids: Tensor) -> Tensor:
        """Return (B, T, H) of `ids` (B, T); zeros where the id is the unseen one."""
        words = self.words(ids) + self.positions.weight[: ids.shape[1]]
        words = self.dropout(self.layer_norm(words))
        return words if self.unseen is None else words * (ids != self.unseen)[..., None]


class Captioner(nn.Module):
    """Post-norm decoder layers with cross-attention; the output shares the word embeddings.

    Source: REFERS's released code (`transformer_postnorm::L1_H1024_A16_F4096`); layers as in
    Vaswani et al. 2017, with GELU. Initialised as there: N(0, 0.02), biases 0.
    """

    def __init__(
        self,
        embed_dim: int,
        *,
        vocab_size: int,
        width: int,
        depth: int,
        num_heads: int,
        length: int,
        dropout: float,
        unseen: int | None = None,
    ) -> None:
        """Build it.

        Args:
            embed_dim: width of the image tokens, D.
            vocab_size: V.
            width: H; the layers' inner width is four times that.
            depth: decoder layers.
            num_heads: of either attention.
            length: most tokens of a report.
            dropout: of embeddings, attention and hidden values.
            unseen: an id that stands for nothing: its embedding is zero. Source: the released code
                does so with its padding, which is also its unknown word.
        """
        super().__init__()
        self.visual_projection = nn.Linear(embed_dim, width)
        self.embedding = WordEmbedding(
            vocab_size, width, length=length, dropout=dropout, unseen=unseen
        )
        layer = nn.TransformerDecoderLayer(
            width, num_heads, 4 * width, dropout, activation="gelu", batch_first=True
        )
        self.transformer = nn.TransformerDecoder(layer, depth)
        self.output = nn.Linear(width, vocab_size)
        self.output.weight = self.embedding.words.weight
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, ids: Tensor, memory: Tensor) -> Tensor:
        """Return logits (B, T, V) of the word after each.

        No mask of padding is needed: it comes last, and nothing looks ahead.

        Args:
            ids: (B, T).
            memory: (B, M, D) what every word may look at.
        """
        length = ids.shape[1]
        ahead = torch.ones(length, length, dtype=torch.bool, device=ids.device).triu(1)
        hidden = self.transformer(
            self.embedding(ids), self.visual_projection(memory), tgt_mask=ahead, tgt_is_causal=True
        )
        return self.output(hidden)


def next_words(logits: Tensor, labels: Tensor, *, training: bool) -> NextWords:
    """Return how well `logits` (B, T - 1, V) foretell `labels` (B, T) from the second on.

    Args:
        logits: after each word but the last.
        labels: of all words; `IGNORED` is not scored.
        training: whether words are counted over all processes.
    """
    logits, labels = logits.flatten(0, 1).float(), labels[:, 1:].flatten()
    scored = (labels != IGNORED).sum()
    error = F.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum")
    right = (logits.argmax(dim=1) == labels).sum()
    return NextWords(*(mean_share(of, scored, training=training) for of in (error, right)))
