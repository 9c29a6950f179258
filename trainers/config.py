"""How frozen dataclasses become options, JSON and a recipe digest. Standard library only.

A program is configured by several dataclasses (its own, the loop's, the method's or task's) whose
fields share one flat space of names: `--mask-ratio` or `--mask_ratio` on the command line,
`"mask_ratio"` in `config.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal


class ConfigError(Exception):
    """A setting that cannot work; the program ends with 2 before data or weights are touched."""


class InputError(Exception):
    """Data or a checkpoint that is not what it should be; the program ends with 4."""


class MissingError(Exception):
    """A file or folder that is not there; the program ends with 3."""


Counts = Literal["where given"] | bool
"""Whether a setting is part of a recipe; `where given`: unless it is left at its default."""


def option(default: Any, help: str, *, recipe: Counts = True, aliases: Sequence[str] = ()) -> Any:
    """Declare one setting: its default, its help, and older names of it.

    Args:
        default: its type need not be repeated; the annotation counts.
        help: a noun phrase, with units or range.
        recipe: False for settings that say where or which repeat, not what (seed, folders);
            `where given` for one that came later, so that older runs keep their recipe.
        aliases: further option names, without dashes.
    """
    return dataclasses.field(
        default=default, metadata={"help": help, "recipe": recipe, "aliases": tuple(aliases)}
    )


def fields_of(classes: Sequence[type]) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of all `classes` by name.

    Raises:
        TypeError: two classes share a name, which would be one option with two meanings.
    """
    found: dict[str, dataclasses.Field[Any]] = {}
    for cls in classes:
        for field in dataclasses.fields(cls):
            if field.name in found:
                raise TypeError(f"option `{field.name}` is declared twice, again in {cls}")
            found[field.name] = field
    return found


def _type_of(cls: type, name: str) -> Any:
    return typing.get_type_hints(cls)[name]


def _types(classes: Sequence[type]) -> dict[str, Any]:
    return {f.name: _type_of(cls, f.name) for cls in classes for f in dataclasses.fields(cls)}


def _inner(kind: Any) -> tuple[Any, bool]:
    """Return the type without `| None`, and whether None was allowed."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(kind) if a is not type(None)]
        return rest[0], len(rest) < len(typing.get_args(kind))
    return kind, False


def parse_value(name: str, kind: Any, value: object) -> Any:
    """Return `value` (text or JSON) as `kind`.

    Raises:
        ConfigError: it does not fit, with what was expected.
    """
    inner, optional = _inner(kind)
    if value is None or (optional and isinstance(value, str) and value.lower() in ("", "none")):
        if optional:
            return None
        raise ConfigError(f"`{name}` must not be empty")
    if typing.get_origin(inner) is Literal:
        choices = typing.get_args(inner)
        if value not in choices:
            raise ConfigError(f"`{name}` is `{value}`; expected one of {', '.join(choices)}")
        return value
    if inner is bool:
        if isinstance(value, bool):
            return value
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if str(value).lower() in known:
            return known[str(value).lower()]
        raise ConfigError(f"`{name}` is `{value}`; expected true or false")
    if inner is str:
        return str(value)
    if inner is int and isinstance(value, float) and not value.is_integer():
        raise ConfigError(f"`{name}` is `{value}`; expected a whole number")
    if isinstance(value, bool):
        raise ConfigError(f"`{name}` is `{value}`; expected {_spell(inner)}")
    try:
        return inner(value)
    except (TypeError, ValueError):
        raise ConfigError(f"`{name}` is `{value}`; expected {_spell(inner)}") from None


def _spell(kind: Any) -> str:
    return {int: "a whole number", float: "a number"}.get(kind, str(kind))


def _spellings(name: str, aliases: Sequence[str]) -> list[str]:
    both = [f"--{spelled}" for n in (name, *aliases) for spelled in (n.replace("_", "-"), n)]
    return list(dict.fromkeys(both))


def add_options(parser: argparse.ArgumentParser, classes: Sequence[type]) -> None:
    """Add every field of `classes` to `parser`; what is not given is left out of the result."""
    for cls in classes:
        group = parser.add_argument_group((cls.__doc__ or cls.__name__).split("\n")[0])
        for field in dataclasses.fields(cls):
            kind, _ = _inner(_type_of(cls, field.name))
            names = _spellings(field.name, field.metadata.get("aliases", ()))
            about = f"{field.metadata['help']} (default: {field.default})".replace("%", "%%")
            extra: dict[str, Any] = {"default": argparse.SUPPRESS, "help": about}
            if kind is bool:
                negative = [n.replace("--", "--no-", 1) for n in names]
                negative += [n.replace("--", "--no_", 1) for n in names if "_" in n]
                group.add_argument(*names, dest=field.name, action="store_true", **extra)
                hidden = {**extra, "help": argparse.SUPPRESS}
                group.add_argument(*negative, dest=field.name, action="store_false", **hidden)
            else:
                group.add_argument(*names, dest=field.name, metavar=field.name.upper(), **extra)


def names_of(classes: Sequence[type]) -> list[str]:
    """Return what the fields of all `classes` may be called, older names included."""
    return [
        spelled
        for name, field in fields_of(classes).items()
        for spelled in (name, *field.metadata.get("aliases", ()))
    ]


def unknown_setting(name: str, known: Iterable[str]) -> ConfigError:
    """Return the error that says that no setting is called so, with the nearest known one."""
    near = difflib.get_close_matches(name.replace("-", "_"), list(known), n=1)
    hint = f"; did you mean `{near[0]}`?" if near else ""
    return ConfigError(f"no setting is called `{name}`{hint}")


def resolve(
    classes: Sequence[type],
    *,
    preset: Mapping[str, Any],
    given: Mapping[str, Any],
) -> list[Any]:
    """Build one instance of each class: defaults, then the preset, then what was given.

    Raises:
        ConfigError: an unknown name (with the nearest known one) or a value that does not fit.
    """
    kinds = _types(classes)
    for name in (*preset, *given):
        if name not in kinds:
            raise unknown_setting(name, kinds)
    built = []
    for cls in classes:
        values = {}
        for field in dataclasses.fields(cls):
            for source in (given, preset):
                if field.name in source:
                    raw = source[field.name]
                    values[field.name] = parse_value(field.name, kinds[field.name], raw)
                    break
        built.append(cls(**values))
    return built


def to_json(configs: Sequence[Any]) -> dict[str, Any]:
    """Return every setting of `configs` in one flat dict, defaults included."""
    return {f.name: getattr(c, f.name) for c in configs for f in dataclasses.fields(c)}


def recipe_digest(configs: Sequence[Any]) -> str:
    """Return the SHA-256 over all settings that make a result what it is, in 64 hex digits.

    Runs of one digest are repeats of each other: seed, folders, workers and device are left out.
    """
    chosen = {
        f.name: getattr(c, f.name)
        for c in configs
        for f in dataclasses.fields(c)
        if _counts(f, getattr(c, f.name))
    }
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def _counts(field: dataclasses.Field[Any], value: Any) -> bool:
    counts: Counts = field.metadata.get("recipe", True)
    return value != field.default if counts == "where given" else counts


def read_config_file(path: Path) -> dict[str, Any]:
    """Return the settings in a `config.json`, without the keys that describe the run.

    Raises:
        MissingError: no such file.
        ConfigError: it is not a JSON object.
    """
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{path} does not exist") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path} holds no JSON object")
    return {k: v for k, v in loaded.items() if k not in ("program", "recipe")}
