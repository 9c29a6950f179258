"""What every training program does around its work: options, the run folder, exit codes.

Exit codes: 0 done; 1 failed; 2 a setting cannot work; 3 something is not there; 4 data or weights
are not what they should be; 143 stopped by SIGTERM, 130 by SIGINT, with a checkpoint written.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import shlex
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trainers import checkpoints, distributed, loop, metrics
from trainers.config import (
    ConfigError,
    InputError,
    MissingError,
    add_options,
    names_of,
    read_config_file,
    recipe_digest,
    resolve,
    to_json,
    unknown_setting,
)
from trainers.distributed import World
from trainers.events import EventLog, finite
from trainers.room import Room
from trainers.training import Training

logger = logging.getLogger(__name__)


class Parsed(NamedTuple):
    """A command line, resolved."""

    configs: list[Any]
    """One instance of each class that was asked for, in order."""
    flat: dict[str, Any]
    """All settings, with `program` and `recipe`: what `config.json` holds."""
    print_only: bool


def glance(argv: Sequence[str], name: str, aliases: Sequence[str] = ()) -> str | None:
    """Return the value of one option before the others are known, from argv or `--config`."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    spelled = [f"--{n}" for n in (name, *aliases)]
    parser.add_argument(*spelled, dest="value")
    parser.add_argument("--config")
    known, _ = parser.parse_known_args(list(argv))
    if known.value is None and known.config:
        value = read_config_file(Path(known.config)).get(name)
        return None if value is None else str(value)
    return known.value


def parse(
    argv: Sequence[str],
    *,
    program: str,
    classes: Sequence[type],
    preset: Mapping[str, Any],
    adjust: Callable[[dict[str, Any]], None] = lambda given: None,
) -> Parsed:
    """Resolve a command line: defaults, preset, `--config`, then the options given.

    Args:
        argv: without the program's name.
        program: `pretrain` or `finetune`.
        classes: the dataclasses whose fields are the options.
        preset: overrides of the chosen preset.
        adjust: last changes to what was given, before it is checked.

    Raises:
        ConfigError: an unknown option or a value that does not fit.
    """
    parser = _Parser(prog=f"python -m trainers.{program}", allow_abbrev=False)
    parser.add_argument("--config", metavar="FILE", help="settings as --print-config prints them")
    parser.add_argument(
        "--print-config", "--print_config", action="store_true", help="print the settings and stop"
    )
    add_options(parser, classes)
    known, strange = parser.parse_known_args(list(argv))
    if strange:
        raise unknown_setting(strange[0].lstrip("-").partition("=")[0], names_of(classes))
    given = vars(known)
    file, print_only = given.pop("config"), given.pop("print_config")
    if file:
        given = {**read_config_file(Path(file)), **given}
    adjust(given)
    configs = resolve(classes, preset=preset, given=given)
    flat = {"program": program, **to_json(configs), "recipe": recipe_digest(configs)}
    return Parsed(configs, flat, print_only)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> Any:
        raise ConfigError(message)


def open_folder(folder: Path, flat: dict[str, Any], *, resuming: bool) -> None:
    """Write `config.json` and `command.txt`; refuse a folder that holds another training.

    Raises:
        ConfigError: a finished or interrupted training lies there and `--resume` is not given.
    """
    if (folder / checkpoints.LAST).exists() and not resuming:
        raise ConfigError(
            f"{folder} already holds a training; go on with `--resume "
            f"{folder / checkpoints.LAST}` or choose another `--output_dir`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: ("" if k == "resume" else v) for k, v in flat.items()}
    text = json.dumps(kept, indent=2, ensure_ascii=False)
    (folder / "config.json").write_text(text + "\n", encoding="utf-8")
    if not (folder / "command.txt").exists():
        line = shlex.join(
            [sys.executable, "-P", "-m", f"trainers.{flat['program']}", *sys.argv[1:]]
        )
        (folder / "command.txt").write_text(line + "\n", encoding="utf-8")


def set_up(config: Training) -> tuple[World, torch.device]:
    """Join the other processes, choose the device, set threads and seeds."""
    device = loop.pick_device(config.device)
    world = distributed.join(device.type)
    if device.type == "cuda":
        device = torch.device("cuda", world.local_rank)
        torch.set_float32_matmul_precision("high")
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    level = logging.INFO if world.first else logging.WARNING
    form = "%(asctime)s %(name)s: %(message)s"
    if not world.first:
        form = f"[rank {world.rank}] {form}"
    logging.basicConfig(level=level, format=form, datefmt="%H:%M:%S", force=True)
    return world, device


def guard(work: Callable[[], int], log: Callable[[], EventLog | None]) -> int:
    """Run `work` and turn what it raises into an `end` event, two lines and an exit code."""

    def say_end(outcome: Any, reason: str) -> None:
        events = log()
        if events is not None:
            events.end(outcome, reason)
        if outcome == "failed":
            tell_torchrun(reason)

    try:
        return work()
    except loop.Stopped as stopped:
        say_end("stopped", f"{stopped} received; resumable from {checkpoints.LAST}")
        return 128 + stopped.number
    except (ConfigError, MissingError, InputError) as error:
        say_end("failed", str(error))
        say(f"error: {error}\n")
        codes = {ConfigError: 2, MissingError: 3, InputError: 4}
        return codes[type(error)]
    except loop.NonFiniteLoss as error:
        say_end("failed", str(error))
        say(f"error: {error}\n")
        return 1
    except torch.OutOfMemoryError as error:
        say(traceback.format_exc())
        say_end("failed", f"GPU out of memory: {str(error).splitlines()[0]}")
        return 1
    except Exception as error:
        say(traceback.format_exc())
        say_end("failed", f"{type(error).__name__}: {error}")
        return 1
    finally:
        distributed.leave()


def say(text: str) -> None:
    """Write to stderr; a full disk, where the log lies, must not hide how the run ends."""
    with contextlib.suppress(OSError):
        sys.stderr.write(text)


def tell_torchrun(reason: str) -> None:
    """Leave the reason where torchrun looks for it, for only rank 0 writes events.

    torchrun sums up the failure that came first, with its rank and what this file says.
    """
    path = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if path:
        said = {"message": reason, "timestamp": str(int(time.time()))}
        with contextlib.suppress(OSError):
            Path(path).write_text(json.dumps(said), encoding="utf-8")


def relative_to_run(path: str) -> str:
    """Return the run folder's name a checkpoint lies in, or an empty string."""
    folder = Path(path).resolve().parent
    return folder.parent.name if folder.name == "checkpoints" else ""


def weights_facts(path: str) -> dict[str, Any]:
    """Return path, run and SHA-256 of the weights a run starts from; empty for none."""
    if not path:
        return {}
    return {
        "path": os.path.abspath(path),  # noqa: PTH100 - a link keeps its name
        "run": relative_to_run(path),
        "sha256": checkpoints.sha256(Path(path)),
    }


def show(draw: Callable[[], Iterable[tuple[str, str]]], events: EventLog) -> None:
    """Announce each picture that `draw` gives, by its path in the run folder and its caption.

    The work is done by then, so a picture that cannot be drawn is a warning and no failure.
    """
    try:
        for path, caption in draw():
            events.sample(path, caption)
    except Exception as error:
        # what other errors say may quote the report that was to be drawn, which no log may hold
        why = f": {error}" if isinstance(error, OSError) else ""
        place = "".join(traceback.format_tb(error.__traceback__))
        logger.warning("pictures could not be drawn: %s%s\n%s", type(error).__name__, why, place)
        events.warning(f"pictures could not be drawn: {type(error).__name__}{why}")


def keep(folder: Path, events: EventLog, write: Callable[[], object]) -> None:
    """Write something that the run must not lose; waits for room where the disk is full."""
    Room(folder, events).keep(write, needed=0)


def write_result(folder: Path, result: dict[str, Any], events: EventLog) -> None:
    """Write `result.json` whole, then tell it as an event; every number with its meaning."""
    result = {
        **result,
        "selection": metrics.selection(result["selected_by"]),
        "metrics": metrics.described(result["values"]),
    }
    path = folder / "result.json"
    temporary = path.with_suffix(".tmp")
    text = json.dumps(finite(result), indent=2, ensure_ascii=False, default=str)

    def write() -> None:
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)

    keep(folder, events, write)
    events.result(**json.loads(text))
