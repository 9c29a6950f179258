"""Do both heads learn boxes from a transformer and a ResNet, and leave a frozen encoder alone?"""

from __future__ import annotations

import math

import pytest
import torch

from trainers.config import ConfigError
from trainers.modules import detection, yolo
from trainers.resnets import ResNetSize
from trainers.weights import EncoderSize

VIT = EncoderSize(image_px=32, patch_px=8, embed_dim=16, depth=2, num_heads=2)
RESNET = ResNetSize(width=2)
SMALL = {"image_px": 64, "channels": 16, "hidden": 16, "proposals": 20, "samples": 8}
PAIRS = [(head, size) for head in ("yolo", "faster_rcnn") for size in (VIT, RESNET)]
NAMES = [f"{head}-{type(size).__name__}" for head, size in PAIRS]


@pytest.fixture(autouse=True)
def one_thread():
    """Networks this small only wait for one another's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def batch(seed: int = 0) -> dict[str, torch.Tensor]:
    """Four noisy squares of 64 pixels: two boxes, one, one, and none; boxes are bright."""
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.randn(4, 1, 64, 64, generator=generator).expand(-1, 3, -1, -1).clone()
    boxes = torch.zeros(4, 2, 4)
    count = torch.tensor([2, 1, 1, 0])
    for i, own in enumerate(count.tolist()):
        for n in range(own):
            left, top = 4 + 30 * n, 6 + 8 * i
            boxes[i, n] = torch.tensor([left, top, left + 16, top + 20])
            image[i, :, top : top + 20, left : left + 16] += 2
    return {"image": image, "boxes": boxes, "count": count}


def build(head: str, size, **more) -> detection.Detector:
    torch.manual_seed(0)
    return detection.Detector(detection.Config(head=head, **{**SMALL, **more}), size)


@pytest.mark.parametrize(("head", "size"), PAIRS, ids=NAMES)
def test_a_frozen_encoder_stays_bit_for_bit_while_the_head_is_trained(head, size):
    model = build(head, size, freeze=True).train()
    before = {name: value.clone() for name, value in model.encoder.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    losses = model(batch())
    assert all(math.isfinite(value.item()) for value in losses.values())
    sum(losses.values()).backward()
    assert all(p.grad is not None for p in trained)
    optimizer.step()
    assert all(torch.equal(v, before[k]) for k, v in model.encoder.state_dict().items())


@pytest.mark.parametrize(("head", "size"), PAIRS, ids=NAMES)
def test_gradients_reach_an_encoder_that_is_not_frozen(head, size):
    model = build(head, size, freeze=False).train()
    sum(model(batch()).values()).backward()
    named = [(n, p) for n, p in model.encoder.named_parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for _, p in named)
    assert sum(float(p.grad.abs().sum()) for _, p in named) > 0


@pytest.mark.parametrize(("head", "size"), PAIRS, ids=NAMES)
def test_predictions_are_boxes_within_the_square_the_surest_first(head, size):
    model = build(head, size).eval()
    with torch.inference_mode():
        said = model.predict(batch())
    assert said["boxes"].shape == (4, detection.MOST, 4)
    for boxes, score in zip(said["boxes"], said["score"], strict=True):
        assert torch.equal(score, score.sort(descending=True).values)
        there = boxes[score > 0]
        assert (there >= 0).all()
        assert (there <= 64).all()
        assert (there[:, 2:] > there[:, :2]).all()
        assert (score[score > 0] >= detection.CONFIDENCE).all()
        iou = torch.tensor([[_iou(a, b) for b in there.tolist()] for a in there.tolist()])
        assert len(there) < 2 or (iou - torch.eye(len(there))).max() <= detection.NMS_IOU + 1e-4


def _iou(a, b) -> float:
    width = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    height = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("head", ["yolo", "faster_rcnn"])
def test_each_head_finds_the_boxes_it_was_shown(head):
    model = build(head, VIT, freeze=False, channels=32, hidden=32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        sum(model(batch()).values()).backward()
        optimizer.step()
    model.eval()
    with torch.inference_mode():
        said = model.predict(batch())
    found = [
        max(_iou(true, box) for box in said["boxes"][i, :2].tolist())
        for i, count in enumerate(batch()["count"].tolist())
        for true in batch()["boxes"][i, :count].tolist()
    ]
    assert min(found) > 0.5


def test_without_any_box_in_a_batch_the_losses_are_finite():
    for head, size in PAIRS:
        shown = batch() | {"count": torch.zeros(4, dtype=torch.int64)}
        losses = build(head, size).train()(shown)
        assert all(math.isfinite(value.item()) for value in losses.values())


def test_yolos_losses_are_those_of_the_released_code_worked_by_hand():
    """One box in one of 2 x 2 cells of 32 pixels; every logit is 0, so every sigmoid a half."""
    head = yolo.YOLOHead((4, 4, 4), channels=8, image_px=64)
    boxes = torch.tensor([[[36.0, 8.0, 48.0, 40.0]]])  # centre 42, 24; 12 x 32 pixels
    said = torch.zeros(1, 3, 2, 2, yolo.ATTRIBUTES)
    found = head._losses(said, 0, boxes, torch.tensor([1]))
    anchors = [(w * 64 / 416 / 32, h * 64 / 416 / 32) for w, h in yolo.ANCHORS[0]]
    w, h = 12 / 32, 32 / 32
    overlaps = []
    for a, b in anchors:
        both = (min(a, w) + 1) * (min(b, h) + 1)
        overlaps.append(both / ((a + 1) * (b + 1) + (w + 1) * (h + 1) - both))
    best = overlaps.index(max(overlaps))
    size = math.log(w / anchors[best][0]) ** 2 + math.log(h / anchors[best][1]) ** 2
    free = 12 - sum(overlap > 0.5 for overlap in overlaps)
    half = math.log(2)  # the cross entropy of a half, whatever the truth
    assert found["place"].item() == pytest.approx(2.5 * 2 * half / 12)
    assert found["size"].item() == pytest.approx(2.5 * size / 12, rel=1e-5)
    assert found["object"].item() == pytest.approx((half + 0.5 * free * half) / 12)
    assert found["class"].item() == pytest.approx(half / 12)


def test_what_yolo_is_taught_it_says_again_as_the_same_box():
    head = yolo.YOLOHead((4, 4, 4), channels=8, image_px=64)
    boxes = torch.tensor([[[36.0, 8.0, 48.0, 40.0], [3.0, 5.0, 20.0, 30.0]]])
    for level, cells in enumerate((2, 4, 8)):
        stride = 64 / cells
        anchors = head.anchors[level] / stride
        target = yolo.targets(boxes / stride, torch.tensor([2]), anchors, (cells, cells))
        said = torch.full((1, 3, cells, cells, yolo.ATTRIBUTES), -20.0)
        said[..., :2] = torch.logit(target.sides[..., :2], eps=1e-6)
        said[..., 2:4] = target.sides[..., 2:]
        said[..., 4] = torch.where(target.there, 20.0, -20.0)
        silent = [torch.full_like(said, -20.0)] * 3
        found, score = head.boxes([*silent[:level], said, *silent[level + 1 :]])
        sure = found[0, score[0] > 0.5]
        order = sure[:, 0].argsort(descending=True)
        torch.testing.assert_close(sure[order], boxes[0], atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("image_px", 0), ("channels", -1), ("drop_path", 1.0), ("crop_min", 0.0), ("samples", 0)],
)
def test_a_setting_that_cannot_work_is_refused(setting, value):
    with pytest.raises(ConfigError, match=f"`{setting}` is {value}"):
        detection.Config(**{setting: value})
