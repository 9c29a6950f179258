"""Is the report branch BERT with one image vector added where MRM adds it?"""

from __future__ import annotations

import math

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from trainers.modules.report_decoder import ReportDecoder, report_errors

SIZE = {"vocab_size": 40, "width": 16, "depth": 2, "num_heads": 2, "length": 7}


def decoder(dropout=0.0):
    torch.manual_seed(3)
    made = ReportDecoder(12, **SIZE, dropout=dropout).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_(std=0.4)
    return made


def reference(ours):
    """transformers' own masked language model with the same weights and plain attention."""
    config = BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=7, tie_word_embeddings=False,
        attn_implementation="eager",
    )  # fmt: skip
    model = BertForMaskedLM(config).eval()
    state = {
        name.removeprefix("bert_encoder.model."): tensor
        for name, tensor in ours.state_dict().items()
        if name.startswith("bert_encoder.")
    }
    model.load_state_dict(state)
    return model


def inputs():
    torch.manual_seed(5)
    ids = torch.randint(1, 40, (3, 7))
    attention_mask = torch.ones(3, 7, dtype=torch.int64)
    attention_mask[1, 4:] = 0
    attention_mask[2, 1:] = 0
    return ids * attention_mask, attention_mask, torch.randn(3, 5, 12)


def test_the_image_is_added_after_the_embeddings_norm_at_every_position():
    ours, (ids, attention_mask, latent) = decoder(), inputs()
    model = reference(ours)
    with torch.no_grad():
        # as the released code has it: every token projected, the class token dropped, then the mean
        image = ours.bert_mlp(latent)[:, 1:].mean(dim=1)
        model.bert.embeddings.register_forward_hook(lambda m, args, out: out + image[:, None])
        expected = model(input_ids=ids, attention_mask=attention_mask).logits
        out = ours(ids, attention_mask, latent)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_an_image_of_nothing_leaves_plain_bert():
    ours, (ids, attention_mask, latent) = decoder(), inputs()
    with torch.no_grad():
        ours.bert_mlp.weight.zero_()
        ours.bert_mlp.bias.zero_()
        expected = reference(ours)(input_ids=ids, attention_mask=attention_mask).logits
        out = ours(ids, attention_mask, latent)
    torch.testing.assert_close(out, expected, rtol=1e-4, atol=1e-4)


def test_a_report_read_for_itself_is_plain_bert_at_its_first_position():
    ours, (ids, attention_mask, _) = decoder(), inputs()
    with torch.no_grad():
        plain = reference(ours).bert(input_ids=ids, attention_mask=attention_mask)
        out = ours.read(ids, attention_mask)
    torch.testing.assert_close(out, plain.last_hidden_state[:, 0], rtol=1e-4, atol=1e-4)


def test_the_class_token_does_not_reach_the_report():
    ours, (ids, attention_mask, latent) = decoder(), inputs()
    with torch.no_grad():
        before = ours(ids, attention_mask, latent)
        latent[:, 0] += 100
        assert torch.equal(ours(ids, attention_mask, latent), before)


def test_no_position_looks_at_padding_but_padding_has_logits():
    ours, (ids, attention_mask, latent) = decoder(), inputs()
    with torch.no_grad():
        before = ours(ids, attention_mask, latent)
        ids[1, 5] = 9
        after = ours(ids, attention_mask, latent)
    assert torch.equal(after[1, [0, 1, 2, 3, 4, 6]], before[1, [0, 1, 2, 3, 4, 6]])
    assert not torch.equal(after[1, 5], before[1, 5])


def test_the_head_is_not_tied_to_the_word_embeddings():
    ours = ReportDecoder(12, **SIZE, dropout=0.0)
    parts = ours.bert_encoder["model"]
    head = parts["cls"].predictions
    words = parts["bert"].embeddings.word_embeddings.weight
    assert head.decoder.weight is not words
    assert not torch.equal(head.decoder.weight, words)
    assert head.decoder.bias is head.bias


def test_the_paper_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        made = ReportDecoder(
            768, vocab_size=30000, width=384, depth=6, num_heads=6, length=100, dropout=0.1
        )
    pooler = 384 * 384 + 384  # in the released file, and never used
    assert sum(p.numel() for p in made.bert_mlp.parameters()) == 295_296
    assert sum(p.numel() for p in made.bert_encoder.parameters()) + pooler == 34_053_168


def test_every_parameter_is_trained_by_the_report_alone():
    ours, (ids, attention_mask, latent) = decoder(), inputs()
    ours.train()
    errors = report_errors(ours(ids, attention_mask, latent), ids, ids, training=False)
    errors.every.backward()
    assert [n for n, p in ours.named_parameters() if p.grad is None] == []


def test_dropout_is_there_in_training_only():
    ours, given = decoder(dropout=0.5), inputs()
    with torch.no_grad():
        assert torch.equal(ours(*given), ours(*given))
        ours.train()
        assert not torch.equal(ours(*given), ours(*given))


def test_linear_layers_start_xavier_uniform_and_embeddings_normal():
    torch.manual_seed(0)
    made = ReportDecoder(64, vocab_size=500, width=64, depth=1, num_heads=2, length=50, dropout=0.1)
    bert = made.bert_encoder["model"]["bert"]
    limit = (6 / (64 + 64)) ** 0.5
    weight = bert.encoder.layer[0].attention.self.query.weight
    assert weight.abs().max().item() == pytest.approx(limit, rel=1e-2)
    assert bert.embeddings.word_embeddings.weight[1:].std().item() == pytest.approx(0.02, rel=0.05)


def test_errors_over_all_and_over_hidden_positions_by_hand():
    logits = torch.zeros(1, 4, 3)
    logits[0, 0] = torch.tensor([math.log(2), 0.0, 0.0])  # shares 1/2, 1/4, 1/4
    ids = torch.tensor([[0, 1, 2, 1]])
    labels = torch.tensor([[0, 2, 1, -100]])  # positions 1 and 2 were hidden, 3 is not scored
    errors = report_errors(logits, ids, labels, training=False)
    assert errors.every.item() == pytest.approx((math.log(2) + 2 * math.log(3)) / 3)
    logits[0, 1] = torch.tensor([0.0, 0.0, math.log(6)])  # 1/8, 1/8, 6/8
    errors = report_errors(logits, ids, labels, training=False)
    assert errors.masked.item() == pytest.approx((math.log(8 / 6) + math.log(3)) / 2)
    assert errors.accuracy.item() == 0.5  # word 2 is found; of three equals the first is taken


def test_a_batch_without_hidden_words_has_no_hidden_error_and_no_nan():
    ids = torch.tensor([[0, 1]])
    errors = report_errors(torch.zeros(1, 2, 3), ids, ids, training=False)
    assert errors.masked.item() == errors.accuracy.item() == 0.0
