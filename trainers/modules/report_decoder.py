"""How are hidden words filled in, with a look at the image? BERT with one image vector added.

The parameters are named as in MRM's released weights (`bert_mlp`, `bert_encoder.model.bert`,
`bert_encoder.model.cls`), except that the pooler, which nothing uses, is not built.

Shapes: B reports, T tokens of each, K seen patches, D encoder width, H BERT width, V vocabulary.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel
from transformers.models.bert.modeling_bert import BertOnlyMLMHead

from trainers.distributed import mean_share
from trainers.modules import vit

IGNORED = -100
"""The label of a position that is not scored, as torch and transformers have it."""


class ReportErrors(NamedTuple):
    """Cross-entropy (nats) of the original words."""

    every: Tensor
    """Mean over all labelled positions, seen words and padding too."""
    masked: Tensor
    """Mean over the positions whose word was hidden."""
    accuracy: Tensor
    """Share of the hidden words, in [0, 1], that are the most probable ones; 0 where none is."""


class ReportDecoder(nn.Module):
    """BERT with a masked-language head whose weights are its own, not the word embeddings.

    Source: MRM's released code, where head and embeddings come apart because the encoder is
    exchanged after they were tied.
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
    ) -> None:
        super().__init__()
        config = BertConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            num_hidden_layers=depth,
            num_attention_heads=num_heads,
            intermediate_size=4 * width,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            max_position_embeddings=length,
            type_vocab_size=2,
            pad_token_id=0,
            tie_word_embeddings=False,
            attn_implementation="sdpa",
        )
        head = BertOnlyMLMHead(config)
        head.predictions.decoder.bias = head.predictions.bias  # one tensor, two names in the file
        bert = BertModel(config, add_pooling_layer=False)
        self.bert_mlp = nn.Linear(embed_dim, width)
        self.bert_encoder = nn.ModuleDict({"model": nn.ModuleDict({"bert": bert, "cls": head})})
        vit.initialise(self)

    def forward(self, ids: Tensor, attention_mask: Tensor, latent: Tensor) -> Tensor:
        """Return logits (B, T, V).

        The image vector is the mean of the seen patches; it is added to what the embedding module
        gives, after its LayerNorm and dropout, at every position.

        Args:
            ids: (B, T), hidden words replaced.
            attention_mask: (B, T), 0 where no position may look: padding.
            latent: (B, 1 + K, D) from the encoder's final norm; the class token is not used.
        """
        # the mean first, then the projection: the same to rounding, at a fraction of the work
        image = self.bert_mlp(latent[:, 1:].mean(dim=1))  # (B, H)
        hidden = self._hidden(ids, attention_mask, image[:, None])
        return self.bert_encoder["model"]["cls"](hidden)

    def read(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the report's own vector (B, H), the output at [CLS]; no image is added."""
        return self._hidden(ids, attention_mask, 0.0)[:, 0]

    def _hidden(self, ids: Tensor, attention_mask: Tensor, image: Tensor | float) -> Tensor:
        bert = self.bert_encoder["model"]["bert"]
        words = bert.embeddings(input_ids=ids) + image
        visible = attention_mask.bool()[:, None, None]  # (B, 1, 1, T), as sdpa takes it
        return bert.encoder(words, attention_mask=visible).last_hidden_state


def report_errors(logits: Tensor, ids: Tensor, labels: Tensor, *, training: bool) -> ReportErrors:
    """Return how far off `logits` (B, T, V) are, over all positions and over hidden ones.

    Args:
        logits: for each position.
        ids: (B, T) what the decoder was given.
        labels: (B, T) the original ids; `IGNORED` is not scored. A position is a hidden one if
            its label is another id than was given.
        training: whether positions are counted over all processes.
    """
    error = F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    labelled = (labels != IGNORED).flatten()
    hidden = labelled & (ids != labels).flatten()
    right = logits.detach().argmax(dim=2).flatten() == labels.flatten()
    means = ((error, labelled), (error, hidden), (right, hidden))
    return ReportErrors(
        *(mean_share(torch.sum(what * w), w.sum(), training=training) for what, w in means)
    )
