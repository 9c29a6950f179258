"""Does the description of a file say what a training would really take from it?"""

from __future__ import annotations

import argparse
import json
import os

import numpy as np
import pytest
import torch

from trainers import catalog, checkpoints, describe, layouts, weights
from trainers.config import resolve
from trainers.methods import mae, mrm
from trainers.pretrain import method_module, pretrainable


def quick(module, **change):
    own = {k: v for k, v in module.PRESETS["quick"].items() if k in module.Config.__annotations__}
    (config,) = resolve([module.Config], preset=own, given=change)
    return config


def published(path, method, wrap=True):
    state = {weights.mrm_name(name): t for name, t in method.state_dict().items()}
    torch.save({"model": state, "args": argparse.Namespace(lr=1)} if wrap else state, path)
    return path


@pytest.fixture
def mrm_file(tmp_path):
    """MRM's layout, with heads of 64 values as published files have them."""
    config = quick(mrm, embed_dim=128, num_heads=2, depth=2)
    return published(tmp_path / "MRM.pth", mrm.Method(config, vocab_size=50))


@pytest.fixture
def own_file(tmp_path):
    """The state of a quick training of ours, decoders and all."""
    config = quick(mrm)
    method = mrm.Method(config, vocab_size=50)
    about = {"recipe": "x", "num_heads": config.num_heads, "method": "mrm", "task": "pretrain"}
    content = {"format": checkpoints.FORMAT, "model": method.state_dict(), "config": about}
    torch.save({**content, "step": 7, "optimizer": {"state": {}}}, tmp_path / "last.pt")
    return tmp_path / "last.pt"


def said_of(path, name):
    """What is said of one method; all of them take seconds."""
    found = layouts.find(weights.read_checkpoint(path))
    return describe.method_fact(name, found, describe.encoder_facts(path, found))


def said(path):
    """Kind and description."""
    content = weights.read_checkpoint(path)
    found = layouts.find(content)
    encoder = describe.encoder_facts(path, found)
    return found.kind, describe.what(content, found, encoder), encoder


@pytest.mark.slow
def test_sizes_groups_and_digest_are_the_files_and_every_method_is_told_of(capsys, mrm_file):
    assert describe.main([str(mrm_file)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["what"]) == ("mrm", "MRM, ViT/8, 128 wide, 2 deep")
    sizes = {"image_px": 64, "patch_px": 8, "embed_dim": 128, "depth": 2, "num_heads": 2}
    assert told["encoder"]["size"] == sizes
    assert told["encoder"]["problem"] == ""
    assert told["encoder"]["normalisation"] == {"mean": [0.4978], "std": [0.2449]}
    assert told["sha256"] == checkpoints.sha256(mrm_file)
    assert told["bytes"] == mrm_file.stat().st_size
    state = torch.load(mrm_file, weights_only=False)["model"]
    assert told["tensors_total"] == len(state) == sum(g["tensors"] for g in told["groups"])
    values = sum(tensor.numel() for tensor in state.values())
    assert told["parameters"] == values == sum(g["values"] for g in told["groups"])
    shapes = {t["name"]: (tuple(t["shape"]), t["dtype"]) for t in told["tensors"]}
    assert shapes == {n: (tuple(t.shape), "float32") for n, t in state.items()}
    assert [one["method"] for one in told["methods"]] == list(catalog.METHODS)
    for one in told["methods"]:
        if one["method"] not in pretrainable():
            assert one["problem"] == "is not pre-trained"
        elif not one["problem"]:
            assert one["parts"][0]["part"] == "encoder"


@pytest.mark.parametrize("name", ["mae", "mrm", "deep_mrm"])
def test_what_is_said_to_be_taken_is_what_a_pretraining_takes(own_file, name):
    told = said_of(own_file, name)
    module = method_module(name)
    method = module.Method(quick(module), vocab_size=50)
    report = weights.start_from(method, own_file)
    assert told["preset"] == "quick"
    assert {p["part"] for p in told["parts"] if not p["taken"]} == set(report.missing)
    assert told["left"] == report.unexpected
    assert all(bool(p["why"]) != p["taken"] for p in told["parts"])


def test_a_part_that_does_not_fit_says_which_tensor_and_how(own_file, tmp_path):
    content = torch.load(own_file, weights_only=True)
    content["model"]["image_decoder.decoder_pred.bias"] = torch.zeros(3)
    del content["model"]["report_decoder.bert_mlp.bias"]
    torch.save(content, tmp_path / "odd.pt")
    parts = said_of(tmp_path / "odd.pt", "mrm")["parts"]
    why = {part["part"]: part["why"] for part in parts}
    assert why["encoder"] == ""
    assert why["image_decoder"] == "`image_decoder.decoder_pred.bias` is (3,) there, (768,) here"
    assert why["report_decoder"] == "the file lacks `report_decoder.bert_mlp.bias`"


def test_an_encoder_of_another_size_says_what_differs(mrm_file):
    parts = said_of(mrm_file, "mrm")["parts"]
    assert parts[0] == {
        "part": "encoder",
        "taken": False,
        "why": "`patch_px` 8 there, 16 here, `embed_dim` 128 there, 768 here, "
        "`depth` 2 there, 12 here, `num_heads` 2 there, 12 here",
    }


def test_a_file_of_ours_tells_its_run(own_file):
    run = describe.run_facts(weights.read_checkpoint(own_file))
    assert (run["method"], run["task"], run["step"]) == ("mrm", "pretrain", 7)
    assert said(own_file)[1].startswith("a training to go on from (last.pt), ViT/8")
    assert describe.run_facts({"model": {}, "config": {"lr": 1}}) is None


@pytest.mark.parametrize("wrap", [True, False])
def test_maes_files_with_their_decoder_are_known(tmp_path, wrap):
    config = quick(mae, embed_dim=128, num_heads=2, depth=2)
    kind, what, _ = said(published(tmp_path / "x.pth", mae.Method(config), wrap))
    assert (kind, what) == ("mae", "MAE, with its decoder, ViT/8, 128 wide, 2 deep")


def test_a_resnet_is_known_and_no_vision_transformer_takes_it(tmp_path):
    from timm import create_model

    torch.save(create_model("resnet50", num_classes=2).state_dict(), tmp_path / "resnet.pth")
    kind, what, encoder = said(tmp_path / "resnet.pth")
    assert (kind, what, encoder["name"]) == (
        "resnet", "ResNet-50 of torchvision or timm", "ResNet-50",
    )  # fmt: skip
    why = said_of(tmp_path / "resnet.pth", "mrm")["parts"][0]["why"]
    assert why == "the method has a vision transformer, the file a ResNet-50"


@pytest.mark.parametrize("benchx", [False, True])
def test_re_implementations_of_convirt_are_known_by_their_layouts(tmp_path, benchx):
    """Either the children of a ResNet-50 by their number, or by their name under a prefix."""
    from timm import create_model

    numbers = {"conv1": 0, "bn1": 1, "layer1": 4, "layer2": 5, "layer3": 6, "layer4": 7}
    state = {"vis_proj.weight" if benchx else "res_l1.weight": torch.zeros(4, 4)}
    for name, tensor in create_model("resnet50").state_dict().items():
        child, _, rest = name.partition(".")
        if child in numbers:
            place = f"visual.model.{child}" if benchx else f"res_features.{numbers[child]}"
            state[f"{place}.{rest}"] = tensor
    torch.save({"model": state} if benchx else state, tmp_path / "model.pth")
    kind, what, encoder = said(tmp_path / "model.pth")
    assert (kind, what.split()[0]) == ("convirt", "ConVIRT")
    assert (encoder["problem"], encoder["size"]["width"]) == ("", 64)


def test_a_file_without_an_encoder_is_told_of_all_the_same(tmp_path):
    torch.save({"vis_proj.weight": torch.zeros(2, 3)}, tmp_path / "x.pth")
    _, what, encoder = said(tmp_path / "x.pth")
    assert what == "no layout that is known here"
    assert encoder["problem"] == "holds no vision transformer and no ResNet-50, but vis_proj (1)"
    assert not said_of(tmp_path / "x.pth", "mae")["parts"][0]["taken"]


class Trap:
    def __reduce__(self):
        return os.system, ("touch sprung",)


@pytest.mark.parametrize("suffix", ["pth", "npz"])
def test_a_file_that_wants_to_run_code_is_refused_with_4(capsys, tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    if suffix == "npz":
        np.savez("evil.npz", cls=np.array([Trap()], dtype=object))
    else:
        torch.save({"args": Trap()}, "evil.pth")
    assert describe.main([f"evil.{suffix}"]) == 4
    assert f"evil.{suffix} is refused" in capsys.readouterr().err
    assert not (tmp_path / "sprung").exists()


def test_a_file_that_is_not_there_ends_with_3(capsys, tmp_path):
    assert describe.main([str(tmp_path / "x.pth")]) == 3
