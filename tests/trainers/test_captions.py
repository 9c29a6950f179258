"""Is a report cut into the ids its tokenizer gives it, between a start and an end?"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from trainers.config import InputError, MissingError
from trainers.data import captions, tokens

REPORTS = [
    "small left pleural effusion . the right lung is clear .",
    "no focal consolidation , pleural effusion , or pneumothorax .",
    "heart size is normal . left lung is clear . cardiomegalie moderee .",
    "right upper lobe opacity may be pneumonia . no effusion .",
]


def train_sentences(folder: Path, symbols: str = "[SOS],[EOS],[MASK]") -> Path:
    """A byte-pair model trained as the published one is said to be, on a few sentences."""
    (folder / "text.txt").write_text("\n".join(REPORTS * 5))
    sentencepiece.SentencePieceTrainer.train(
        input=str(folder / "text.txt"), model_prefix=str(folder / "tiny"), vocab_size=70,
        model_type="bpe", character_coverage=1.0, bos_id=-1, eos_id=-1, pad_id=-1,
        control_symbols=symbols, minloglevel=2,
    )  # fmt: skip
    return folder / "tiny.model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_sentences(tmp_path_factory.mktemp("sentences"))


@pytest.fixture
def pieces(tmp_path: Path) -> captions.Vocabulary:
    tokens.train_tokenizer(REPORTS, 120).save(str(tmp_path / "words.json"))
    return captions.load_vocabulary(tmp_path / "words.json", 20)


@pytest.mark.parametrize("report", REPORTS)
def test_the_ids_are_those_of_the_sentencepiece_library_between_sos_and_eos(
    model: Path, report: str
) -> None:
    vocabulary = captions.load_vocabulary(model, 100)
    library = sentencepiece.SentencePieceProcessor(model_file=str(model))
    assert vocabulary.get_vocab_size() == library.get_piece_size() == 70
    ids = vocabulary.framed(report)
    assert ids[0] == library.piece_to_id("[SOS]") == 1
    assert ids[-1] == library.piece_to_id("[EOS]") == 2
    assert [library.id_to_piece(i) for i in ids[1:-1]] == library.encode(report, out_type=str)


def test_a_report_is_lower_cased_and_stripped_of_accents_before_it_is_cut(model: Path) -> None:
    vocabulary = captions.load_vocabulary(model, 100)
    assert captions.clean("Cardiomégalie MODÉRÉE ½ ﬁne") == "cardiomegalie moderee 1⁄2 fine"
    assert vocabulary.framed("Cardiomégalie MODÉRÉE") == vocabulary.framed("cardiomegalie moderee")


def test_padding_is_not_scored_but_an_unknown_word_is(model: Path) -> None:
    vocabulary = captions.load_vocabulary(model, 12)
    caption = captions.caption(vocabulary, "no 猫 .", 12)
    unknown = np.flatnonzero(caption.ids[: caption.seen.sum()] == 0)
    assert len(unknown) == 1
    n = caption.seen.sum()
    assert caption.seen.tolist() == [1] * n + [0] * (12 - n)
    assert caption.labels[:n].tolist() == caption.ids[:n].tolist()
    assert (caption.labels[n:] == captions.IGNORED).all()
    assert caption.ids[n - 1] == 2


def test_as_in_the_released_code_unknown_words_can_go_unscored(model: Path) -> None:
    vocabulary = captions.load_vocabulary(model, 12)
    plain = captions.caption(vocabulary, "no 猫 .", 12)
    legacy = captions.caption(vocabulary, "no 猫 .", 12, unscored=0)
    assert legacy.ids.tolist() == plain.ids.tolist()
    differing = plain.labels != legacy.labels
    assert plain.ids[differing].tolist() == [0]
    assert (legacy.labels[differing] == captions.IGNORED).all()


def test_a_long_report_is_cut_after_it_was_framed_so_that_its_end_is_lost(model: Path) -> None:
    vocabulary = captions.load_vocabulary(model, 5)
    whole = vocabulary.framed(REPORTS[0])
    caption = captions.caption(vocabulary, REPORTS[0], 5)
    assert caption.ids.tolist() == whole[:5]
    assert 2 not in caption.ids
    assert caption.seen.all()


def test_word_pieces_begin_with_cls_and_end_with_an_id_of_their_own(
    pieces: captions.Vocabulary,
) -> None:
    bare = tokens.train_tokenizer(REPORTS, 120)
    end = bare.get_vocab_size()
    assert pieces.get_vocab_size() == end + 1
    expected = [tokens.CLS, *bare.encode("Left lung is clear .").ids, end]
    assert pieces.framed("Left lung is clear .") == expected
    caption = captions.caption(pieces, "Left lung is clear .", 20)
    assert caption.ids[: len(expected)].tolist() == expected
    assert (caption.labels[len(expected) :] == captions.IGNORED).all()


@pytest.mark.parametrize("length", [4, 20])
def test_the_length_of_the_tokenizer_itself_changes_nothing(tmp_path: Path, length: int) -> None:
    tokens.train_tokenizer(REPORTS, 120).save(str(tmp_path / "words.json"))
    own = captions.load_vocabulary(tmp_path / "words.json", length)
    longer = captions.load_vocabulary(tmp_path / "words.json", 200)
    for report in REPORTS:
        ours, theirs = (captions.caption(v, report, length) for v in (own, longer))
        assert ours.ids.tolist() == theirs.ids.tolist()


@pytest.mark.parametrize("kind", ["sentences", "words"])
def test_a_vocabulary_travels_to_the_loaders_processes(
    model: Path, pieces: captions.Vocabulary, kind: str
) -> None:
    vocabulary = captions.load_vocabulary(model, 20) if kind == "sentences" else pieces
    again = pickle.loads(pickle.dumps(vocabulary))
    assert again.framed(REPORTS[1]) == vocabulary.framed(REPORTS[1])


def test_a_model_with_its_special_tokens_elsewhere_is_refused(tmp_path: Path) -> None:
    other = train_sentences(tmp_path, symbols="[EOS],[SOS],[MASK]")
    with pytest.raises(InputError, match=r"\[EOS\], \[SOS\]"):
        captions.load_vocabulary(other, 10)


def test_what_is_no_model_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"none\.model"):
        captions.load_vocabulary(tmp_path / "none.model", 10)
    (tmp_path / "bad.model").write_bytes(b"no model at all")
    with pytest.raises(InputError, match=r"bad\.model"):
        captions.load_vocabulary(tmp_path / "bad.model", 10)
