"""Settings: from options and files to dataclasses, and to a recipe."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Literal

import pytest

from trainers import program
from trainers.config import (
    ConfigError,
    add_options,
    option,
    recipe_digest,
    resolve,
    to_json,
)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """How it runs."""

    seed: int = option(0, "seed", recipe=False)
    batch_size: int = option(4, "images", aliases=("bs",))
    norm_pix_loss: bool = option(True, "standardise")


@dataclass(frozen=True, kw_only=True)
class Method:
    """What it does."""

    mask_ratio: float = option(0.75, "share hidden")
    schedule: Literal["cosine", "poly"] = option("cosine", "decay")


def parsed(*words: str) -> dict[str, object]:
    parser = argparse.ArgumentParser()
    add_options(parser, [Loop, Method])
    return vars(parser.parse_args(words))


@pytest.mark.parametrize("spelling", ["--mask_ratio", "--mask-ratio"])
def test_an_option_is_known_in_either_spelling(spelling: str) -> None:
    assert parsed(spelling, "0.5") == {"mask_ratio": "0.5"}


def test_an_older_name_sets_the_same_field() -> None:
    assert parsed("--bs", "8") == {"batch_size": "8"}


def test_a_switch_can_be_turned_off() -> None:
    assert parsed("--no-norm_pix_loss") == {"norm_pix_loss": False}
    assert parsed("--norm-pix-loss") == {"norm_pix_loss": True}


def test_what_is_given_beats_the_preset_and_the_preset_beats_the_default() -> None:
    loop, method = resolve(
        [Loop, Method],
        preset={"batch_size": 32, "mask_ratio": 0.6},
        given={"mask_ratio": "0.9"},
    )
    assert (loop.batch_size, method.mask_ratio, loop.seed) == (32, 0.9, 0)


def test_an_unknown_name_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean `mask_ratio`"):
        resolve([Loop, Method], preset={}, given={"mask_ration": 1})


def test_an_unknown_option_is_called_a_setting_and_names_the_nearest() -> None:
    for given, near in (("--mask-ration=0.5", "mask_ratio"), ("--batch_siz=4", "batch_size")):
        with pytest.raises(ConfigError, match=f"no setting is called .*mean `{near}`"):
            program.parse([given], program="pretrain", classes=[Loop, Method], preset={})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", "4.5"),
        ("batch_size", 4.5),
        ("schedule", "linear"),
        ("norm_pix_loss", "maybe"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=name):
        resolve([Loop, Method], preset={}, given={name: value})


def test_one_name_cannot_mean_two_options() -> None:
    from trainers.config import fields_of

    with pytest.raises(TypeError, match="seed"):
        fields_of([Loop, Loop])


def test_seed_and_places_do_not_change_the_recipe_but_settings_do() -> None:
    base = resolve([Loop, Method], preset={}, given={})
    other_seed = resolve([Loop, Method], preset={}, given={"seed": 7})
    other_ratio = resolve([Loop, Method], preset={}, given={"mask_ratio": 0.5})
    assert recipe_digest(base) == recipe_digest(other_seed)
    assert recipe_digest(base) != recipe_digest(other_ratio)


def test_a_setting_that_came_later_leaves_recipes_without_it_as_they_were() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Later(Method):
        more: str = option("", "something new", recipe="where given")

    base = recipe_digest(resolve([Loop, Method], preset={}, given={}))
    left, given = (resolve([Loop, Later], preset={}, given=g) for g in ({}, {"more": "x"}))
    assert recipe_digest(left) == base
    assert recipe_digest(given) != base


def test_the_resolved_settings_resolve_to_themselves() -> None:
    first = resolve([Loop, Method], preset={"batch_size": 2}, given={"mask_ratio": "0.3"})
    again = resolve([Loop, Method], preset={}, given=to_json(first))
    assert again == first
