from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cxrlab import plan, programs
from cxrlab.errors import BadInput, CxrlabError, NotFound, Usage
from cxrlab.lab import Lab

STEP = plan.Step("mrm", "siim", 10, 3, "quick")
ENCODER = plan.Pretraining("abc234", "mrm", "quick", "succeeded", "/runs/a/encoder.pt", "f00d")


def command(lab: Lab, step: plan.Step = STEP, *, gpus: int = 0, encoder: Any = None) -> list[str]:
    machine = programs.Machine(gpus, 1, programs.threads_of(lab, "local", gpus))
    return programs.command(lab, step, encoder, folder=Path("/runs/x y"), machine=machine)


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def with_programs(lab: Lab, name: str) -> Lab:
    launch = replace(lab.settings.launch, pretrain_program=name, finetune_program=name)
    return replace(lab, settings=replace(lab.settings, launch=launch))


def script(tmp_path: Path, code: str) -> list[str]:
    path = tmp_path / "odd.py"
    path.write_text(code)
    return [sys.executable, "-P", str(path)]


def test_a_trainer_is_a_module_started_by_this_python_with_a_safe_path(lab: Lab) -> None:
    lab = with_programs(lab, "trainers.finetune")
    assert command(lab)[:4] == [sys.executable, "-P", "-m", "trainers.finetune"]


def test_the_command_says_everything_the_run_needs(lab: Lab) -> None:
    words = command(lab, encoder=ENCODER)
    assert after(words, "--data_path") == str(lab.settings.data["siim"].root)
    assert after(words, "--output_dir") == "/runs/x y"
    assert after(words, "--pretrained") == "/runs/a/encoder.pt"
    assert after(words, "--encoder_recipe") == "f00d"
    found = [after(words, f"--{name}") for name in ("task", "method", "ratio", "seed", "preset")]
    assert found == ["siim", "mrm", "10", "3", "quick"]
    assert (after(words, "--device"), after(words, "--threads")) == ("cpu", "1")


def test_a_pre_training_has_neither_task_nor_ratio(lab: Lab) -> None:
    words = command(lab, plan.Step("mrm", "pretrain", None, 0, "quick"))
    assert "--task" not in words
    assert "--ratio" not in words


def test_a_method_with_a_teacher_is_given_the_published_one_unless_another_is_named(
    lab: Lab,
) -> None:
    step = plan.Step("mrm+dino", "pretrain", None, 0, "quick")
    with pytest.raises(NotFound) as missing:
        command(lab, step)
    assert "cxrlab weights fetch dino" in missing.value.hint
    path = lab.pretrained_dir / "dino_vitbase16_pretrain.pth"
    path.write_bytes(b"weights")
    assert after(command(lab, step), "--teacher") == str(path)
    own = command(lab, replace(step, overrides=(("teacher", "/mine.pth"),)))
    assert "--teacher=/mine.pth" in own
    assert "--teacher" not in own
    assert "--teacher" not in command(lab, replace(step, task="siim", ratio=10), encoder=ENCODER)
    assert "--teacher" not in command(lab, replace(step, method="mrm+hog"))


def test_several_gpus_are_the_matter_of_torchrun(lab: Lab) -> None:
    words = command(with_programs(lab, "trainers.finetune"), gpus=4)
    assert words[:8] == [
        sys.executable,
        "-P",
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=4",
        "-m",
        "trainers.finetune",
    ]
    assert after(words, "--device") == "cuda"


def test_settings_are_spelled_as_options(lab: Lab) -> None:
    settings = (("blr", "-3e-4"), ("norm_pix_loss", "false"), ("compile", "true"))
    words = command(lab, replace(STEP, overrides=settings))
    assert words[-3:] == ["--blr=-3e-4", "--no_norm_pix_loss", "--compile"]


def test_data_of_ones_own_are_taken_before_the_labs(lab: Lab) -> None:
    words = command(lab, replace(STEP, overrides=(("data_path", "/mine"),)))
    assert "--data_path" not in words
    assert words[-1] == "--data_path=/mine"


def test_data_that_the_lab_does_not_name_end_with_3_and_the_line_to_add(lab: Lab) -> None:
    bare = replace(lab, settings=replace(lab.settings, data={}))
    with pytest.raises(NotFound) as caught:
        command(bare)
    assert "`siim`" in caught.value.message
    assert "[data.siim]" in caught.value.hint


def test_data_that_are_not_there_end_with_3_and_the_folder(lab: Lab) -> None:
    lab.settings.data["siim"].root.rmdir()
    with pytest.raises(NotFound, match=str(lab.settings.data["siim"].root)):
        command(lab)


def test_commands_that_differ_in_seed_and_folder_are_asked_about_once(
    lab: Lab, tmp_path: Path
) -> None:
    counter = tmp_path / "asked"
    code = f"open({str(counter)!r}, 'a').write('x'); print('{{\"recipe\": \"r\"}}')"
    base = script(tmp_path, code)
    same = [[*base, "--seed", str(n), "--output_dir", f"/{n}"] for n in range(3)]
    answers = programs.ask_all(lab, [*same, [*base, "--ratio", "1"]])
    assert answers == [{"recipe": "r"}] * 4
    assert counter.read_text() == "xx"


def test_weights_without_a_recipe_are_asked_about_one_by_one(lab: Lab, tmp_path: Path) -> None:
    code = "import json, sys; print(json.dumps({'recipe': sys.argv[2]}))"
    base = script(tmp_path, code)
    answers = programs.ask_all(lab, [[*base, "--pretrained", name] for name in ("a", "b")])
    assert [answer["recipe"] for answer in answers] == ["a", "b"]


@pytest.mark.parametrize(
    ("code", "kind"), [(2, Usage), (3, NotFound), (4, BadInput), (1, CxrlabError)]
)
def test_a_refusal_keeps_the_trainers_words_and_exit_code(
    lab: Lab, tmp_path: Path, code: int, kind: type[CxrlabError]
) -> None:
    refusal = "a warning before\\nerror: `batch_size` is 0; expected at least 1\\n"
    base = script(tmp_path, f"import sys; sys.stderr.write('{refusal}'); sys.exit({code})")
    with pytest.raises(CxrlabError) as caught:
        programs.resolve_configuration(lab, base)
    assert type(caught.value) is kind
    assert caught.value.code == code
    assert "`batch_size` is 0; expected at least 1" in caught.value.message


@pytest.mark.parametrize("answer", ["", "[]", "{}", "no json"])
def test_an_answer_that_is_no_configuration_is_an_error(
    lab: Lab, tmp_path: Path, answer: str
) -> None:
    with pytest.raises(CxrlabError, match="no configuration"):
        programs.resolve_configuration(lab, script(tmp_path, f"print({answer!r})"))


def test_a_setting_that_a_task_lacks_says_where_its_settings_are_listed(lab: Lab) -> None:
    step = replace(STEP, overrides=(("mask_ratio", "0.5"),))
    lab = with_programs(lab, "trainers.finetune")
    with pytest.raises(Usage, match="no setting is called `mask_ratio`") as caught:
        programs.ask_all(lab, [command(lab, step, encoder=ENCODER)])
    assert "trainers.finetune --task siim --help` lists" in caught.value.hint
    assert "`--set pretrain.mask_ratio=...`" in caught.value.hint


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that are started from now on."""
    found: list[subprocess.Popen[str]] = []

    class Noted(subprocess.Popen[str]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            found.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    return found


def test_one_process_answers_one_question_after_the_other(
    lab: Lab, started: list[subprocess.Popen[str]]
) -> None:
    lab = with_programs(lab, "trainers.finetune")
    first = command(lab, encoder=ENCODER)
    with programs.Trainers(lab) as trainers:
        (one,) = trainers.ask([first])
        other, again = trainers.ask([[*first, "--blr", "0.5"], first])
    assert one == again
    assert other["blr"] == 0.5
    assert other["recipe"] != one["recipe"]
    (process,) = started
    assert process.returncode is not None  # nothing is left behind


def test_trainers_that_are_killed_between_two_questions_are_an_error(
    lab: Lab, started: list[subprocess.Popen[str]]
) -> None:
    lab = with_programs(lab, "trainers.finetune")
    first = command(lab, encoder=ENCODER)
    with programs.Trainers(lab) as trainers:
        trainers.ask([first])
        started[0].kill()
        with pytest.raises(CxrlabError, match="broke down"):
            trainers.ask([[*first, "--blr", "0.5"]])
