"""ConVIRT: its losses worked again in plain loops, what stays frozen, and what its presets say."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn
from torchvision.models import resnet50
from transformers import BertConfig, BertModel

from trainers import evaluate, pretrain
from trainers.config import ConfigError, resolve
from trainers.methods import baselines, convirt
from trainers.modules import text_tower
from trainers.modules.vit import NORM
from trainers.resnets import ResNetSize
from trainers.training import Training

SMALL = {
    "image_encoder": "vit", "image_px": 32, "patch_px": 8, "embed_dim": 64, "depth": 2,
    "num_heads": 1, "bert_dim": 12, "bert_depth": 2, "bert_heads": 3, "bert_dropout": 0.0,
    "report_length": 9, "projection_dim": 10,
}  # fmt: skip
VOCAB = 30


def method(**change) -> convirt.Method:
    torch.manual_seed(1)
    made = convirt.Method(convirt.Config(**{**SMALL, **change}), vocab_size=VOCAB).eval()
    with torch.no_grad():
        for parameter in [*made.image_projection.parameters(), *made.text_projection.parameters()]:
            parameter.normal_(std=0.5)
    return made


def batch(count: int = 5, px: int = 32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    ids = torch.randint(4, VOCAB, (count, 9), generator=generator)
    lengths = torch.randint(3, 10, (count, 1), generator=generator)
    seen = torch.arange(9)[None] < lengths
    return {
        "image": torch.randn(count, 3, px, px, generator=generator),
        "ids": ids * seen,
        "attention_mask": seen.long(),
    }


def part(made: nn.Module, name: str) -> dict[str, torch.Tensor]:
    """The tensors of one part of a method, by the names they have within it."""
    return {
        key.removeprefix(f"{name}."): tensor
        for key, tensor in made.state_dict().items()
        if key.startswith(f"{name}.")
    }


def projected(state: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    hidden = (state["0.weight"] @ x + state["0.bias"]).clamp(min=0)
    return state["2.weight"] @ hidden + state["2.bias"]


def features_of(made: convirt.Method, images: torch.Tensor) -> torch.Tensor:
    """What timm's or torchvision's own network makes of images, one at a time."""
    if isinstance(made.size, ResNetSize):
        net = resnet50()
        net.fc = nn.Identity()
        net.load_state_dict(part(made, "encoder"))
    else:
        net = VisionTransformer(
            img_size=32, patch_size=8, embed_dim=64, depth=2, num_heads=1, num_classes=0,
            global_pool="", norm_layer=NORM,
        )  # fmt: skip
        net.load_state_dict(part(made, "encoder"))
    net.eval()
    found = [net(image[None])[0] for image in images]
    return torch.stack([x if x.ndim == 1 else x[1:].mean(dim=0) for x in found])


def independent(made: convirt.Method, given: dict[str, torch.Tensor]) -> dict[str, float]:
    """The paper's equations, in loops over pairs and over words."""
    config = BertConfig(
        vocab_size=VOCAB, hidden_size=12, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=48, max_position_embeddings=9,
    )  # fmt: skip
    bert = BertModel(config, add_pooling_layer=False).eval()
    bert.load_state_dict(part(made, "text_encoder"))
    v, u = [], []
    for image in features_of(made, given["image"]):
        v.append(projected(part(made, "image_projection"), image))
    for ids, seen in zip(given["ids"], given["attention_mask"], strict=True):
        words = bert(ids[: seen.sum()][None]).last_hidden_state[0]  # padding is never shown
        largest = torch.stack([words[:, channel].max() for channel in range(12)])
        u.append(projected(part(made, "text_projection"), largest))

    def alike(a, b):
        return float(a @ b / (a.norm() * b.norm())) / 0.1

    count = len(v)
    to_text = to_image = 0.0
    for i in range(count):
        own = math.exp(alike(v[i], u[i]))
        to_text -= math.log(own / sum(math.exp(alike(v[i], u[k])) for k in range(count))) / count
        to_image -= math.log(own / sum(math.exp(alike(v[k], u[i])) for k in range(count))) / count
    first = sum(max(range(count), key=lambda k: alike(v[i], u[k])) == i for i in range(count))
    return {
        "loss": 0.75 * to_text + 0.25 * to_image,
        "loss_image_to_text": to_text,
        "loss_text_to_image": to_image,
        "recall_at_1": first / count,
    }


@pytest.mark.parametrize("encoder", ["vit", "resnet50"])
def test_the_losses_of_a_saved_batch_are_the_papers_equations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoder: str
) -> None:
    made, given = method(image_encoder=encoder), batch()
    torch.save({"model": made.state_dict()}, tmp_path / "weights.pth")
    torch.save(given, tmp_path / "batch.pt")
    options = [word for k, v in SMALL.items() for word in (f"--{k}", str(v))]
    files = ["--pretrained", str(tmp_path / "weights.pth"), "--batch", str(tmp_path / "batch.pt")]
    words = ["--task", "pretrain", "--method", "convirt", *files, *options]
    assert evaluate.main([*words, "--image_encoder", encoder, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["values"]
    with torch.no_grad():
        expected = independent(made, given)
    assert {name: said[name] for name in expected} == pytest.approx(expected, rel=1e-4)
    assert said["loss_contrast"] == said["loss"]


def test_a_batch_that_lacks_a_tensor_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"model": method().state_dict()}, tmp_path / "w.pth")
    torch.save({k: v for k, v in batch().items() if k != "ids"}, tmp_path / "b.pt")
    options = [word for k, v in SMALL.items() for word in (f"--{k}", str(v))]
    files = ["--pretrained", str(tmp_path / "w.pth"), "--batch", str(tmp_path / "b.pt")]
    words = ["--task", "pretrain", "--method", "convirt", *files, *options]
    assert evaluate.main(words) == 4
    assert "ids" in capsys.readouterr().err


def with_embeddings(image: torch.Tensor, text: torch.Tensor, **change) -> dict[str, torch.Tensor]:
    """What a method says of embeddings that are handed to it in place of image and text."""
    made = method(**change)
    made.image_projection = made.text_projection = nn.Identity()
    made.see = lambda _: image
    made.read = lambda *_: text
    return made(batch(len(image)))


def test_two_pairs_give_the_loss_worked_by_hand() -> None:
    """Cosines of images and texts: 1 and 0, 0.6 and 0.8; at a temperature of 1."""
    image = torch.tensor([[2.0, 0.0], [3.0, 4.0]])
    text = torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    found = with_embeddings(image, text, temperature=1.0, image_to_text=0.75)
    to_text = (math.log1p(math.exp(0 - 1)) + math.log1p(math.exp(0.6 - 0.8))) / 2
    to_image = (math.log1p(math.exp(0.6 - 1)) + math.log1p(math.exp(0 - 0.8))) / 2
    assert found["monitor/loss_image_to_text"].item() == pytest.approx(to_text)
    assert found["monitor/loss_text_to_image"].item() == pytest.approx(to_image)
    loss = 0.75 * to_text + 0.25 * to_image
    assert found["loss_contrast"].item() == pytest.approx(loss)


def test_recall_counts_own_sentences_among_the_most_alike_in_both_directions() -> None:
    """Texts are axes. Image 4's own is third, image 5's last; image 5 lies nearest to text 4."""
    text, image = torch.eye(6), torch.eye(6)
    image[4] = torch.tensor([0.9, 0.8, 0.0, 0.0, 0.7, 0.1])
    image[5] = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9, 0.3])
    found = with_embeddings(image, text)
    assert found["monitor/recall_at_1"].item() == pytest.approx(4 / 6)
    assert found["monitor/recall_at_5"].item() == pytest.approx(5 / 6)
    assert found["monitor/recall_at_1_to_image"].item() == pytest.approx(5 / 6)
    assert found["monitor/recall_at_5_to_image"].item() == 1


def test_padding_plays_no_part_in_what_a_sentence_says() -> None:
    made, given = method(), batch()
    changed = given["ids"] + 7 * (1 - given["attention_mask"])
    with torch.no_grad():
        whole = made.read(given["ids"], given["attention_mask"])
        torch.testing.assert_close(made.read(changed, given["attention_mask"]), whole)


@pytest.mark.parametrize("encoder", ["vit", "resnet50"])
def test_every_trained_parameter_gets_a_gradient(encoder: str) -> None:
    made = method(image_encoder=encoder, resnet_width=4).train()
    made(batch(px=64 if encoder == "resnet50" else 32))["loss_contrast"].backward()
    trained = {n: p for n, p in made.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None] == []
    assert all(trained[n].grad.abs().sum() > 0 for n in trained if "projection" in n)


@pytest.fixture
def text_model(tmp_path: Path) -> Path:
    """A folder of a BERT with a tokenizer, as Bio_ClinicalBERT is shipped."""
    torch.manual_seed(5)
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] no left right pleural effusion heart normal .".split()
    config = BertConfig(
        vocab_size=len(words), hidden_size=12, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=16,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "vocab.txt").write_text("\n".join(words) + "\n")
    return tmp_path / "bert"


def test_the_frozen_part_of_a_text_model_stays_bit_for_bit(text_model: Path) -> None:
    made = method(text_model=str(text_model), freeze_layers=2).train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    groups = [p for p in made.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(groups, lr=1e-2, weight_decay=0.1)
    for _ in range(3):
        given = batch()
        given["ids"] %= 13
        made(given)["loss_contrast"].backward()
        optimizer.step()
        optimizer.zero_grad()
    after = made.state_dict()
    frozen = {name for name in before if torch.equal(before[name], after[name])}
    expected = {
        name
        for name in before
        if name.startswith(("text_encoder.embeddings", "text_encoder.encoder.layer.0.",
                            "text_encoder.encoder.layer.1.", "encoder.pos_embed"))
    }  # fmt: skip
    # a key's bias shifts all scores of a query alike, and no softmax sees that
    silent = {name for name in frozen - expected if name.endswith("key.bias")}
    assert frozen - silent == expected


def test_a_text_model_is_read_with_its_own_tokenizer(text_model: Path) -> None:
    config = convirt.Config(**SMALL, text_model=str(text_model))
    tokenizer = text_tower.read_tokenizer(text_model, 9)
    pairs = convirt.items(config, [], tokenizer=None, train=False)
    ids, seen = pairs._encode("No left pleural effusion.")
    assert ids.tolist() == tokenizer.encode("No left pleural effusion.").ids
    assert (ids[0], ids[6], seen.sum()) == (2, 3, 7)  # [CLS] first, [SEP] last


@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_presets_name_only_settings_that_exist_and_fit(preset: str) -> None:
    classes = [pretrain.Config, Training, convirt.Config]
    _, training, config = resolve(classes, preset=convirt.PRESETS[preset], given={})
    if preset == "quick":
        assert convirt.encoder_size(config) == ResNetSize(width=16)
        vit = replace(config, image_encoder="vit")
        assert convirt.encoder_size(vit) == baselines.size_of("quick")
    else:
        assert config == convirt.Config()
        assert (training.optimizer, training.lr, training.weight_decay) == ("adam", 1e-4, 1e-6)
        assert (training.batch_size, training.schedule) == (32, "plateau")
        assert (config.temperature, config.image_to_text) == (0.1, 0.75)
        assert convirt.encoder_size(config).embed_dim == 2048


@pytest.mark.parametrize(
    "words", [["convirt", "--image_encoder", "vit"], ["convirt", "--image-encoder=vit"],
              ["convirt+vit"]]
)  # fmt: skip
def test_the_transformer_comes_with_its_own_recipe(words: list[str]) -> None:
    flat = pretrain.configure(["--method", *words]).flat
    assert (flat["optimizer"], flat["lr"], flat["batch_size"]) == ("adamw", 1.5e-4, 128)
    assert (flat["schedule"], flat["steps"], flat["epochs"]) == ("cosine", 0, 50)
    _, _, config = pretrain.configure(["--method", *words]).configs
    assert convirt.encoder_size(config) == baselines.size_of("paper")


def test_what_is_given_goes_before_what_an_option_brings() -> None:
    flat = pretrain.configure(["--method", "convirt+vit", "--lr", "3e-4"]).flat
    assert (flat["lr"], flat["optimizer"]) == (3e-4, "adamw")


def test_a_resnet_keeps_the_papers_optimiser() -> None:
    flat = pretrain.configure(["--method", "convirt"]).flat
    assert (flat["image_encoder"], flat["optimizer"]) == ("resnet50", "adam")


@pytest.mark.parametrize(
    "change",
    [{"temperature": 0.0}, {"image_to_text": 1.5}, {"bert_heads": 5}, {"report_length": 2},
     {"projection_dim": 0}, {"bert_dropout": 1.0}, {"patch_px": 5}, {"freeze_layers": -1},
     {"resnet_width": 0, "image_encoder": "resnet50"}],
)  # fmt: skip
def test_a_setting_that_cannot_work_is_refused_by_its_name(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(change))):
        convirt.Config(**{**SMALL, **change})
