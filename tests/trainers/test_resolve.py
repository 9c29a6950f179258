"""Many command lines are resolved in one process as each program alone would resolve it."""

from __future__ import annotations

import json

import pytest

from trainers import finetune, resolve

SIIM = ["--task", "siim", "--preset", "quick", "--data_path", "x"]


def test_an_answer_is_what_the_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert finetune.main([*SIIM, "--print-config"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert resolve.resolve(["trainers.finetune", *SIIM]) == printed


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--ratio", "200"], 2),
        (["--method", "mrm"], 2),
        (["--method", "mae"], 2),
        (["--method", "nothing"], 3),
    ],
)
def test_a_refusal_has_the_programs_words_and_exit_code(
    options: list[str], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert finetune.main([*SIIM, *options, "--print-config"]) == code
    said = capsys.readouterr().err.strip().removeprefix("error: ")
    answer = resolve.resolve(["trainers.finetune", *SIIM, *options])
    assert answer == {"error": said, "code": code}


def test_ten_percent_of_siim_is_trained_for_the_authors_5000_updates() -> None:
    for ratio, steps in ((10, 5_000), (100, 160_000)):
        options = ["--task", "siim", "--preset", "paper", "--data_path", "x", "--ratio", str(ratio)]
        assert resolve.resolve(["trainers.finetune", *options])["steps"] == steps


def test_ratio_and_encoder_make_another_recipe_but_seed_does_not() -> None:
    def recipe(*options: str) -> str:
        return resolve.resolve(["trainers.finetune", *SIIM, *options])["recipe"]

    base = recipe()
    assert recipe("--seed", "3", "--output_dir", "y") == base
    assert recipe("--ratio", "10") != base
    assert recipe("--encoder_recipe", "abc") != base
