"""How does a report become token ids, and which of them are hidden?

The form is that of MRM's published WordPiece file: normaliser Lowercase, NFKD, StripAccents; words
are runs of word characters or of punctuation, and runs of digits; four special tokens; no [SEP].
Source: the tokenizer JSON and the data set class released with MRM (Zhou et al., ICLR 2023).
Shapes: T tokens of a report, V entries of the vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from trainers.config import InputError, MissingError

PAD, UNK, CLS, MASK = 0, 1, 2, 3
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[MASK]")
"""The special tokens in the order of their ids."""
CONTINUES = "##"
"""What a piece begins with that carries on the word before it."""
MAX_CHARS = 100
"""Longer words become [UNK]."""


def load_tokenizer(path: Path, length: int) -> Tokenizer:
    """Return the tokenizer in the JSON file at `path`, set to cut and pad to `length`.

    Raises:
        MissingError: no such file.
        InputError: it is no tokenizer, or its special tokens have other ids than 0 to 3.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror or error}".lower()) from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no tokenizer file: it is not UTF-8 text") from None
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise InputError(f"{path} is no tokenizer file: {error}") from None
    found = [tokenizer.token_to_id(token) for token in SPECIAL]
    if found != [PAD, UNK, CLS, MASK]:
        expected = ", ".join(f"{token} {i}" for i, token in enumerate(SPECIAL))
        raise InputError(f"{path} has its special tokens at {found}; expected {expected}")
    return with_length(tokenizer, length)


def with_length(tokenizer: Tokenizer, length: int) -> Tokenizer:
    """Set `tokenizer` to cut and pad every report to `length` tokens; returns it."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=PAD, pad_token=SPECIAL[PAD])
    return tokenizer


def train_tokenizer(reports: Iterable[str], vocab_size: int) -> Tokenizer:
    """Return a WordPiece tokenizer learnt from `reports`, with at most `vocab_size` entries.

    There are more when the reports' characters alone need more, and fewer when the words run out.

    The same reports in any order give the same file, byte for byte. The library alone does not: it
    numbers the continuing characters as its hash map yields them, and ties between merges follow
    those numbers. So it is told their order; the entries are then renumbered as in the published
    file: special tokens, characters, continuing characters, merges.
    """
    texts = sorted(reports)
    bare = _tokenizer({token: i for i, token in enumerate(SPECIAL)})
    firsts, others = _alphabet(bare, texts)
    head = [*SPECIAL, *firsts, *(CONTINUES + char for char in others)]
    learner = trainers.WordPieceTrainer(
        vocab_size=max(vocab_size, len(head)),
        special_tokens=head,
        continuing_subword_prefix=CONTINUES,
        show_progress=False,
    )
    bare.train_from_iterator(texts, learner)
    entries = sorted(bare.get_vocab().items(), key=lambda entry: entry[1])
    return _tokenizer({token: i for i, (token, _) in enumerate(entries)})


def _tokenizer(vocabulary: dict[str, int]) -> Tokenizer:
    model = models.WordPiece(
        vocabulary,
        unk_token=SPECIAL[UNK],
        max_input_chars_per_word=MAX_CHARS,
        continuing_subword_prefix=CONTINUES,
    )
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Lowercase(), normalizers.NFKD(), normalizers.StripAccents()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.Digits(individual_digits=False)]
    )
    tokenizer.add_special_tokens(list(SPECIAL))
    return tokenizer


def _alphabet(tokenizer: Tokenizer, texts: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return, sorted, all characters of the words and those that stand after a word's first."""
    words = {
        word
        for text in texts
        for word, _ in tokenizer.pre_tokenizer.pre_tokenize_str(
            tokenizer.normalizer.normalize_str(text)
        )
    }
    return sorted(set("".join(words))), sorted(set("".join(word[1:] for word in words)))


def continuations(tokenizer: Tokenizer) -> NDArray[np.bool_]:
    """Return (V,), true where an entry carries on the word before it (`##...`)."""
    flags = np.zeros(tokenizer.get_vocab_size(), dtype=bool)
    for token, index in tokenizer.get_vocab().items():
        flags[index] = token.startswith(CONTINUES)
    return flags


def encode(
    tokenizer: Tokenizer, report: str, length: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ids (T,) and attention mask (T,) of `[CLS] ` and `report`, with T = `length`.

    Whether `tokenizer` cuts and pads by itself does not matter.
    """
    found = tokenizer.encode(f"{SPECIAL[CLS]} {report}").ids[:length]
    ids = np.full(length, PAD, dtype=np.int64)
    ids[: len(found)] = found
    return ids, (ids != PAD).astype(np.int64)


def mask_words(
    ids: NDArray[np.int64],
    rng: np.random.Generator,
    probability: float = 0.5,
    *,
    continuation: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """Return `ids` (T,) with whole words replaced by [MASK], each with `probability`.

    The first and last position are never masked, nor anything from the first [PAD] on. A piece
    that carries on a word is masked if the position before it now is. Always T numbers are drawn.
    Source: the data set class released with MRM; it draws 0.5 and knows no random replacement.

    Args:
        ids: as `encode` gives them.
        rng: drawn from once.
        probability: of a word to be hidden, in [0, 1].
        continuation: (V,), from `continuations`.
    """
    drawn = rng.random(len(ids)) < probability
    masked = ids.copy()
    for position in range(1, len(ids) - 1):
        if ids[position] == PAD:
            break
        carries_on = continuation[ids[position]]
        if masked[position - 1] == MASK if carries_on else drawn[position]:
            masked[position] = MASK
    return masked
