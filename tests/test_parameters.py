"""The table of parameters is what the code builds, and what the papers' code has."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parents[1] / "docs" / "parameters.py"
POOLER = 384 * 384 + 384
"""Of the released MRM, whose BERT has one that nothing uses."""


@pytest.fixture(scope="module")
def program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parameters", PROGRAM)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_page_of_parameters_is_what_the_code_builds(program: ModuleType) -> None:
    assert program.page() == program.PAGE.read_text(encoding="utf-8")


def test_mrm_has_the_released_codes_number_of_parameters(program: ModuleType) -> None:
    model = program.build("mrm")
    trained = program.count(p for p in model.parameters() if p.requires_grad)
    assert trained == 151_302_576 - POOLER
    assert program.count(model.state_dict(keep_vars=True).values()) == 151_605_168 - POOLER


def test_names_that_differ_in_numbers_alone_are_one(program: ModuleType) -> None:
    names = [f"a.{i}.b.{j}.weight" for i in range(3) for j in (1, 2)]
    assert program.collapsed(names) == "a.{0-2}.b.{1-2}.weight"
    with pytest.raises(ValueError, match="not a block"):
        program.collapsed(names[1:])
