from __future__ import annotations

import pytest

from cxrlab import plan
from cxrlab.errors import CxrlabError, NotFound, Usage


def known(run_id: str, state: str, **facts: str) -> plan.Pretraining:
    values = {"method": "deep_mrm", "preset": "paper", "encoder": f"/{run_id}.pt", "recipe": "r"}
    return plan.Pretraining(run_id, state=state, **{**values, **facts})


def siim(**options: object) -> list[plan.Want]:
    return plan.wanted(["deep_mrm"], ["siim"], **{"ratios": [10], **options})  # type: ignore[arg-type]


def test_without_a_finished_encoder_a_pre_training_comes_first() -> None:
    first, second = plan.plan(siim(), []).steps
    assert (first.task, first.method, first.seed) == ("pretrain", "deep_mrm", 0)
    assert (second.task, second.ratio, second.after) == ("siim", 10, 0)


def test_many_cells_of_a_method_wait_for_one_pre_training() -> None:
    steps = plan.plan(siim(ratios=[10, 100], seeds=[0, 1, 2]), []).steps
    assert [step.task for step in steps] == ["pretrain"] + ["siim"] * 6
    assert {step.after for step in steps[1:]} == {0}


def test_the_newest_finished_encoder_is_taken() -> None:
    have = [known("new", "succeeded"), known("old", "succeeded"), known("now", "running")]
    (step,) = plan.plan(siim(), have).steps
    assert step.encoder == have[0]


def test_a_pre_training_under_way_is_waited_for() -> None:
    (step,) = plan.plan(siim(), [known("now", "queued")]).steps
    assert (step.encoder, step.why) == (known("now", "queued"), "waits for now")


def test_an_encoder_that_was_trained_otherwise_than_its_preset_says_is_told_with_how() -> None:
    for state, said in (("succeeded", "starts from"), ("running", "waits for")):
        (step,) = plan.plan(siim(), [known("now", state, settings="epochs=2")]).steps
        assert step.why == f"{said} now (epochs=2)"


def test_an_encoder_of_another_preset_does_not_count() -> None:
    have = [known("toy", "succeeded", preset="quick")]
    assert [step.task for step in plan.plan(siim(), have).steps] == ["pretrain", "siim"]


def test_an_encoder_of_another_method_does_not_count() -> None:
    have = [known("other", "succeeded", method="mrm")]
    assert [step.task for step in plan.plan(siim(), have).steps] == ["pretrain", "siim"]


def test_a_variant_starts_from_its_own_pre_training_not_from_that_of_its_method() -> None:
    have = [known("plain", "succeeded", method="mrm")]
    (first, second) = plan.plan(plan.wanted(["mrm+hog"], ["siim"], ratios=[10]), have).steps
    assert (first.method, first.task, second.after) == ("mrm+hog", "pretrain", 0)
    assert second.cell == "mrm+hog siim 10 % seed 0"


def test_a_baseline_needs_no_pre_training() -> None:
    (step,) = plan.plan(plan.wanted(["random"], ["shenzhen"]), []).steps
    assert (step.encoder, step.after, step.weights) == (None, None, "")


def test_weights_that_are_named_are_taken_as_they_are() -> None:
    (step,) = plan.plan(siim(pretrained="/mae.pth"), [known("new", "succeeded")]).steps
    assert (step.weights, step.encoder) == ("/mae.pth", None)


def test_a_run_that_is_named_is_started_from() -> None:
    have = [known("new", "succeeded"), known("old", "succeeded")]
    (step,) = plan.plan(siim(pretrained="old"), have).steps
    assert step.encoder == have[1]


def test_pre_training_asked_for_together_with_a_task_comes_first_and_is_waited_for() -> None:
    wants = plan.wanted(["deep_mrm"], ["siim", "pretrain"], overrides=(("pretrain.epochs", "3"),))
    steps = plan.plan(wants, [known("new", "succeeded")]).steps
    assert [step.task for step in steps] == ["pretrain", "siim", "siim"]
    assert [step.after for step in steps] == [None, 0, 0]
    assert steps[0].overrides == (("epochs", "3"),)


def test_settings_of_the_pre_training_put_it_first_even_where_one_is_finished() -> None:
    wants = siim(overrides=(("pretrain.mask_ratio", "0.5"), ("lr", "0.1")))
    first, second = plan.plan(wants, [known("new", "succeeded")]).steps
    assert first.overrides == (("mask_ratio", "0.5"),)
    assert second.overrides == (("lr", "0.1"),)


def test_a_setting_of_one_task_stays_with_it() -> None:
    wants = plan.wanted(
        ["random"],
        ["siim", "shenzhen"],
        ratios=[100],
        overrides=(("siim.px", "64"), ("epochs", "2")),
    )
    settings = {want.task: dict(want.overrides) for want in wants}
    assert settings == {"siim": {"px": "64", "epochs": "2"}, "shenzhen": {"epochs": "2"}}


def test_no_task_means_pre_training() -> None:
    (want,) = plan.wanted(["mrm"], [])
    assert (want.task, want.ratio) == ("pretrain", None)


def test_no_ratio_means_all_of_the_task() -> None:
    assert [want.ratio for want in plan.wanted(["mrm"], ["siim"])] == [10, 100]


def test_a_cell_named_twice_is_planned_once() -> None:
    wants = plan.wanted(["random", "random"], ["siim", "siim"], ratios=[10, 10], seeds=[0, 0])
    assert len(plan.plan([*wants, *wants], []).steps) == 1


@pytest.mark.parametrize(
    ("methods", "tasks", "hint"),
    [(["deepmrm"], ["siim"], "`deep_mrm`"), (["mrm"], ["shenzen"], "`shenzhen`")],
)
def test_a_name_that_does_not_exist_ends_with_3_and_the_nearest(
    methods: list[str], tasks: list[str], hint: str
) -> None:
    with pytest.raises(NotFound) as caught:
        plan.wanted(methods, tasks)
    assert caught.value.code == 3
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("methods", "tasks", "options"),
    [
        (["random"], [], {}),
        (["mrm"], [], {"ratios": [10]}),
        (["mrm"], ["siim"], {"ratios": [50]}),
        (["mrm"], ["siim", "shenzhen"], {"ratios": [10]}),
        (["mrm"], ["siim"], {"overrides": (("seed", "3"),)}),
        (["mrm"], ["siim"], {"overrides": (("output-dir", "/x"),)}),
        (["mrm"], ["siim"], {"overrides": (("siim.", "3"),)}),
    ],
)
def test_a_request_that_makes_no_sense_ends_with_2(
    methods: list[str], tasks: list[str], options: dict[str, object]
) -> None:
    with pytest.raises(CxrlabError) as caught:
        plan.wanted(methods, tasks, **options)  # type: ignore[arg-type]
    assert isinstance(caught.value, Usage)


def test_a_setting_of_an_unknown_task_ends_with_3() -> None:
    with pytest.raises(NotFound, match="sim"):
        plan.wanted(["mrm"], ["siim"], overrides=(("sim.px", "3"),))


def test_a_step_says_its_cell_in_words() -> None:
    assert plan.Step("mrm", "siim", 10, 2, "paper").cell == "mrm siim 10 % seed 2"
