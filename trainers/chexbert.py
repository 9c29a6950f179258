"""Which of the fourteen observations does a report state, by CheXbert's published weights?

The weights (`chexbert.pth`) and the words of bert-base-uncased (`vocab.txt`) are files that the
user provides; nothing is downloaded. The file holds `model_state_dict` with names under `module.`:
a BERT and fourteen linear heads on its first token, thirteen of four classes (blank, positive,
negative, uncertain) and, for `No Finding`, one of two. The sizes of the network are read off it.

Source: Smit et al., "CheXbert: Combining Automatic Labelers and Expert Annotations for Accurate
Radiology Report Labeling Using BERT", EMNLP 2020, and its released code (`label.py`,
`bert_labeler.py`, `bert_tokenizer.py`).
Shapes: N reports, B of a batch, T tokens, D width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers.implementations import BertWordPieceTokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from trainers import reading
from trainers.config import InputError, MissingError
from trainers.observations import OBSERVATIONS, Labels

CODES = (float("nan"), 1.0, 0.0, -1.0)
"""What the classes of a head say: blank, positive, negative, uncertain."""
HEAD_DIM = 64
BATCH = 18
MAX_TOKENS = 512
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class CheXbert(nn.Module):
    """The network: a BERT and a head an observation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.bert = BertModel(config, add_pooling_layer=False)
        classes = [4] * (len(OBSERVATIONS) - 1) + [2]
        self.linear_heads = nn.ModuleList(nn.Linear(config.hidden_size, n) for n in classes)

    def forward(self, ids: Tensor, mask: Tensor) -> list[Tensor]:
        """Return the logits of each head, (B, 4), of the last (B, 2).

        Args:
            ids: (B, T), padded with 0.
            mask: (B, T), 1 where a token stands.
        """
        first = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]  # (B, D)
        return [head(first) for head in self.linear_heads]


class Labeller:
    """CheXbert with its words, ready to read reports on a device."""

    suffix = ""

    def __init__(
        self, network: CheXbert, tokenizer: BertWordPieceTokenizer, *, device: torch.device
    ) -> None:
        self.network, self.tokenizer, self.device = network.to(device).eval(), tokenizer, device

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> Labels:
        """Return (N, 14) of 1, 0, -1 or nan; reports are read up to 512 tokens."""
        labels = np.full((len(texts), len(OBSERVATIONS)), np.nan)
        encoded = self.tokenizer.encode_batch([" ".join(text.split()) for text in texts])
        # texts of like length together, so that little is padded
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i].ids))
        for first in range(0, len(order), BATCH):
            some = order[first : first + BATCH]
            rows = [torch.tensor(encoded[i].ids) for i in some]
            ids = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self.device)
            lengths = torch.tensor([len(row) for row in rows], device=self.device)
            mask = torch.arange(ids.shape[1], device=self.device) < lengths[:, None]
            logits = self.network(ids, mask.long())
            said = torch.stack([each.argmax(dim=1) for each in logits], dim=1)  # (B, 14)
            labels[some] = np.array(CODES)[said.cpu().numpy()]
        return labels


def load(weights: Path, words: Path, *, device: torch.device | str = "cpu") -> Labeller:
    """Return the labeller in two files.

    Args:
        weights: `chexbert.pth`.
        words: `vocab.txt` of bert-base-uncased, a word piece a line, or the folder it lies in.
        device: where the network reads.

    Raises:
        MissingError: one of them is not there.
        InputError: it is not CheXbert, or the words are not those of its network.
    """
    state = _state(weights)
    network = CheXbert(_config(weights, state))
    wanted = network.state_dict()
    for name, tensor in wanted.items():
        if name not in state:
            raise InputError(f"{weights} lacks `{name}`, which CheXbert has")
        if state[name].shape != tensor.shape:
            shapes = tuple(state[name].shape), tuple(tensor.shape)
            raise InputError(f"{weights}: `{name}` is {shapes[0]}; expected {shapes[1]}")
        if not state[name].isfinite().all():
            raise InputError(f"{weights}: `{name}` holds values that are not finite")
    network.load_state_dict({name: state[name] for name in wanted})
    tokenizer = read_words(words, network.bert.config.max_position_embeddings)
    known, rows = tokenizer.get_vocab_size(), network.bert.config.vocab_size
    if known != rows:
        raise InputError(
            f"{words} has {known} word pieces and {weights} knows {rows}; expected the "
            "`vocab.txt` of bert-base-uncased"
        )
    return Labeller(network, tokenizer, device=torch.device(device))


def _state(path: Path) -> dict[str, Tensor]:
    """Return CheXbert's tensors by their bare names, without the buffers of old libraries."""
    content = reading.read_checkpoint(path)
    state = content.get("model_state_dict")
    if not isinstance(state, Mapping):
        raise InputError(f"{path} has no `model_state_dict`; expected CheXbert's `chexbert.pth`")
    return {re.sub(r"^module\.", "", name): tensor for name, tensor in state.items()}


def _config(path: Path, state: Mapping[str, Tensor]) -> BertConfig:
    """Return the sizes of the BERT in `state`; bert-base-uncased has 12 layers of 768."""
    layers = {
        int(found[1])
        for name in state
        if (found := re.match(r"bert\.encoder\.layer\.(\d+)\.", name))
    }
    try:
        vocab_size, width = state["bert.embeddings.word_embeddings.weight"].shape
        positions = len(state["bert.embeddings.position_embeddings.weight"])
        kinds = len(state["bert.embeddings.token_type_embeddings.weight"])
        inner = len(state["bert.encoder.layer.0.intermediate.dense.weight"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} holds no BERT ({error}); expected CheXbert's") from None
    if width % HEAD_DIM:
        raise InputError(f"{path}: a width of {width} is no multiple of {HEAD_DIM} a head")
    return BertConfig(
        vocab_size=vocab_size,
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=width // HEAD_DIM,
        intermediate_size=inner,
        max_position_embeddings=positions,
        type_vocab_size=kinds,
    )


def read_words(path: Path, positions: int = MAX_TOKENS) -> BertWordPieceTokenizer:
    """Return the uncased word-piece tokenizer of a `vocab.txt`, or of a folder that has one.

    Longer reports are cut so that the closing token stays, as CheXbert cuts them.

    Raises:
        MissingError: no such file.
        InputError: it lacks one of BERT's special tokens.
    """
    path = path / "vocab.txt" if path.is_dir() else path
    if not path.is_file():
        raise MissingError(f"{path} does not exist; CheXbert reads the words of bert-base-uncased")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise InputError(f"{path} is no list of words: it is not UTF-8 text") from None
    absent = [token for token in SPECIAL if token not in lines]
    if absent:
        raise InputError(f"{path} lacks `{absent[0]}`; expected BERT's `vocab.txt`")
    tokenizer = BertWordPieceTokenizer(str(path), lowercase=True)
    tokenizer.enable_truncation(min(positions, MAX_TOKENS))
    return tokenizer
