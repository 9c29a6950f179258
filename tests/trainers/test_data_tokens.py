"""Tokens: the published form, the same file from every training, and whole words masked."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers.config import InputError, MissingError
from trainers.data import tokens

REAL = Path("../shared/data/openi/reports.csv")
REPORTS = [
    "FINAL REPORT EXAMINATION: CHEST (PA AND LAT)",
    "No focal consolidation, pleural effusion, or pneumothorax.",
    "Small left pleural effusion; no pneumothorax. Heart size is normal.",
    "___-year-old woman with 2.5 cm nodule; s/p CABG.",
    "Cardiomegaly with moderate pulmonary edema. No pneumothorax is seen.",
]


@pytest.fixture(scope="module")
def tokenizer():
    return tokens.train_tokenizer(REPORTS * 3, 150)


def pieces(tokenizer, text):
    ids, _ = tokens.encode(tokenizer, text, 60)
    return [tokenizer.id_to_token(int(i)) for i in ids if i]


def test_the_special_tokens_have_the_published_ids(tokenizer):
    assert [tokenizer.token_to_id(t) for t in ("[PAD]", "[UNK]", "[CLS]", "[MASK]")] == [0, 1, 2, 3]


def test_two_trainings_give_the_same_file_whatever_the_order_of_reports():
    files = {
        tokens.train_tokenizer(order, size).to_str()
        for size in (120,)
        for order in (REPORTS, REPORTS[::-1], REPORTS, REPORTS, REPORTS)
    }
    assert len(files) == 1


def test_the_file_has_the_published_form(tokenizer):
    form = json.loads(tokenizer.to_str())
    assert [n["type"] for n in form["normalizer"]["normalizers"]] == [
        "Lowercase",
        "NFKD",
        "StripAccents",
    ]
    assert form["pre_tokenizer"]["pretokenizers"] == [
        {"type": "Whitespace"},
        {"type": "Digits", "individual_digits": False},
    ]
    model = form["model"]
    assert model["type"] == "WordPiece"
    assert model["unk_token"] == "[UNK]"
    assert model["continuing_subword_prefix"] == "##"
    assert model["max_input_chars_per_word"] == 100
    assert (
        form["post_processor"] is form["decoder"] is form["truncation"] is form["padding"] is None
    )
    assert sorted(model["vocab"].values()) == list(range(150))
    assert [t["content"] for t in form["added_tokens"]] == ["[PAD]", "[UNK]", "[CLS]", "[MASK]"]


def test_words_are_cut_at_blanks_punctuation_and_digits(tokenizer):
    cut = tokenizer.pre_tokenizer.pre_tokenize_str("2.5cm, s/p pa2012 (lat)...")
    words = ["2", ".", "5", "cm", ",", "s", "/", "p", "pa", "2012", "(", "lat", ")..."]
    assert [word for word, _ in cut] == words


def test_accents_and_capitals_do_not_count(tokenizer):
    assert pieces(tokenizer, "CARDIOMÉGALY") == pieces(tokenizer, "cardiomegaly")


def test_unknown_characters_and_words_beyond_a_hundred_letters_become_unk(tokenizer):
    assert pieces(tokenizer, "胸") == ["[CLS]", "[UNK]"]
    assert pieces(tokenizer, "a" * 101) == ["[CLS]", "[UNK]"]
    assert "[UNK]" not in pieces(tokenizer, "a" * 40)


def test_encoding_puts_cls_in_front_then_cuts_and_pads(tokenizer):
    ids, attention = tokens.encode(tokenizer, "No pneumothorax.", 20)
    assert ids.shape == attention.shape == (20,)
    assert ids.dtype == attention.dtype == np.int64
    assert ids[0] == 2
    count = int(attention.sum())
    assert (ids[:count] != 0).all()
    assert not ids[count:].any()
    short, attention = tokens.encode(tokenizer, "No pneumothorax. " * 50, 7)
    assert short[:4].tolist() == ids[:4].tolist()
    assert attention.tolist() == [1] * 7


def test_a_tokenizer_that_is_brought_reads_as_it_was_trained(tokenizer, tmp_path):
    path = tmp_path / "my words.json"
    tokenizer.save(str(path))
    loaded = tokens.load_tokenizer(path, 12)
    for report in REPORTS:
        expected = tokens.encode(tokenizer, report, 12)[0].tolist()
        assert tokens.encode(loaded, report, 12)[0].tolist() == expected
        assert loaded.encode(f"[CLS] {report}").ids == expected


def test_a_file_that_is_no_such_tokenizer_is_refused_with_its_path(tokenizer, tmp_path):
    path = tmp_path / "t.json"
    with pytest.raises(MissingError, match=r"t.json"):
        tokens.load_tokenizer(path, 10)
    for content in (b"{}", b"not json", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"t.json is no tokenizer file"):
            tokens.load_tokenizer(path, 10)
    swapped = tokenizer.to_str().replace('"[PAD]"', '"[X]"').replace('"[UNK]"', '"[PAD]"')
    path.write_text(swapped.replace('"[X]"', '"[UNK]"'))
    with pytest.raises(InputError, match=r"expected \[PAD\] 0, \[UNK\] 1"):
        tokens.load_tokenizer(path, 10)


CONTINUES = np.array([False] * 10 + [True] * 10)  # ids 10 to 19 carry on a word


class Drawn:
    """Gives the numbers it was told."""

    def __init__(self, numbers):
        self.numbers = numbers

    def random(self, count):
        return np.array(self.numbers[:count])


def test_a_word_is_masked_whole_by_the_draw_of_its_first_piece():
    #          CLS  word      word  word          PAD
    ids = [2, 5, 11, 12, 6, 7, 13, 8, 0, 0]
    drawn = [0, 0.4, 0.9, 0.9, 0.6, 0.1, 0.9, 0.5, 0, 0]
    masked = tokens.mask_words(np.array(ids), Drawn(drawn), 0.5, continuation=CONTINUES)
    assert masked.tolist() == [2, 3, 3, 3, 6, 3, 3, 8, 0, 0]


def test_the_first_and_the_last_position_are_never_masked():
    ids = np.array([5, 11, 6, 7, 12])
    masked = tokens.mask_words(ids, Drawn([0] * 5), 0.5, continuation=CONTINUES)
    # 11 carries on what is never masked; 12 stands last
    assert masked.tolist() == [5, 11, 3, 3, 12]


@settings(max_examples=100, deadline=None)
@given(ids=st.lists(st.integers(4, 19), min_size=3, max_size=100), seed=st.integers(0, 999))
def test_what_is_not_masked_stays_and_no_word_is_masked_in_part(ids, seed):
    given_ids = np.array([2, *ids, 0, 0])
    kept = given_ids.copy()
    masked = tokens.mask_words(given_ids, np.random.default_rng(seed), continuation=CONTINUES)
    assert np.array_equal(given_ids, kept)
    changed = masked != given_ids
    assert (masked[changed] == 3).all()
    for at in np.flatnonzero(CONTINUES[given_ids]):
        if at > 1:
            assert changed[at] == changed[at - 1]


def test_half_the_words_are_masked_and_the_share_can_be_set():
    ids = np.array([2, *[5] * 998, 0])
    for share in (0.5, 0.15):
        masked = tokens.mask_words(ids, np.random.default_rng(0), share, continuation=CONTINUES)
        assert (masked == 3).mean() == pytest.approx(share, abs=0.05)


def test_continuations_are_the_entries_with_two_hashes(tokenizer):
    flags = tokens.continuations(tokenizer)
    for token, index in tokenizer.get_vocab().items():
        assert flags[index] == token.startswith("##")


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_file(), reason="Open-i's reports are not beside this checkout")
def test_real_reports_train_a_tokenizer_that_knows_their_words():
    with REAL.open(newline="", encoding="utf-8") as file:
        reports = [row["report_content"] for row in csv.DictReader(file)]
    one, other = (tokens.train_tokenizer(order, 3000) for order in (reports, reports[::-1]))
    assert one.to_str() == other.to_str()
    assert one.get_vocab_size() == 3000
    text = "No focal consolidation, pleural effusion, or pneumothorax."
    assert pieces(one, text) == [
        *("[CLS]", "no", "focal", "consolidation", ",", "pleural", "effusion", ","),
        *("or", "pneumothorax", "."),
    ]
    unknown = sum((tokens.encode(one, report, 100)[0] == tokens.UNK).sum() for report in reports)
    assert unknown == 0
