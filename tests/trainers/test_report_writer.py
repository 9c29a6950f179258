"""Does the search find the most probable report, and does the writer remember what it wrote?"""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from trainers.modules import beam
from trainers.modules.report_writer import MovedNorm, RelationalMemory, ReportWriter, sine_table

CPU = torch.device("cpu")
VOCAB, LONGEST = 4, 4


def toy(seed: int):
    """Return a decoder whose next word depends on all before it, and the same as plain numbers."""
    table: dict[tuple[int, ...], Tensor] = {}

    def chances(item: int, words: tuple[int, ...]) -> Tensor:
        generator = torch.Generator().manual_seed(hash((seed, item, *words)) % 2**31)
        logits = 2 * torch.randn(VOCAB, generator=generator)
        return table.setdefault((item, *words), logits.log_softmax(0))

    def step(last: Tensor, state: beam.State) -> tuple[Tensor, beam.State]:
        history = torch.cat([state[0], last[:, None]], dim=1)  # the report's number, then its words
        rows = [tuple(row) for row in history.tolist()]
        logits = torch.stack([chances(row[0], row[2:]) for row in rows])
        return logits + 5.0, [history]  # logits need not be normalised

    return step, chances


def score(chances, item: int, words: tuple[int, ...]) -> float:
    return sum(float(chances(item, words[:i])[word]) for i, word in enumerate(words))


def finished() -> list[tuple[int, ...]]:
    """Return every report: words without 0, then 0, or as many words as there may be."""
    inner = range(1, VOCAB)
    ended = [(*w, 0) for n in range(LONGEST) for w in itertools.product(inner, repeat=n)]
    return ended + list(itertools.product(inner, repeat=LONGEST))


def find(step, items: int, beams: int, shortest: int = 0) -> list[tuple[int, ...]]:
    state = [torch.arange(items)[:, None]]
    ids = beam.search(step, state, batch=items, device=CPU, beams=beams, longest=LONGEST,
                      shortest=shortest)  # fmt: skip
    assert ids.shape == (items, LONGEST)
    return [tuple(row) for row in ids.tolist()]


@pytest.mark.parametrize("seed", range(5))
def test_a_beam_as_wide_as_there_are_reports_finds_the_best_of_all(seed):
    step, chances = toy(seed)
    for item, words in enumerate(find(step, 3, VOCAB**LONGEST)):
        best = max(finished(), key=lambda words: score(chances, item, words))
        assert words == (best + (0,) * LONGEST)[:LONGEST]


@pytest.mark.parametrize("seed", range(5))
def test_reports_shorter_than_allowed_are_not_found(seed):
    step, chances = toy(seed)
    long_enough = [w for w in finished() if sum(word > 0 for word in w) >= 3]
    for item, words in enumerate(find(step, 3, VOCAB**LONGEST, shortest=3)):
        best = max(long_enough, key=lambda words: score(chances, item, words))
        assert words == (best + (0,) * LONGEST)[:LONGEST]


@pytest.mark.parametrize("seed", range(5))
def test_one_beam_takes_the_likeliest_word_each_time(seed):
    step, chances = toy(seed)
    for item, words in enumerate(find(step, 4, 1)):
        greedy: tuple[int, ...] = ()
        while len(greedy) < LONGEST and (not greedy or greedy[-1]):
            greedy = (*greedy, int(chances(item, greedy).argmax()))
        assert words == (greedy + (0,) * LONGEST)[:LONGEST]


def plain_beams(chances, item: int, beams: int) -> tuple[int, ...]:
    """Search one report as R2Gen's code says: beams that end give their places to the others."""
    live, done = [((), 0.0)], []
    for length in range(LONGEST):
        grown = [((*w, v), s + float(chances(item, w)[v])) for w, s in live for v in range(VOCAB)]
        grown = sorted(grown, key=lambda pair: -pair[1])[:beams]
        done += [pair for pair in grown if pair[0][-1] == 0 or length == LONGEST - 1]
        live = [pair for pair in grown if pair[0][-1] != 0]
    return max(done, key=lambda pair: pair[1])[0]


@pytest.mark.parametrize("beams", [2, 3])
def test_a_batch_is_searched_as_its_reports_one_by_one(beams):
    for seed in range(6):
        step, chances = toy(seed)
        for item, words in enumerate(find(step, 5, beams)):
            best = plain_beams(chances, item, beams)
            assert words == (best + (0,) * LONGEST)[:LONGEST]


def writer(slots: int, vocab_size: int = 9) -> ReportWriter:
    torch.manual_seed(1)
    made = ReportWriter(
        6, vocab_size=vocab_size, width=8, depth=2, num_heads=2, inner=12, length=7, slots=slots,
        dropout=0.3, patch_dropout=0.5,
    )  # fmt: skip
    for parameter in made.parameters():  # louder than at the start, so that reports differ
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.6)
    torch.nn.init.normal_(made.words.weight, std=0.3)
    torch.nn.init.zeros_(made.output.bias)
    torch.nn.init.constant_(made.output.bias[:1], -1.5)
    return made.eval()


@pytest.mark.parametrize("slots", [0, 3])
def test_words_are_written_as_if_all_were_read_again_each_time(slots):
    made = writer(slots)
    patches = 3 * torch.randn(6, 4, 6)
    with torch.inference_mode():
        found = made.write(patches, beams=1, longest=7, shortest=0)
        for row in range(len(patches)):
            ids = [0]
            while len(ids) < 8 and (len(ids) == 1 or ids[-1]):
                logits = made(patches[row : row + 1], torch.tensor([ids]))
                ids.append(int(logits[0, -1].argmax()))
            assert found[row].tolist() == (ids[1:] + [0] * 7)[:7]
    assert len({tuple(row) for row in found.tolist()}) > 1


@pytest.mark.parametrize("slots", [0, 3])
def test_more_beams_find_no_less_probable_reports(slots):
    made = writer(slots)
    patches = torch.randn(6, 4, 6)

    def chance(ids: Tensor) -> Tensor:
        given = torch.cat([torch.zeros(len(ids), 1, dtype=torch.long), ids], dim=1)
        each = made(patches, given[:, :-1]).log_softmax(2).gather(2, given[:, 1:, None])[..., 0]
        over = (given[:, 1:] == 0).long().cumsum(1) > 1  # behind the end
        return each.masked_fill(over, 0).sum(1)

    with torch.inference_mode():
        one, many = (made.write(patches, beams=k, longest=7, shortest=0) for k in (1, 40))
        assert (chance(many) >= chance(one) - 1e-5).all()
        assert (chance(many) > chance(one) + 1e-3).any()


@pytest.mark.parametrize("slots", [0, 3])
def test_no_word_sees_those_behind_it_and_every_word_sees_the_image(slots):
    made = writer(slots)
    patches, ids = torch.randn(2, 4, 6), torch.randint(1, 9, (2, 6))
    with torch.inference_mode():
        before = made(patches, ids)
        later = ids.clone()
        later[:, 4] = (later[:, 4] + 1) % 9
        changed = (made(patches, later) - before).abs().amax(dim=2) > 1e-6
        assert not changed[:, :4].any()
        assert changed[:, 4:].all()
        assert (((made(patches + 1, ids) - before).abs().amax(dim=2)) > 1e-6).all()


def test_the_memory_follows_the_papers_gates():
    torch.manual_seed(0)
    memory = RelationalMemory(4, slots=2, num_heads=1, dropout=0.0)
    word, old = torch.randn(1, 4), torch.randn(1, 2, 4)
    read = torch.cat([old, word[:, None]], dim=1)
    attention = memory.attention
    weights = (attention.query(old) @ attention.key(read).mT / 2).softmax(-1)
    new = old + attention.out(weights @ attention.value(read))
    new = new + memory.mlp(new)
    gates = memory.from_word(word[:, None]) + memory.from_memory(torch.tanh(old))
    expected = torch.sigmoid(gates[..., :4]) * torch.tanh(new) + torch.sigmoid(gates[..., 4:]) * old
    torch.testing.assert_close(memory.step(word, old), expected)
    start = memory.start(word)
    assert start.tolist() == [[[1, 0, 0, 0], [0, 1, 0, 0]]]
    words = torch.randn(1, 3, 4)
    last = start
    for one in words.unbind(1):
        last = memory.step(one, last)
    torch.testing.assert_close(memory(words)[:, -1], last.flatten(1))


def test_the_memory_moves_scale_and_shift_of_a_norm():
    torch.manual_seed(0)
    norm = MovedNorm(4, slots=2)
    tokens, memory = torch.randn(1, 3, 4), torch.randn(1, 3, 8)
    centred = tokens - tokens.mean(-1, keepdim=True)
    plain = centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    expected = (1 + norm.scale(memory)) * plain + norm.shift(memory)
    torch.testing.assert_close(norm(tokens, memory), expected)
    assert norm.scale[0].bias.tolist() == pytest.approx([0.1] * 4)


def test_places_are_those_of_the_first_transformer():
    table = sine_table(5, 6)
    assert table[3, 2].item() == pytest.approx(torch.tensor(3 / 10_000 ** (2 / 6)).sin().item())
    assert table[3, 3].item() == pytest.approx(torch.tensor(3 / 10_000 ** (2 / 6)).cos().item())
