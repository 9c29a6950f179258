"""How does a report become the ids that a decoder writes one after the other?

A vocabulary knows how to cut a report into ids between a start and an end. There are two: the
SentencePiece model published with REFERS, and MRM's word pieces, which get an end of their own.

Shapes: T tokens of a report, V entries of the vocabulary.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import sentencepiece
from numpy.typing import NDArray
from tokenizers import Tokenizer

from trainers.config import InputError, MissingError
from trainers.data import tokens

IGNORED = -100
"""The label of a position that is not scored, as torch has it."""

PADDING = 0
"""What stands after the end. Of no consequence: a causal decoder's words never see it."""

SENTENCE_SUFFIX = ".model"
SENTENCE_SPECIAL = ("<unk>", "[SOS]", "[EOS]", "[MASK]")
"""The special tokens of the published model in the order of their ids.

Source: REFERS's released configuration (after VirTex's).
"""


class Vocabulary(Protocol):
    """Cuts a report into ids below V."""

    def get_vocab_size(self) -> int:
        """Return V."""
        ...

    def framed(self, report: str) -> list[int]:
        """Return the ids of `report` between those of start and end."""
        ...


class Caption(NamedTuple):
    """A report as a decoder is given it and as it is scored."""

    ids: NDArray[np.int64]
    """(T,) start, words, end, padding; cut at T, where the end may be lost."""
    seen: NDArray[np.int64]
    """(T,) 1 up to the end, then 0."""
    labels: NDArray[np.int64]
    """(T,) the ids again, `IGNORED` where nothing is scored. The first is never predicted."""


class WordPieces:
    """MRM's word pieces: [CLS] starts a report, and one id more than there are tokens ends it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.end = tokenizer.get_vocab_size()

    def get_vocab_size(self) -> int:
        """Return V, the end included."""
        return self.end + 1

    def framed(self, report: str) -> list[int]:
        """Return start, word pieces, end; pieces beyond the tokenizer's own length are cut."""
        found = self.tokenizer.encode(f"{tokens.SPECIAL[tokens.CLS]} {report}").ids
        return [*(i for i in found if i != tokens.PAD), self.end]


class SentencePieces:
    """A SentencePiece model whose special tokens lie where REFERS's lie."""

    def __init__(self, path: Path) -> None:
        """Read the model.

        Raises:
            MissingError: no such file.
            InputError: it is no model, or its special tokens have other ids than 0 to 3.
        """
        if not path.is_file():
            raise MissingError(f"{path} does not exist")
        try:
            self.processor = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
        except Exception as error:  # the library raises nothing narrower
            raise InputError(f"{path} is no SentencePiece model: {error}") from None
        names = tuple(self.processor.id_to_piece(i) for i in range(len(SENTENCE_SPECIAL)))
        if names != SENTENCE_SPECIAL:
            raise InputError(
                f"{path} begins with {', '.join(names)}; expected {', '.join(SENTENCE_SPECIAL)}"
            )

    def get_vocab_size(self) -> int:
        """Return V."""
        return int(self.processor.get_piece_size())

    def framed(self, report: str) -> list[int]:
        """Return [SOS], pieces of the cleaned report, [EOS]."""
        _, start, end, _ = range(len(SENTENCE_SPECIAL))
        return [start, *self.processor.encode(clean(report)), end]


def clean(report: str) -> str:
    """Return `report` in lower case, compatibility-decomposed (NFKD), without combining marks.

    Source: REFERS's released code; MRM's word pieces do the same by themselves.
    """
    decomposed = unicodedata.normalize("NFKD", report.lower())
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def load_vocabulary(path: Path, length: int) -> Vocabulary:
    """Return the vocabulary in a tokenizers JSON or a SentencePiece `.model`.

    Raises:
        MissingError: no such file.
        InputError: it is not what its name says, or has other special tokens.
    """
    if path.suffix == SENTENCE_SUFFIX:
        return SentencePieces(path)
    return WordPieces(tokens.load_tokenizer(path, length))


def caption(
    vocabulary: Vocabulary, report: str, length: int, *, unscored: int | None = None
) -> Caption:
    """Return `report` as T = `length` tokens.

    Args:
        vocabulary: from `load_vocabulary`.
        report: as it stands in the table.
        length: T.
        unscored: an id that is no label either. Source: REFERS's released code pads with the id of
            unknown words, 0, so that these are never scored.
    """
    found = vocabulary.framed(report)[:length]
    ids = np.full(length, PADDING, dtype=np.int64)
    ids[: len(found)] = found
    seen = (np.arange(length) < len(found)).astype(np.int64)
    scored = (seen == 1) & (ids != (-1 if unscored is None else unscored))
    return Caption(ids, seen, np.where(scored, ids, IGNORED))
