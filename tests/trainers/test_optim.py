"""Learning-rate schedules and parameter groups, against values worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from trainers import optim

COSINE = {"peak": 1.0, "floor": 0.0, "warmup": 10.0, "total": 110.0, "schedule": "cosine"}


@pytest.mark.parametrize(
    ("done", "expected"), [(0, 0.0), (5, 0.5), (10, 1.0), (60, 0.5), (110, 0.0), (35, 0.8535533906)]
)
def test_the_rate_warms_up_linearly_then_falls_along_half_a_cosine(
    done: float, expected: float
) -> None:
    assert optim.learning_rate(done, **COSINE) == pytest.approx(expected, abs=1e-9)


def test_poly_falls_from_the_first_step_and_is_warmed_up_on_top() -> None:
    poly = {**COSINE, "schedule": "poly", "total": 100.0}
    assert optim.learning_rate(50, **poly) == pytest.approx(0.5)
    assert optim.learning_rate(5, **poly) == pytest.approx(0.95 * 0.5)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.encoder.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))
        self.head = nn.Linear(4, 2)


def test_vectors_do_not_decay_and_lower_layers_learn_more_slowly() -> None:
    model = Model()
    groups = optim.parameter_groups(model, weight_decay=0.1, layer_decay=0.5, depth=3)
    of = {id(p): g for g in groups for p in g["params"]}
    assert of[id(model.head.bias)]["weight_decay"] == 0.0
    assert of[id(model.head.weight)]["weight_decay"] == 0.1
    assert of[id(model.encoder.cls_token)]["weight_decay"] == 0.1
    scales = [of[id(b.weight)]["lr_scale"] for b in model.encoder.blocks]
    assert scales == [0.5**3, 0.5**2, 0.5]
    assert of[id(model.encoder.cls_token)]["lr_scale"] == 0.5**4
    assert of[id(model.head.weight)]["lr_scale"] == 1.0
    assert math.isclose(sum(len(g["params"]) for g in groups), 9)


def test_each_group_gets_its_share_of_the_rate() -> None:
    model = Model()
    groups = optim.parameter_groups(model, weight_decay=0.0, layer_decay=0.5, depth=3)
    optimizer = optim.build_optimizer(
        "sgd", groups, betas=(0.9, 0.95), momentum=0.9, device=torch.device("cpu")
    )
    optim.set_learning_rate(optimizer, 2.0)
    for group in optimizer.param_groups:
        assert group["lr"] == 2.0 * group["lr_scale"]


def test_parts_can_learn_at_a_share_of_the_rate_by_their_names() -> None:
    model = Model()
    groups = optim.parameter_groups(
        model, weight_decay=0.1, layer_decay=0.5, depth=3,
        rate_of=lambda name: 0.1 if name.startswith("encoder.") else 1.0,
    )  # fmt: skip
    of = {id(p): g["lr_scale"] for g in groups for p in g["params"]}
    assert of[id(model.head.weight)] == 1.0
    assert of[id(model.encoder.blocks[2].weight)] == pytest.approx(0.05)


def test_lookahead_goes_k_steps_forward_and_a_share_of_the_way_back() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 10.0]))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    lookahead = optim.Lookahead(optimizer, k=3, alpha=0.25)
    seen = []
    for step in range(1, 7):
        weight.grad = torch.tensor([-2.0, 4.0])
        optimizer.step()
        lookahead.after(step)
        seen.append(weight.tolist())
    # fast: 3, 5, 7; slow: 1 + (7 - 1) / 4 = 2.5; fast from there: 4.5, 6.5, 8.5; slow: 4
    assert [first for first, _ in seen] == [3.0, 5.0, 2.5, 4.5, 6.5, 4.0]
    assert [second for _, second in seen] == [6.0, 2.0, 7.0, 3.0, -1.0, 4.0]


def plateau(*values: float, better: str = "lower") -> list[optim.Plateau]:
    """Return what is known after each of some validations, at a patience of 2 and halving."""
    known = [optim.Plateau()]
    for value in values:
        known.append(known[-1].after(value, better=better, patience=2, factor=0.5))
    return known[1:]


def test_the_rate_is_halved_when_two_validations_in_a_row_were_no_better() -> None:
    values = (3.0, 2.0, 2.0, 2.5, 1.9, 2.1, 1.95, 1.95, 1.95, 1.8)
    scales = [known.scale for known in plateau(*values)]
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert plateau(*values)[-1] == optim.Plateau(0.125, 1.8, 0)


def test_progress_upwards_counts_where_higher_is_better() -> None:
    assert [k.scale for k in plateau(0.5, 0.6, 0.7, better="higher")] == [1, 1, 1]
    assert [k.scale for k in plateau(0.5, 0.4, 0.5, better="higher")] == [1, 1, 0.5]


def test_a_value_that_is_not_finite_is_no_progress() -> None:
    known = plateau(math.nan, 4.0, math.nan, math.inf)
    assert [k.best for k in known] == [None, 4.0, 4.0, 4.0]
    assert known[-1].scale == 0.5


def test_a_lowered_peak_is_warmed_up_to_and_stops_at_the_floor() -> None:
    given = {"warmup": 10.0, "total": 100.0, "schedule": "plateau", "floor": 0.1}
    assert optim.learning_rate(50, peak=0.25, **given) == 0.25
    assert optim.learning_rate(5, peak=0.25, **given) == pytest.approx(0.125)
    assert optim.learning_rate(50, peak=0.0625, **given) == 0.1


def test_adams_weight_decay_goes_through_the_gradient_and_adamws_does_not() -> None:
    """One step of Adam has the length of the rate, whatever the gradient's."""
    moved = {}
    for kind in ("adam", "adamw"):
        weight = nn.Parameter(torch.full((2, 2), 3.0))
        groups = [{"params": [weight], "weight_decay": 0.5, "lr_scale": 1.0}]
        optimizer = optim.build_optimizer(
            kind, groups, betas=(0.9, 0.999), momentum=0.0, device=torch.device("cpu")
        )
        optim.set_learning_rate(optimizer, 0.1)
        weight.grad = torch.full((2, 2), -1.0)
        optimizer.step()
        moved[kind] = weight[0, 0].item()
    assert moved["adam"] == pytest.approx(3 - 0.1)  # gradient -1 + 0.5 * 3 points down
    assert moved["adamw"] == pytest.approx(3 * (1 - 0.1 * 0.5) + 0.1)


def test_the_stages_of_a_resnet_are_its_layers() -> None:
    names = ["conv1.weight", "bn1.bias", "layer1.0.conv1.weight", "layer4.2.bn3.weight"]
    layers = [optim.layer_of(f"encoder.{name}", depth=4) for name in names]
    assert layers == [0, 0, 1, 4]
    assert optim.layer_of("head.weight", depth=4) == 5
    assert optim.layer_of("text_tower.encoder.layer.3.output.dense.weight", depth=4) == 5
