"""Is a report read by the BERT that was asked for, and is a folder of weights taken as it is?"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel

from trainers.config import InputError, MissingError
from trainers.modules import text_tower

WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] no left right effusion pneum ##othorax small .".split()


def fresh(**change):
    sizes = {"vocab_size": 13, "width": 12, "depth": 3, "num_heads": 2, "length": 9,
             "dropout": 0.0, "pooler": True}  # fmt: skip
    torch.manual_seed(0)
    return text_tower.build_bert(**{**sizes, **change}).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT with a language head, as Bio_ClinicalBERT is shipped: torch file and `vocab.txt`."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=13, hidden_size=12, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=20, max_position_embeddings=16,
    )  # fmt: skip
    state = BertForMaskedLM(config).state_dict()
    pooler = BertModel(config).pooler.state_dict()
    state |= {f"bert.pooler.{name}": tensor for name, tensor in pooler.items()}
    config.save_pretrained(tmp_path)
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    return tmp_path


def test_a_bert_of_given_sizes_returns_tokens_and_the_pooled_class_token() -> None:
    bert = fresh()
    ids = torch.tensor([[2, 5, 6, 3], [2, 8, 0, 0]])
    with torch.no_grad():
        found = text_tower.read_text(bert, ids, (ids != 0).long())
    assert found.tokens.shape == (2, 4, 12)
    pooler = bert.pooler.dense
    by_hand = np.tanh(
        found.tokens[:, 0].numpy() @ pooler.weight.detach().numpy().T + pooler.bias.detach().numpy()
    )
    assert found.pooled is not None
    np.testing.assert_allclose(found.pooled.numpy(), by_hand, rtol=1e-5, atol=1e-6)


def test_without_a_pooler_nothing_is_built_that_no_loss_reaches() -> None:
    bert = fresh(pooler=False).train()
    ids = torch.tensor([[2, 5, 6, 3]])
    found = text_tower.read_text(bert, ids, torch.ones_like(ids))
    assert found.pooled is None
    found.tokens.square().sum().backward()
    assert [n for n, p in bert.named_parameters() if p.grad is None] == []


def test_padding_changes_nothing_about_the_words_before_it() -> None:
    bert = fresh()
    short, long = torch.tensor([[2, 5, 6]]), torch.tensor([[2, 5, 6, 0, 0]])
    with torch.no_grad():
        alone = text_tower.read_text(bert, short, torch.ones_like(short))
        padded = text_tower.read_text(bert, long, (long != 0).long())
    torch.testing.assert_close(padded.tokens[:, :3], alone.tokens)
    torch.testing.assert_close(padded.pooled, alone.pooled)


def test_a_folder_gives_the_weights_in_it_and_leaves_its_head_aside(folder: Path) -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    bert = text_tower.read_bert(folder, pooler=True)
    for name, tensor in bert.state_dict().items():
        assert torch.equal(tensor, state[f"bert.{name}"]), name
    assert text_tower.read_bert(folder, pooler=False).pooler is None


def test_safetensors_are_read_too(folder: Path, tmp_path: Path) -> None:
    bert = text_tower.read_bert(folder, pooler=True)
    bert.save_pretrained(tmp_path / "safe")
    assert text_tower.weights_file(tmp_path / "safe").suffix == ".safetensors"
    again = text_tower.read_bert(tmp_path / "safe", pooler=True)
    for name, tensor in bert.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_a_pooler_that_the_file_lacks_is_not_invented(folder: Path) -> None:
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    bare = {n: t for n, t in state.items() if "pooler" not in n}
    torch.save(bare, folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="pooler"):
        text_tower.read_bert(folder, pooler=True)
    text_tower.read_bert(folder, pooler=False)


class Evil:
    def __reduce__(self):
        return (print, ("code in the weights was run",))


def test_weights_that_want_to_run_code_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"bert.x": Evil()}))
    with pytest.raises(InputError, match=str(folder)):
        text_tower.read_bert(folder, pooler=True)
    assert "code in the weights" not in capsys.readouterr().out


def test_what_is_no_folder_of_a_bert_is_refused(folder: Path) -> None:
    with pytest.raises(MissingError, match=r"config\.json"):
        text_tower.read_bert(folder / "nowhere", pooler=True)
    with pytest.raises(MissingError, match=r"vocab\.txt"):
        text_tower.read_tokenizer(folder / "nowhere", 8)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "roberta"}))
    with pytest.raises(InputError, match="roberta"):
        text_tower.read_bert(folder, pooler=True)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(MissingError, match="safetensors"):
        text_tower.digest(folder)


def test_the_folders_own_tokenizer_frames_cuts_and_pads_a_report(folder: Path) -> None:
    tokenizer = text_tower.read_tokenizer(folder, 6)
    found = tokenizer.encode("Small pneumothorax")
    assert found.ids == [2, 11, 9, 10, 3, 0]
    assert found.attention_mask == [1, 1, 1, 1, 1, 0]
    assert tokenizer.encode("no left effusion . no right effusion .").ids == [2, 5, 6, 8, 12, 3]


def test_frozen_parts_are_the_embeddings_and_the_first_layers() -> None:
    bert = fresh()
    text_tower.freeze(bert, embeddings=True, layers=2)
    free = {name for name, p in bert.named_parameters() if p.requires_grad}
    assert free == {
        n for n, _ in bert.named_parameters() if n.startswith(("encoder.layer.2.", "pooler."))
    }
    other = fresh()
    text_tower.freeze(other, embeddings=False, layers=0)
    assert all(p.requires_grad for p in other.parameters())
