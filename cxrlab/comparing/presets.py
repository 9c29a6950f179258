"""What do the trainers make of the preset `paper`, and of a launch line from elsewhere?

A question is the name of a trainer's program with its options. All are asked in one process.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from cxrlab import programs
from cxrlab.errors import CxrlabError
from cxrlab.imports.launch_line import LaunchLine
from cxrlab.lab import Lab

Question = tuple[str, ...]


class Presets:
    """The answers to questions, each asked once."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._known: dict[Question, dict[str, Any] | CxrlabError] = {}

    def ask(self, wanted: Iterable[Question]) -> None:
        """Ask all that is `wanted`, in one process; what is refused is remembered as such."""
        questions = list(dict.fromkeys(wanted))
        try:
            answers = programs.ask_all(self._lab, [_command(words) for words in questions])
        except CxrlabError:  # one of them is refused: the others shall not suffer
            for words in questions:
                self._ask_alone(words)
            return
        self._known |= dict(zip(questions, answers, strict=True))

    def _ask_alone(self, words: Question) -> None:
        try:
            (self._known[words],) = programs.ask_all(self._lab, [_command(words)])
        except CxrlabError as error:
            self._known[words] = error

    def of(self, words: Question) -> dict[str, Any]:
        """Return the configuration that a question came to; empty where it was refused."""
        answer = self._known.get(words, {})
        return {} if isinstance(answer, CxrlabError) else answer

    def refusal(self, words: Question) -> str:
        """Return why a question was refused; empty where it was not."""
        answer = self._known.get(words)
        return str(answer) if isinstance(answer, CxrlabError) else ""


def _command(words: Question) -> list[str]:
    return [sys.executable, "-P", "-m", *words]


def pretraining(method: str) -> Question:
    """Return the question what a method's pre-training is by its paper."""
    return ("trainers.pretrain", "--method", method, "--preset", "paper")


def finetuning(method: str, task: str, ratio: int | None) -> Question:
    """Return the question what a fine-tuning is by the task's paper."""
    # the encoder is compared apart; named here is none that must be there, nor its grey values
    encoder = ("--pretrained", "none", "--encoder_recipe", "paper", "--mean", "0", "--std", "1")
    share = ("--ratio", str(ratio)) if ratio is not None else ()
    cell = ("--task", task, "--method", method, *share, "--preset", "paper")
    return ("trainers.finetune", *cell, *encoder)


def launched(line: LaunchLine) -> Question:
    """Return a notebook's line as a question, without what names files of its machine."""
    left_out = ("resume", "pretrained", "data_path", "output_dir", "num_workers", "config")
    options = {name: value for name, value in line.options.items() if name not in left_out}
    words = [w for name, value in options.items() for w in (f"--{name}", *([value] * bool(value)))]
    return ("trainers.pretrain", *words)
