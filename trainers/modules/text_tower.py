"""How is a report read as a whole? A BERT, built from scratch or taken from a folder on the disk.

A folder is what transformers saves for a BERT, such as Bio_ClinicalBERT: `config.json`, the weights
as safetensors or as a torch file (read without running code in it), and its tokenizer's files.
Nothing is ever asked of the network.

Shapes: B reports, T tokens of each, H BERT width, P width of an embedding.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoTokenizer, BertConfig, BertModel
from transformers.utils import logging as transformers_logging

from trainers import checkpoints
from trainers.config import InputError, MissingError
from trainers.modules import vit

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""Where a folder keeps its weights; the first one that is there is read."""


class TextFeatures(NamedTuple):
    """What a BERT says of each report."""

    tokens: Tensor
    """(B, T, H) from the last layer, padding included; the class token is the first."""
    pooled: Tensor | None
    """(B, H) the class token through BERT's pooler (dense, tanh); None where there is no pooler."""


def build_bert(
    *,
    vocab_size: int,
    width: int,
    depth: int,
    num_heads: int,
    length: int,
    dropout: float,
    pooler: bool,
) -> BertModel:
    """Return a freshly initialised BERT, its Linear layers as MAE initialises them.

    Args:
        vocab_size: of the tokenizer, whose pad has id 0.
        width: H.
        depth: layers.
        num_heads: of attention.
        length: most tokens of a report.
        dropout: of hidden values and of attention, in [0, 1).
        pooler: whether there is one; build none that no loss reaches.

    Source: MRM's released code for the initialisation; Devlin et al. 2019 for the network.
    """
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
        attn_implementation="sdpa",
    )
    bert = BertModel(config, add_pooling_layer=pooler)
    vit.initialise(bert)
    return bert


def read_bert(folder: Path, *, pooler: bool) -> BertModel:
    """Return the BERT in `folder`, in float32 and with its own dropout.

    Args:
        folder: as transformers saves a BERT, with or without a head, which is left aside.
        pooler: whether the pooler is wanted; if so it must be in the file.

    Raises:
        MissingError: the folder, its `config.json` or its weights are not there.
        InputError: it is no BERT, cannot be read safely, or lacks a tensor.
    """
    weights_file(folder)
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # it lists the head it left aside, at length
    try:
        config = BertConfig.from_pretrained(folder, local_files_only=True)
        if config.model_type != "bert":
            raise InputError(f"{folder} holds a `{config.model_type}`; expected a `bert`")
        bert, found = BertModel.from_pretrained(
            folder,
            config=config,
            add_pooling_layer=pooler,
            local_files_only=True,
            weights_only=True,
            dtype=torch.float32,
            attn_implementation="sdpa",
            output_loading_info=True,
        )
    except InputError:
        raise
    except Exception as error:  # pickle, JSON, safetensors, shapes: no common base
        line = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"{folder} cannot be read as a BERT: {line}") from None
    finally:
        transformers_logging.set_verbosity(before)
    absent = sorted(found["missing_keys"])
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"{folder} lacks `{absent[0]}`{more}")
    return bert


def weights_file(folder: Path) -> Path:
    """Return where `folder` keeps its weights.

    Raises:
        MissingError: the folder, its `config.json` or its weights are not there.
    """
    if not (folder / "config.json").is_file():
        raise MissingError(f"{folder / 'config.json'} does not exist; expected a folder of a BERT")
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise MissingError(f"{folder} holds none of {', '.join(WEIGHTS)}")


def digest(folder: Path) -> str:
    """Return the SHA-256 of the weights in `folder`, by which a recipe knows them."""
    return checkpoints.sha256(weights_file(folder))


def read_tokenizer(folder: Path, length: int) -> Tokenizer:
    """Return the tokenizer in the folder of a BERT, set to cut and pad every report to `length`.

    It puts its own first and last token around a report, so that `length` counts them too.

    Raises:
        MissingError: the folder has no tokenizer's files.
        InputError: they cannot be read, or the padding has another id than 0.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "vocab.txt")):
        raise MissingError(f"{folder} holds neither `tokenizer.json` nor `vocab.txt`")
    try:
        read = AutoTokenizer.from_pretrained(folder, local_files_only=True, use_fast=True)
    except Exception as error:  # likewise
        line = str(error).strip().split("\n")[0] or type(error).__name__
        raise InputError(f"the tokenizer in {folder} cannot be read: {line}") from None
    if read.pad_token_id != 0:
        raise InputError(f"the tokenizer in {folder} pads with id {read.pad_token_id}; expected 0")
    tokenizer: Tokenizer = read.backend_tokenizer
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token=read.pad_token)
    return tokenizer


def freeze(bert: BertModel, *, embeddings: bool, layers: int) -> None:
    """Leave the embeddings and the first `layers` layers of `bert` untrained.

    Their dropout stays on in training, as in the code of the methods that freeze a part of a BERT.
    """
    frozen = [*bert.encoder.layer[:layers], *([bert.embeddings] if embeddings else [])]
    for part in frozen:
        part.requires_grad_(False)


def read_text(bert: BertModel, ids: Tensor, attention_mask: Tensor) -> TextFeatures:
    """Return what `bert` says of reports.

    Args:
        bert: as `build_bert` or `read_bert` gives it.
        ids: (B, T).
        attention_mask: (B, T), 0 where nothing may look: padding.
    """
    found = bert(input_ids=ids, attention_mask=attention_mask)
    return TextFeatures(found.last_hidden_state, found.pooler_output)


class ReportEmbedding(nn.Module):
    """A BERT's word on a whole report, as long as what it is contrasted with.

    Source: REFERS's released code (`contrastive_bert`), whose parameters have these names.
    """

    def __init__(self, bert: BertModel, width: int) -> None:
        """Put a Linear on `bert`.

        Args:
            bert: if it has a pooler, its output is taken, else the class token as it is.
            width: P.
        """
        super().__init__()
        self.text_encoder = bert
        self.fc = nn.Linear(bert.config.hidden_size, width)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return (B, P) of reports; see `read_text`."""
        features = read_text(self.text_encoder, ids, attention_mask)
        first = features.tokens[:, 0] if features.pooled is None else features.pooled
        return self.fc(first)
