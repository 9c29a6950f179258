"""Is the loss of a published MAE file here what it is in a forward written from its names alone?"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from trainers import checkpoints, evaluate, pretrain, weights
from trainers.config import ConfigError, resolve
from trainers.data.images import Images
from trainers.data.records import Record
from trainers.methods import baselines, mae
from trainers.training import Training

SMALL = {
    "image_px": 32, "patch_px": 8, "embed_dim": 128, "depth": 3, "num_heads": 2,
    "decoder_dim": 48, "decoder_depth": 2, "decoder_heads": 4,
}  # fmt: skip


def options(sizes):
    return [word for name, value in sizes.items() for word in (f"--{name}", str(value))]


def published_shapes(config):
    """Every tensor of a file that keeps its decoder, as the released code names them."""
    D, W = config.embed_dim, config.decoder_dim
    N, V = (config.image_px // config.patch_px) ** 2, config.patch_px**2 * 3
    shapes = {
        "cls_token": (1, 1, D), "pos_embed": (1, N + 1, D), "mask_token": (1, 1, W),
        "decoder_pos_embed": (1, N + 1, W),
        "patch_embed.proj.weight": (D, 3, config.patch_px, config.patch_px),
        "patch_embed.proj.bias": (D,), "norm.weight": (D,), "norm.bias": (D,),
        "decoder_embed.weight": (W, D), "decoder_embed.bias": (W,),
        "decoder_norm.weight": (W,), "decoder_norm.bias": (W,),
        "decoder_pred.weight": (V, W), "decoder_pred.bias": (V,),
    }  # fmt: skip
    stacks = (("blocks", D, config.depth), ("decoder_blocks", W, config.decoder_depth))
    for stack, width, depth in stacks:
        for i in range(depth):
            for layer, rows, columns in (
                ("attn.qkv", 3 * width, width), ("attn.proj", width, width),
                ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width),
            ):  # fmt: skip
                shapes[f"{stack}.{i}.{layer}.weight"] = (rows, columns)
                shapes[f"{stack}.{i}.{layer}.bias"] = (rows,)
            for norm in ("norm1", "norm2"):
                shapes[f"{stack}.{i}.{norm}.weight"] = (width,)
                shapes[f"{stack}.{i}.{norm}.bias"] = (width,)
    return shapes


def published(config):
    """A file's state with fixed weights, none of them at its initial value."""
    generator = torch.Generator().manual_seed(5)
    state = {}
    for name, shape in published_shapes(config).items():
        fan = shape[-1] if len(shape) > 1 else 16
        state[name] = torch.randn(shape, generator=generator) * fan**-0.5
        if "norm" in name and name.endswith("weight"):
            state[name] = 1 + state[name]
    return state


def block(x, state, name, heads):
    def linear(x, part):
        return F.linear(x, state[f"{name}.{part}.weight"], state[f"{name}.{part}.bias"])

    def norm(x, part):
        at = f"{name}.{part}"
        return F.layer_norm(x, x.shape[-1:], state[f"{at}.weight"], state[f"{at}.bias"], 1e-6)

    q, k, v = linear(norm(x, "norm1"), "attn.qkv").chunk(3, dim=-1)
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    share = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)
    x = x + linear((share @ v).transpose(1, 2).flatten(2), "attn.proj")
    return x + linear(F.gelu(linear(norm(x, "norm2"), "mlp.fc1")), "mlp.fc2")


def reference_loss(state, config, image, noise, *, norm_pix=True):
    """MAE's loss from the file's own names, one image at a time, float64."""
    state = {name: tensor.double() for name, tensor in state.items()}
    p, G = config.patch_px, config.image_px // config.patch_px
    kept = int(G * G * (1 - config.mask_ratio))
    errors = []
    for picture, order in zip(image.double(), noise.argsort(dim=1), strict=True):
        x = F.conv2d(
            picture[None], state["patch_embed.proj.weight"], state["patch_embed.proj.bias"], p
        )
        x = x[0].flatten(1).T + state["pos_embed"][0, 1:]
        first = state["cls_token"][0] + state["pos_embed"][0, :1]
        x = torch.cat([first, x[order[:kept]]])[None]
        for i in range(config.depth):
            x = block(x, state, f"blocks.{i}", config.num_heads)
        x = F.layer_norm(x, x.shape[-1:], state["norm.weight"], state["norm.bias"], 1e-6)
        x = F.linear(x, state["decoder_embed.weight"], state["decoder_embed.bias"])[0]
        laid = state["mask_token"][0].repeat(G * G, 1)
        laid[order[:kept]] = x[1:]
        x = (torch.cat([x[:1], laid]) + state["decoder_pos_embed"][0])[None]
        for i in range(config.decoder_depth):
            x = block(x, state, f"decoder_blocks.{i}", config.decoder_heads)
        at = "decoder_norm"
        x = F.layer_norm(x, x.shape[-1:], state[f"{at}.weight"], state[f"{at}.bias"], 1e-6)
        x = F.linear(x, state["decoder_pred.weight"], state["decoder_pred.bias"])[0, 1:]
        for n in order[kept:].tolist():
            row, column = divmod(n, G)
            patch = picture[:, row * p : row * p + p, column * p : column * p + p]
            target = patch.permute(1, 2, 0).flatten()
            if norm_pix:
                target = (target - target.mean()) / (target.var(unbiased=True) + 1e-6) ** 0.5
            errors.append(((x[n] - target) ** 2).mean())
    return torch.stack(errors).mean().item()


def saved_batch(path, config, count=2):
    generator = torch.Generator().manual_seed(6)
    px, N = config.image_px, (config.image_px // config.patch_px) ** 2
    batch = {
        "image": torch.randn(count, 3, px, px, generator=generator),
        "noise": torch.rand(count, N, generator=generator),
    }
    torch.save(batch, path)
    return batch


def evaluated(capsys, file, batch, *more):
    words = ["--task", "pretrain", "--method", "mae", "--pretrained", str(file)]
    assert evaluate.main([*words, "--batch", str(batch), "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)["values"]


@pytest.mark.parametrize("norm_pix", [True, False])
def test_the_loss_of_a_published_file_is_that_of_an_independent_forward(tmp_path, capsys, norm_pix):
    config = mae.Config(**SMALL)
    state = published(config)
    torch.save({"model": state}, tmp_path / "mae_full.pth")
    batch = saved_batch(tmp_path / "batch.pt", config, count=3)
    more = [] if norm_pix else ["--no_norm_pix_loss"]
    said = evaluated(
        capsys, tmp_path / "mae_full.pth", tmp_path / "batch.pt", *options(SMALL), *more
    )
    expected = reference_loss(state, config, **batch, norm_pix=norm_pix)
    assert said["loss_image"] == pytest.approx(expected, rel=1e-5)
    assert said["loss"] == said["loss_image"]


@pytest.mark.slow
def test_at_the_size_of_vit_b_the_defaults_are_the_files(tmp_path, capsys):
    config = mae.Config()
    state = published(config)
    torch.save({"model": state}, tmp_path / "mae_full.pth")
    batch = saved_batch(tmp_path / "batch.pt", config, count=1)
    said = evaluated(capsys, tmp_path / "mae_full.pth", tmp_path / "batch.pt")
    assert said["loss_image"] == pytest.approx(reference_loss(state, config, **batch), rel=1e-4)


def test_the_tensors_are_those_of_the_published_file_by_name_and_shape():
    with torch.device("meta"):
        made = mae.Method(mae.Config())
    ours = {weights.mrm_name(n): tuple(t.shape) for n, t in made.state_dict().items()}
    assert ours == published_shapes(mae.Config())


def test_the_paper_size_has_the_published_number_of_parameters():
    with torch.device("meta"):
        made = mae.Method(mae.Config())
    assert sum(p.numel() for p in made.encoder.parameters()) == 85_798_656
    everything = sum(t.numel() for t in made.state_dict().values())
    assert everything == 111_907_840  # fixed tables included


def test_an_encoder_without_its_decoder_has_no_loss(tmp_path, capsys):
    state = published(mae.Config(**SMALL))
    encoder = {n: t for n, t in state.items() if not n.startswith(("decoder_", "mask_token"))}
    torch.save({"model": encoder}, tmp_path / "mae.pth")
    saved_batch(tmp_path / "batch.pt", mae.Config(**SMALL))
    words = ["--task", "pretrain", "--method", "mae", "--pretrained", str(tmp_path / "mae.pth")]
    more = ["--batch", str(tmp_path / "batch.pt"), *options(SMALL)]
    assert evaluate.main([*words, *more]) == 4
    assert "lacks image_decoder" in capsys.readouterr().err


def test_every_parameter_is_trained_by_the_loss():
    made = mae.Method(mae.Config(**SMALL)).train()
    torch.manual_seed(0)
    made({"image": torch.randn(2, 3, 32, 32)})["loss_image"].backward()
    silent = [n for n, p in made.named_parameters() if p.requires_grad and p.grad is None]
    assert silent == []
    assert not made.encoder.pos_embed.requires_grad


@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_presets_name_only_settings_that_exist_and_fit(preset):
    classes = [pretrain.Config, Training, mae.Config]
    _, training, config = resolve(classes, preset=mae.PRESETS[preset], given={})
    assert mae.encoder_size(config) == baselines.size_of(preset)
    if preset == "paper":
        assert config == mae.Config()
        assert training.batch_size * training.accum_iter == 4096


@pytest.mark.parametrize(
    "change",
    [{"mask_ratio": 1.0}, {"mask_ratio": 0.99}, {"decoder_depth": 0}, {"decoder_heads": 5},
     {"decoder_dim": 6, "decoder_heads": 2}, {"num_heads": 5}],
)  # fmt: skip
def test_a_setting_that_cannot_work_is_refused_by_its_name(change):
    with pytest.raises(ConfigError, match=next(iter(change))):
        mae.Config(**{**SMALL, **change})


@pytest.fixture
def radiographs(tmp_path: Path) -> Path:
    """A folder of 24 small pictures with reports in MRM's form."""
    root = tmp_path / "records"
    root.mkdir()
    rng = np.random.default_rng(0)
    with (root / "training.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "report_content"])
        for i in range(24):
            Image.fromarray(rng.integers(0, 255, (40, 50), dtype=np.uint8)).save(root / f"{i}.png")
            writer.writerow([f"{i}.png", "FINAL REPORT no effusion ."])
    return root


def test_a_pretraining_goes_on_from_a_published_file_and_needs_no_tokenizer(radiographs, tmp_path):
    torch.save({"model": published(mae.Config(**SMALL))}, tmp_path / "mae_full.pth")
    words = [
        "--method", "mae", "--preset", "quick", "--data_path", str(radiographs), "--output_dir",
        str(tmp_path / "run"), "--pretrained", str(tmp_path / "mae_full.pth"), "--steps", "4",
        "--batch_size", "8", "--lr", "1e-4", "--warmup_epochs", "0", "--device", "cpu",
        "--threads", "1", "--log_every", "1",
    ]  # fmt: skip
    assert pretrain.main([*words, *options(SMALL)]) == 0
    assert not (tmp_path / "run" / pretrain.TOKENIZER_FILE).exists()
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["values"]["val/loss"] == result["values"]["val/loss_image"]
    _, size, report = weights.load_encoder(tmp_path / "run" / checkpoints.ENCODER)
    assert (size.embed_dim, report.kind) == (128, "cxrlab")


def test_an_encoder_that_is_only_taken_as_it_is_cannot_be_pretrained(tmp_path, capsys):
    words = ["--method", "imagenet", "--data_path", str(tmp_path)]
    assert pretrain.main(words) == 2
    assert "`imagenet` is not pre-trained" in capsys.readouterr().err


def items(tmp_path, *, train):
    path = tmp_path / "x.png"
    ramp = np.tile(np.arange(60, dtype=np.uint8) * 4, (40, 1))
    Image.fromarray(ramp).save(path)
    record = Record(path, "no effusion", "p", "s")
    return Images([record], px=32, patches=16, hflip=True, train=train)


def test_a_held_out_image_is_its_middle_in_imagenets_units(tmp_path):
    item = items(tmp_path, train=False).item(0, np.random.default_rng(0))
    wide = Image.open(tmp_path / "x.png").resize((48, 32), Image.Resampling.BICUBIC)
    middle = np.asarray(wide, dtype=np.float64)[:, 8:40] / 255
    for channel, (mean, std) in enumerate(
        zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    ):
        np.testing.assert_allclose(item["image"][channel], (middle - mean) / std, atol=1e-5)
    assert set(item) == {"name", "image", "noise"}


def test_a_training_image_is_cropped_and_half_of_them_are_mirrored(tmp_path):
    drawn = [items(tmp_path, train=True).item(0, np.random.default_rng(i)) for i in range(200)]
    falls = [float(d["image"][0, 16, 0] - d["image"][0, 16, -1]) > 0 for d in drawn]
    assert 70 < sum(falls) < 130
    spans = [float(d["image"][0].max() - d["image"][0].min()) for d in drawn]
    assert min(spans) < 0.8 * max(spans)
