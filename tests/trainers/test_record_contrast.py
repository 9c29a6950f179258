"""Is the contrast beside a masked record taken of the right vectors, and at the right weight?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from trainers.config import ConfigError
from trainers.methods import deep_mrm, mrm
from trainers.modules import vit

SMALL = {
    "image_px": 16, "patch_px": 4, "embed_dim": 24, "depth": 2, "num_heads": 2,
    "decoder_dim": 16, "decoder_depth": 1, "decoder_heads": 2,
    "bert_dim": 12, "bert_depth": 2, "bert_heads": 3, "bert_dropout": 0.0, "report_length": 7,
    "contrast_dim": 8,
}  # fmt: skip
AUX = {"tap_blocks": "1", "aux_dim": 16, "aux_depth": 1, "aux_heads": 2}


def method(module=mrm, **change: object):
    torch.manual_seed(1)
    more = AUX if module is deep_mrm else {}
    return module.Method(module.Config(**{**SMALL, **more, **change}), vocab_size=30).eval()


def batch(n: int = 6) -> dict[str, Tensor]:
    torch.manual_seed(2)
    labels = torch.randint(4, 30, (n, 7))
    labels[1, 5:] = 0
    labels[:, 0] = 2
    hidden = torch.rand(n, 7) < 0.4
    hidden[:, 0] = False
    return {
        "image": torch.randn(n, 3, 32, 32),
        "ids": labels.masked_fill(hidden & (labels != 0), 3),
        "labels": labels,
        "attention_mask": (labels != 0).long(),
        "noise": torch.rand(n, 16),
        "condition": torch.arange(n)[:, None] % 2,
    }


KINDS = [
    {"contrast": "infonce"},
    {"contrast": "conditional"},
    {"contrast": "conditional", "condition": "labels"},
]


@pytest.mark.parametrize("module", [mrm, deep_mrm])
@pytest.mark.parametrize("change", KINDS)
def test_the_contrast_trains_encoder_report_and_both_projections(module, change) -> None:
    made = method(module, **change)
    made(batch())["loss_contrast"].backward()
    for part in (made.encoder.blocks, made.report_decoder.bert_encoder["model"]["bert"].encoder,
                 made.contrast.image, made.contrast.report):  # fmt: skip
        assert all(p.grad is not None and p.grad.isfinite().all() for p in part.parameters())
        assert any(p.grad.any() for p in part.parameters())


def test_every_parameter_is_trained_by_the_losses_together() -> None:
    made = method(contrast="infonce")
    losses = made(batch())
    sum(v for k, v in losses.items() if not k.startswith("monitor/")).backward()
    assert [n for n, p in made.named_parameters() if p.requires_grad and p.grad is None] == []
    assert not any(v.requires_grad for k, v in losses.items() if k.startswith("monitor/"))


def test_the_report_vector_of_the_contrast_has_not_seen_the_image() -> None:
    made, given = method(contrast="infonce"), batch()
    vectors: list[Tensor] = []
    made.contrast.report.register_forward_hook(lambda *call: vectors.append(call[2]))
    with torch.no_grad():
        made(given)
        given["image"] += torch.randn_like(given["image"])
        made(given)
    assert torch.equal(*vectors)


def test_no_gradient_of_the_contrast_reaches_the_image_by_way_of_the_report() -> None:
    made, given = method(contrast="infonce"), batch()
    # cut the image's own way into the contrast: whatever arrives then came through the report
    made.contrast.image.register_forward_hook(lambda *call: call[2].detach())
    made(given)["loss_contrast"].backward()
    assert all(p.grad is None for p in made.encoder.parameters())
    assert all(p.grad is None for p in made.report_decoder.bert_mlp.parameters())


def test_a_report_vector_with_the_image_in_it_would_be_found_out() -> None:
    made, given = method(contrast="infonce"), batch()
    made.contrast.image.register_forward_hook(lambda *call: call[2].detach())
    decoder = made.report_decoder
    mask = vit.mask_from(given["noise"], 0.75)

    def leaking(ids: Tensor, attention_mask: Tensor) -> Tensor:
        latent = vit.encode(made.encoder, made.shrink(given["image"]), mask.keep)
        image = decoder.bert_mlp(latent[:, 1:].mean(dim=1))[:, None]
        return decoder._hidden(ids, attention_mask, image)[:, 0]

    decoder.read = leaking
    made(given)["loss_contrast"].backward()
    assert any(p.grad is not None for p in decoder.bert_mlp.parameters())


def test_the_loss_is_that_of_the_masked_views_worked_out_again() -> None:
    made, given = method(contrast="infonce", contrast_weight=0.5), batch()
    with torch.no_grad():
        losses = made(given)
        mask = vit.mask_from(given["noise"], 0.75)
        seen = vit.encode(made.encoder, made.shrink(given["image"]), mask.keep)[:, 1:].mean(1)
        read = made.report_decoder.read(given["ids"], given["attention_mask"])
        v, t = made.contrast.image(seen).numpy(), made.contrast.report(read).numpy()
    v, t = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, t))
    s = np.exp(v.astype(float) @ t.T / 0.07)
    to_text, to_image = (-np.log(np.diag(s) / s.sum(axis=axis)).mean() for axis in (1, 0))
    assert losses["monitor/loss_image_to_text"].item() == pytest.approx(to_text, rel=1e-4)
    assert losses["monitor/loss_text_to_image"].item() == pytest.approx(to_image, rel=1e-4)
    assert losses["loss_contrast"].item() == pytest.approx(0.25 * (to_text + to_image), rel=1e-4)
    found = (s.argmax(axis=1) == np.arange(6)).mean()
    assert losses["monitor/recall_at_1"].item() == pytest.approx(found)


def test_the_other_losses_do_not_notice_the_contrast() -> None:
    with torch.no_grad():
        plain, both = method()(batch()), method(contrast="infonce")(batch())
    assert all(torch.equal(value, both[name]) for name, value in plain.items())


@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.0), (2.5, 0.5), (5.0, 1.0), (9.0, 1.0)])
def test_the_weight_grows_over_the_first_epochs_and_is_full_where_none_is_told(
    epoch: float, share: float
) -> None:
    made, given = method(contrast="infonce"), batch()
    with torch.no_grad():
        full = made(given)["loss_contrast"].item()
        growing = made({**given, "epoch": torch.tensor(epoch)})
    assert growing["loss_contrast"].item() == pytest.approx(share * full, rel=1e-6)
    assert growing["monitor/loss_image_to_text"] > 0
    at_once = method(contrast="infonce", contrast_ramp=0.0)
    with torch.no_grad():
        assert at_once({**given, "epoch": torch.tensor(0.0)})["loss_contrast"].item() == full


def test_a_plain_method_has_no_projections() -> None:
    assert not any(name.startswith("contrast") for name in method().state_dict())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"contrast_weight": -1.0}, "contrast_weight"),
        ({"contrast_ramp": -1.0}, "contrast_ramp"),
        ({"temperature": 0.0}, "temperature"),
        ({"condition_ridge": 0.0}, "condition_ridge"),
        ({"contrast_dim": 0}, "contrast_dim"),
        ({"condition": "labels"}, "`contrast` is none"),
        ({"contrast": "conditional", "condition": "labels", "condition_columns": ","}, "empty"),
        ({"contrast": "conditional", "condition_table": "t.csv"}, "condition_table"),
    ],
)
def test_settings_that_no_contrast_can_have_are_refused(change, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        mrm.Config(**{**SMALL, **change})


WORKER = """
import sys
import torch
from torch.nn.parallel import DistributedDataParallel
from tests_of import batch, gradients, method
from trainers import distributed

torch.set_num_threads(1)
world = distributed.join("cpu")
half = slice(3 * world.rank, 3 * world.rank + 3)
given = {name: value[half] for name, value in batch().items()}
found = []
for change in eval(sys.argv[2]):
    made = method(**change).train()
    found.append(gradients(made, DistributedDataParallel(made), given))
if world.first:
    torch.save({"found": found}, sys.argv[1])
distributed.leave()
"""


def gradients(made: mrm.Method, called: torch.nn.Module, given: dict[str, Tensor]):
    """Return the contrast's loss, and every parameter's gradient of all losses together."""
    losses = called(given)
    sum(v for k, v in losses.items() if not k.startswith("monitor/")).backward()
    known = {n: p.grad for n, p in made.named_parameters() if p.grad is not None}
    return {"loss_contrast": losses["loss_contrast"].detach(), **known}


@pytest.mark.slow
def test_two_processes_with_half_the_batch_each_learn_what_one_learns_from_the_whole(
    tmp_path: Path,
) -> None:
    (tmp_path / "tests_of.py").write_text(Path(__file__).read_text())
    (tmp_path / "worker.py").write_text(WORKER)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    paths = {"PYTHONPATH": f"{Path(__file__).parents[2]}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, "worker.py", "two.pt", repr(KINDS)],
        cwd=tmp_path,
        env={**os.environ, **paths},
        capture_output=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-3000:]
    two = torch.load(tmp_path / "two.pt")["found"]
    for change, theirs in zip(KINDS, two, strict=True):
        made = method(**change).train()
        for name, value in gradients(made, made, batch()).items():
            assert torch.allclose(theirs[name], value, atol=1e-5, rtol=1e-3), (change, name)
