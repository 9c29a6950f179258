"""The training loop: exact resuming, order, stopping, bad items, several processes."""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from trainers import checkpoints, loop, room
from trainers.config import ConfigError, InputError
from trainers.data.items import BadItem
from trainers.distributed import World
from trainers.events import EventLog
from trainers.feed import Batches
from trainers.training import Training

ALONE = World(0, 1, 0)


class Points:
    """Noisy points of a line; the items in `bad` cannot be read."""

    def __init__(self, n: int, bad: tuple[int, ...] = ()) -> None:
        self.n, self.bad = n, bad

    def __len__(self) -> int:
        return self.n

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        if index in self.bad:
            raise BadItem(f"{index}.png", "truncated")
        x = torch.tensor([index / self.n, 1.0]) + float(rng.normal(0, 0.01))
        return {"x": x, "y": 3 * x[:1] - 1, "name": f"{index}.png"}


class Line(nn.Module):
    """A tiny network with dropout, so that the random state matters."""

    def __init__(self, *, dropout: float = 0.2, nan_at: int = -1) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.net = nn.Sequential(nn.Linear(2, 8), nn.GELU(), nn.Dropout(dropout), nn.Linear(8, 1))
        self.nan_at, self.calls = nan_at, 0

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.calls += 1
        error = (self.net(batch["x"]) - batch["y"]).square().mean()
        if self.calls == self.nan_at:
            error = error * float("nan")
        return {"fit": error, "monitor/double": 2 * error}


def train(
    folder: Path,
    *,
    points: Points | None = None,
    model: Line | None = None,
    world: World = ALONE,
    validate: Any = None,
    **settings: Any,
) -> tuple[Line, loop.Finished]:
    torch.manual_seed(settings.get("seed", 0))
    values = {"batch_size": 4, "epochs": 3, "lr": 0.05, "log_every": 1, "device": "cpu"} | settings
    config = Training(output_dir=str(folder), **values)
    model = model or Line()
    score = validate or (lambda bare: {"val/fit": float(torch.rand(1))})
    job = loop.Job(model, points or Points(30), score, ("val/fit", "lower"), 0, {"recipe": "r"})
    log = EventLog(folder)
    return model, loop.Trainer(job, config, world, log).run()


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    text = (folder / "events.jsonl").read_text()
    return [e for e in map(json.loads, text.splitlines()) if e["kind"] == kind]


def losses(folder: Path) -> dict[int, float]:
    logged = [e for e in events(folder, "metrics") if "train/loss" in e["values"]]
    return {e["step"]: e["values"]["train/loss"] for e in logged}


def stop_at(step: int) -> Any:
    def validate(bare: nn.Module) -> dict[str, float]:
        validate.calls += 1
        if validate.calls == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return {"val/fit": 1.0 / validate.calls}

    validate.calls = 0
    return validate


@pytest.mark.parametrize("step", [1, 5, 7, 20])
def test_a_stopped_and_resumed_training_ends_bit_for_bit_as_an_undisturbed_one(
    tmp_path: Path, step: int
) -> None:
    whole, _ = train(tmp_path / "whole", validate=stop_at(-1), eval_every=1)
    with pytest.raises(loop.Stopped):
        train(tmp_path / "cut", validate=stop_at(step), eval_every=1)
    last = tmp_path / "cut" / checkpoints.LAST
    assert checkpoints.load(last)["step"] == step
    resumed, finished = train(
        tmp_path / "cut", validate=stop_at(-1), eval_every=1, resume=str(last)
    )
    assert finished.step == 21
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")


def test_the_time_of_a_resumed_training_is_the_sum_of_its_parts(tmp_path: Path) -> None:
    with pytest.raises(loop.Stopped):
        train(tmp_path, validate=stop_at(5), eval_every=1)
    last = tmp_path / checkpoints.LAST
    state = checkpoints.load(last)
    assert 0 < state["seconds"] < 900
    checkpoints.save(last, state | {"seconds": 1000.0})
    _, finished = train(tmp_path, validate=stop_at(-1), eval_every=1, resume=str(last))
    assert 1000.0 < finished.seconds < 1900.0


def test_averaged_weights_are_judged_kept_and_resumed(tmp_path: Path) -> None:
    seen: list[Tensor] = []

    def validate(bare: nn.Module) -> dict[str, float]:
        seen.append(bare.net[0].weight.clone())
        return {"val/fit": 1.0 / len(seen)}

    decay = {"ema_decay": 0.9, "eval_every": 1, "epochs": 1}
    plain: list[Tensor] = []
    update = loop.Trainer._update

    def noted(self: loop.Trainer, *given: Any) -> None:
        update(self, *given)
        plain.append(self.job.model.net[0].weight.detach().clone())

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop.Trainer, "_update", noted)
        whole, _ = train(tmp_path / "whole", validate=validate, **decay)
    average = plain[0]  # the first update is copied; each later one moves it by a tenth
    for judged, weight in zip(seen, plain, strict=True):
        average = 0.9 * average + 0.1 * weight if weight is not plain[0] else average
        torch.testing.assert_close(judged, average)
    torch.testing.assert_close(whole.net[0].weight.detach(), average)
    best = checkpoints.load(tmp_path / "whole" / checkpoints.BEST)
    assert torch.equal(best["model"]["net.0.weight"], whole.net[0].weight)
    with pytest.raises(loop.Stopped):
        train(tmp_path / "cut", validate=stop_at(3), **decay)
    last = str(tmp_path / "cut" / checkpoints.LAST)
    resumed, _ = train(tmp_path / "cut", validate=stop_at(-1), resume=last, **decay)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_score_that_is_never_a_number_says_what_the_validation_set_lacks(
    tmp_path: Path,
) -> None:
    with pytest.raises(InputError, match="val/fit was never a number"):
        train(tmp_path, validate=lambda bare: {"val/fit": float("nan")})


@pytest.mark.parametrize("step", [4, 5, 7])
def test_lookaheads_slow_weights_outlive_a_stop_between_two_meetings(
    tmp_path: Path, step: int
) -> None:
    slow = {"optimizer": "sgd", "lookahead_k": 5, "lookahead_alpha": 0.5}
    train(tmp_path / "plain", optimizer="sgd")
    whole, _ = train(tmp_path / "whole", validate=stop_at(-1), eval_every=1, **slow)
    with pytest.raises(loop.Stopped):
        train(tmp_path / "cut", validate=stop_at(step), eval_every=1, **slow)
    last = str(tmp_path / "cut" / checkpoints.LAST)
    resumed, _ = train(tmp_path / "cut", validate=stop_at(-1), eval_every=1, resume=last, **slow)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    before, after = losses(tmp_path / "plain"), losses(tmp_path / "whole")
    assert [s for s in before if before[s] == after[s]] == [1, 2, 3, 4, 5]


def test_a_part_can_be_trained_at_a_share_of_the_rate(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Line()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    config = Training(output_dir=str(tmp_path), batch_size=4, epochs=1, lr=0.05, device="cpu")
    rate_of = {"net.0.weight": 0.0, "net.0.bias": 0.0}.get
    job = loop.Job(
        model, Points(30), lambda bare: {"val/fit": 0.0}, None, 0, {"recipe": "r"},
        rate_of=lambda name: rate_of(name, 1.0),
    )  # fmt: skip
    loop.Trainer(job, config, ALONE, EventLog(tmp_path)).run()
    moved = {name for name, value in model.state_dict().items() if not value.equal(start[name])}
    assert moved == {"net.3.weight", "net.3.bias"}


def test_the_loss_falls_and_every_step_is_logged_once(tmp_path: Path) -> None:
    _, finished = train(tmp_path, epochs=40, model=Line(dropout=0.0))
    logged = [e for e in events(tmp_path, "metrics") if "train/loss" in e["values"]]
    assert [e["step"] for e in logged] == list(range(1, 281))
    first, last = (logged[i]["values"]["train/loss"] for i in (0, -1))
    assert last < first / 50
    assert logged[0]["values"]["train/double"] == pytest.approx(2 * first)
    assert finished.step == 280


def test_what_is_only_monitored_is_not_minimised(tmp_path: Path) -> None:
    _, _ = train(tmp_path)
    values = events(tmp_path, "metrics")[0]["values"]
    assert values["train/loss"] == pytest.approx(values["train/fit"])


def test_accumulation_over_two_halves_equals_one_whole_batch(tmp_path: Path) -> None:
    a, _ = train(tmp_path / "a", model=_fixed(), batch_size=4, accum_iter=2)
    b, _ = train(tmp_path / "b", model=_fixed(), batch_size=8, accum_iter=1)
    for name, value in a.state_dict().items():
        torch.testing.assert_close(value, b.state_dict()[name], rtol=1e-5, atol=1e-6)


def _fixed() -> Line:
    torch.manual_seed(1)
    return Line(dropout=0.0)


def test_two_processes_see_together_what_one_sees_alone() -> None:
    alone = Training(batch_size=8, epochs=2)
    halves = Training(batch_size=4, epochs=2)
    one = [set(micro) for micro in Batches(Points(30), alone, ALONE)]
    first = Batches(Points(30), halves, World(0, 2, 0))
    second = Batches(Points(30), halves, World(1, 2, 1))
    both = [set(a) | set(b) for a, b in zip(first, second, strict=True)]
    assert one == both


def test_each_epoch_is_another_permutation_and_holds_each_item_once() -> None:
    batches = list(Batches(Points(12), Training(batch_size=4, epochs=2), ALONE))
    first, second = ([i for b in part for i in b] for part in (batches[:3], batches[3:]))
    assert sorted(i for _, i in first) == sorted(i for _, i in second) == list(range(12))
    assert [i for _, i in first] != [i for _, i in second]
    assert {e for e, _ in second} == {1}


def test_a_set_smaller_than_one_update_is_repeated() -> None:
    batches = list(Batches(Points(3), Training(batch_size=8, steps=2), ALONE))
    assert [len(b) for b in batches] == [8, 8]


def test_a_broken_item_is_reported_once_and_the_rest_trains(tmp_path: Path) -> None:
    _, finished = train(tmp_path, points=Points(30, bad=(3,)), epochs=5)
    warnings = events(tmp_path, "warning")
    assert [(w["path"], w["message"]) for w in warnings] == [("3.png", "truncated")]
    assert finished.skipped == 1


def test_a_set_with_too_many_broken_items_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        train(tmp_path, points=Points(200, bad=tuple(range(0, 200, 2))), epochs=5)


def test_a_loss_that_is_not_finite_names_step_part_and_items(tmp_path: Path) -> None:
    with pytest.raises(loop.NonFiniteLoss, match=r"train/fit is not finite at step 5.*\.png"):
        train(tmp_path, model=Line(nan_at=5), validate=lambda bare: {"val/fit": 0.0})


def test_the_best_weights_are_those_of_the_best_validation(tmp_path: Path) -> None:
    scores = iter([0.5, 0.2, 0.9])
    _, finished = train(tmp_path, validate=lambda bare: {"val/fit": next(scores)})
    best = checkpoints.load(tmp_path / checkpoints.BEST)
    assert (best["value"], best["step"], finished.best) == (0.2, 14, 0.2)


def test_validating_does_not_change_what_is_trained(tmp_path: Path) -> None:
    often, _ = train(tmp_path / "often", eval_every=1)
    seldom, _ = train(tmp_path / "seldom", eval_every=21)
    for name, value in often.state_dict().items():
        assert torch.equal(value, seldom.state_dict()[name])


def test_another_recipe_cannot_be_resumed(tmp_path: Path) -> None:
    train(tmp_path)
    last = tmp_path / checkpoints.LAST
    state = checkpoints.load(last)
    checkpoints.save(last, {**state, "config": {"recipe": "other", "lr": 1}})
    with pytest.raises(ConfigError, match="other settings"):
        train(tmp_path, resume=str(last))


def test_a_disk_that_fails_otherwise_is_reported_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checkpoints.save

    def full(path: Path, content: dict[str, Any]) -> None:
        if path.name == "last.pt":
            raise OSError(errno.EIO, "Input/output error")
        real(path, content)

    monkeypatch.setattr(checkpoints, "save", full)
    _, finished = train(tmp_path)
    assert finished.step == 21
    assert "Input/output" in events(tmp_path, "warning")[0]["message"]


def test_workers_do_not_change_what_is_trained(tmp_path: Path) -> None:
    without, _ = train(tmp_path / "0", num_workers=0)
    with_two, _ = train(tmp_path / "2", num_workers=2)
    for name, value in without.state_dict().items():
        assert torch.equal(value, with_two.state_dict()[name])


def test_the_handlers_of_signals_are_put_back(tmp_path: Path) -> None:
    assert threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    train(tmp_path)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("step", [3, 4, 9])
def test_a_plateau_is_found_again_after_a_stop(tmp_path: Path, step: int) -> None:
    """A validation that never improves: the rate is halved at steps 3, 5, 7, ..."""
    given = {"eval_every": 1, "schedule": "plateau", "plateau_patience": 2, "epochs": 2}

    def no_better(stop: int = -1) -> Any:
        inner = stop_at(stop)
        return lambda bare: dict.fromkeys(inner(bare), 1.0)

    whole, _ = train(tmp_path / "whole", validate=no_better(), **given)
    with pytest.raises(loop.Stopped):
        train(tmp_path / "cut", validate=no_better(step), **given)
    last = tmp_path / "cut" / checkpoints.LAST
    resumed, _ = train(tmp_path / "cut", validate=no_better(), resume=str(last), **given)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    logged = [e for e in events(tmp_path / "cut", "metrics") if "train/lr" in e["values"]]
    rates = [e["values"]["train/lr"] for e in logged]
    assert rates == pytest.approx([0.05 / 2 ** (max(n - 1, 0) // 2) for n in range(14)])


def test_each_update_tells_the_model_its_epoch_also_after_resuming(tmp_path: Path) -> None:
    class Told(Line):
        def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
            told.append(round(batch["epoch"].item(), 3))
            return super().forward(batch)

    told: list[float] = []
    settings = {"epochs": 0, "steps": 4, "accum_iter": 2, "batch_size": 5}  # 3 updates an epoch
    train(tmp_path, model=Told(), **settings)
    assert told == [0, 0, 0.333, 0.333, 0.667, 0.667, 1, 1]
    state = checkpoints.load(tmp_path / checkpoints.LAST)
    state["step"] = 2
    checkpoints.save(tmp_path / checkpoints.LAST, state)
    told.clear()
    train(tmp_path, model=Told(), **settings, resume=str(tmp_path / checkpoints.LAST))
    assert told == [0.667, 0.667, 1, 1]


def test_a_full_disk_pauses_the_training_and_changes_nothing(
    tmp_path: Path, small_disk: Path, fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.05)
    whole, _ = train(tmp_path / "whole", save_every_s=0.0)
    filler: list[Path] = []

    def validate(bare: nn.Module) -> dict[str, float]:
        if not filler:
            filler.append(fill(small_disk))
            threading.Timer(0.5, filler[0].unlink).start()
        return {"val/fit": float(torch.rand(1))}

    paused, finished = train(small_disk / "run", save_every_s=0.0, validate=validate)
    assert finished.step == 21
    for name, value in whole.state_dict().items():
        assert torch.equal(value, paused.state_dict()[name]), name
    assert losses(small_disk / "run") == losses(tmp_path / "whole")
    (said,) = events(small_disk / "run", "warning")
    assert said["message"].startswith("paused for")


def test_a_training_that_waits_for_room_can_be_stopped(
    small_disk: Path, fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "LOOK_S", 0.05)

    def validate(bare: nn.Module) -> dict[str, float]:
        fill(small_disk)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return {"val/fit": 1.0}

    with pytest.raises(loop.Stopped):
        train(small_disk / "run", validate=validate)
    assert not (small_disk / "run" / checkpoints.LAST).exists()


def still() -> Line:
    """The same network each time, without anything drawn in training."""
    torch.manual_seed(1)
    return Line(dropout=0.0)


@pytest.mark.parametrize("micro", [1, 2])
def test_smaller_micro_batches_make_the_same_updates(tmp_path: Path, micro: int) -> None:
    whole, _ = train(tmp_path / "whole", model=still(), accum_iter=2, seed=3)
    again, _ = train(tmp_path / "again", model=still(), accum_iter=2, micro_batch=micro, seed=3)
    assert losses(tmp_path / "again") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_a_training_goes_on_with_smaller_micro_batches(tmp_path: Path) -> None:
    whole, _ = train(tmp_path / "whole", model=still())
    with pytest.raises(loop.Stopped):
        train(tmp_path / "cut", model=still(), validate=stop_at(7), eval_every=1)
    last = str(tmp_path / "cut" / checkpoints.LAST)
    resumed, finished = train(tmp_path / "cut", model=still(), micro_batch=2, resume=last)
    assert finished.step == 21
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=1e-4, atol=1e-6)


def test_a_micro_batch_is_a_part_of_the_batch() -> None:
    with pytest.raises(ConfigError, match="a divisor of `batch_size`, 64"):
        Training(epochs=1, micro_batch=24)


@pytest.mark.parametrize("broken", [1, 2])
def test_a_training_whose_first_micro_batches_cannot_be_read_makes_every_update(
    tmp_path: Path, broken: int
) -> None:
    config = Training(output_dir="", batch_size=1, accum_iter=4, epochs=3, lr=0.05)
    order = iter(Batches(Points(30), config, ALONE))
    bad = tuple(index for _ in range(broken) for _, index in next(order))
    _, finished = train(tmp_path, points=Points(30, bad), batch_size=1, accum_iter=4)
    assert finished.step == 21
    assert finished.skipped == broken


class Steep(Line):
    """Its loss is finite, and in the call `nan_at` the slope of it is not."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        self.calls += 1
        error = (self.net(batch["x"]) - batch["y"]).square().mean()
        if self.calls == self.nan_at:
            error = error + 0 * (0 * error).sqrt()
        return {"fit": error}


def test_weights_that_are_not_finite_are_not_kept(tmp_path: Path) -> None:
    with pytest.raises(loop.NonFiniteLoss, match=r"net\.0\.weight are not finite at step 21"):
        train(tmp_path, model=Steep(nan_at=21), validate=lambda bare: {"val/fit": 0.0})
    assert not (tmp_path / checkpoints.LAST).exists()


def test_a_training_that_goes_on_in_another_folder_takes_its_best_weights_along(
    tmp_path: Path,
) -> None:
    with pytest.raises(loop.Stopped):
        train(tmp_path / "old", validate=stop_at(5), eval_every=1)
    (tmp_path / "new").mkdir()
    last = tmp_path / "old" / checkpoints.LAST
    _, finished = train(
        tmp_path / "new", validate=lambda bare: {"val/fit": 9.0}, eval_every=1, resume=str(last)
    )
    best = checkpoints.load(tmp_path / "new" / checkpoints.BEST)
    assert (best["step"], finished.best) == (5, 0.2)


def test_where_the_best_weights_are_gone_the_next_ones_are_the_best(tmp_path: Path) -> None:
    with pytest.raises(loop.Stopped):
        train(tmp_path, validate=stop_at(5), eval_every=1)
    (tmp_path / checkpoints.BEST).unlink()
    last = tmp_path / checkpoints.LAST
    _, finished = train(
        tmp_path, validate=lambda bare: {"val/fit": 9.0}, eval_every=1, resume=str(last)
    )
    assert finished.best == 9.0
    assert checkpoints.load(tmp_path / checkpoints.BEST)["step"] == 6


def test_another_number_of_processes_cannot_go_on(tmp_path: Path) -> None:
    train(tmp_path)
    last = tmp_path / checkpoints.LAST
    checkpoints.save(last, {**checkpoints.load(last), "processes": 2})
    with pytest.raises(ConfigError, match=r"by 2 processes.*there would be 1"):
        train(tmp_path, resume=str(last))


def test_each_process_leaves_out_other_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "DistributedDataParallel", lambda model, device_ids: model)
    drawn = []
    for rank in (0, 1, 1):
        torch.manual_seed(0)  # as all processes do before they make the model
        job = loop.Job(Line(), Points(30), lambda bare: {}, None, 0, {})
        config = Training(output_dir=str(tmp_path), epochs=1, device="cpu")
        loop.Trainer(job, config, World(rank, 2, rank), EventLog(tmp_path))
        drawn.append(torch.rand(8).tolist())
    assert drawn[0] != drawn[1] == drawn[2]
