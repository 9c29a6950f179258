"""Program: tests a fine-tuned model on any images, or recomputes metrics from saved predictions.

    python -m trainers.evaluate --task shenzhen --checkpoint BEST.pt --images DIR --labels FILE
    python -m trainers.evaluate --task siim --predictions RUN/predictions.npz --json
    python -m trainers.evaluate --task pretrain --method mrm --pretrained MRM.pth --batch B.pt

The first finds every image that FILE names at any depth of DIR. The third gives a method's losses
and takes its own options too, such as `--mlm_positions masked`; B.pt is a saved dict of tensors as
the method's `forward` takes them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainers import catalog, checkpoints, details, foreign, metrics, program, testing, weights
from trainers.config import ConfigError, InputError, MissingError, add_options, resolve
from trainers.events import finite
from trainers.finetune import PREDICTIONS, VALIDATED, task_module
from trainers.pretrain import method_module, reads_reports, settle_variant

More = Callable[[Mapping[str, np.ndarray]], dict[str, Any]]
"""Says more of predictions than their metrics."""


def main(argv: Sequence[str]) -> int:
    """Evaluate as `argv` says and return the exit code."""
    task = program.glance(argv, "task")
    return program.guard(
        lambda: _losses(argv) if task == catalog.PRETRAIN else _metrics(argv), lambda: None
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m trainers.evaluate", allow_abbrev=False)
    known = ", ".join((catalog.PRETRAIN, *catalog.TASKS))
    parser.add_argument("--task", required=True, help=known)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser


def _metrics(argv: Sequence[str]) -> int:
    given = _metrics_parser().parse_args(list(argv))
    logging.basicConfig(level=logging.WARNING, format="warning: %(message)s", force=True)
    more = _more(given)
    if given.predictions:
        _refuse(given, ("images", "labels"), "`--checkpoint`")
        files, out = [Path(file) for file in given.predictions], _place(given.out)
        result = recompute(given.task, files, seed=given.seed, out=out, more=more)
    else:
        if not given.images or not given.labels:
            raise ConfigError("`--checkpoint` needs `--images DIR` and `--labels FILE` beside it")
        result = _test(given, more)
    _print(result, as_json=given.json)
    return 0


def _metrics_parser() -> argparse.ArgumentParser:
    parser = _parser()
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--checkpoint", metavar="FILE", help="best.pt or last.pt of a fine-tuning")
    source.add_argument("--predictions", metavar="FILE", nargs="+",
                        help="predictions.npz, a csv table, or a text file a class")  # fmt: skip
    parser.add_argument("--images", metavar="DIR", help="folder of images, at any depth")
    parser.add_argument("--labels", metavar="FILE", help="the task's labels: list, table or folder")
    parser.add_argument("--out", metavar="FILE", help="where to write predictions.npz")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--num-workers", "--num_workers", type=int, default=0, metavar="N",
                        help="loader processes; 0 loads in this one")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--details", action="store_true",
                        help="classes, working points and calibration too")  # fmt: skip
    parser.add_argument("--thresholds-from", "--thresholds_from", metavar="FILE", nargs="+",
                        help="predictions of other images, to choose `--details`' thresholds on; "
                        "without it the run's validation set, if it was kept")  # fmt: skip
    return parser


def _more(given: argparse.Namespace) -> More | None:
    """Return what adds the details that a command line asks for."""
    if not given.details:
        _refuse(given, ("thresholds_from",), "`--details`")
        return None
    module = task_module(given.task)
    if module.METRIC != "AUROC":
        raise ConfigError(f"`--details` is of classifications; `{given.task}` is none")
    files = [Path(file) for file in given.thresholds_from or _validated(given)]
    other = foreign.read(files, given.task, module)[0] if files else None

    def more(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
        told = details.of(arrays, seed=given.seed, validation=other)
        return {"details": told | {"thresholds_from": [str(file) for file in files]}}

    return more


def _validated(given: argparse.Namespace) -> list[Path]:
    """Return what the run of the checkpoint, or of the predictions, said of its validation set."""
    if given.checkpoint:
        folder = Path(given.checkpoint).resolve().parent.parent
    elif [Path(file).name for file in given.predictions] == [PREDICTIONS]:
        folder = Path(given.predictions[0]).resolve().parent
    else:
        return []
    return [folder / VALIDATED] if (folder / VALIDATED).is_file() else []


def _refuse(given: argparse.Namespace, names: Sequence[str], needed: str) -> None:
    for name in names:
        if getattr(given, name):
            raise ConfigError(f"`--{name.replace('_', '-')}` goes with {needed} alone")


def _test(given: argparse.Namespace, more: More | None) -> dict[str, Any]:
    """Return the metrics of a checkpoint on a folder of images, and save what it said of them."""
    labels, images, out = Path(given.labels), Path(given.images), _place(given.out)
    trained = testing.read(Path(given.checkpoint), given.task)
    tested = testing.examine(
        trained, images, labels, device=given.device, num_workers=given.num_workers
    )
    arrays = tested.predicted.arrays
    _save(out, arrays)
    return {
        **measure(given.task, arrays, seed=given.seed, more=more),
        "missing": tested.missing,
        "skipped": len(tested.predicted.skipped),
        **trained.facts,
        "selection": metrics.selection(trained.facts["selected_by"]),
        "images": str(images),
        "labels": str(labels),
    }


def _place(given: str | None) -> Path | None:
    """Return where `--out` says to write; refused before the work where that cannot be."""
    out = Path(given) if given else None
    if out and not out.absolute().parent.is_dir():
        raise MissingError(f"`out`: the folder of {out} does not exist")
    return out


def _save(out: Path | None, arrays: Mapping[str, np.ndarray]) -> None:
    """Write predictions so that `out` is whole or not there; None writes nothing."""
    if out is None:
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
    temporary.replace(out)


def _losses(argv: Sequence[str]) -> int:
    name = program.glance(argv, "method", ["model"]) or "mrm"
    module = method_module(name)
    parser = _parser()
    parser.add_argument("--method", "--model", help="whose losses")
    parser.add_argument("--preset", default="paper", help=", ".join(module.PRESETS))
    parser.add_argument("--pretrained", required=True, metavar="FILE", help="encoder and decoders")
    parser.add_argument("--batch", required=True, metavar="FILE", help="a saved dict of tensors")
    add_options(parser, [module.Config])
    given = vars(parser.parse_args(list(argv)))
    fixed = {k: given.pop(k) for k in ("task", "json", "method", "preset", "pretrained", "batch")}
    if fixed["preset"] not in module.PRESETS:
        raise ConfigError(f"no preset is called `{fixed['preset']}`")
    settle_variant(name, given)
    preset = module.PRESETS[fixed["preset"]]
    own = {k: v for k, v in preset.items() if k in module.Config.__dataclass_fields__}
    (config,) = resolve([module.Config], preset=own, given=given)
    values = losses_of_batch(
        module, config, weights_file=Path(fixed["pretrained"]), batch_file=Path(fixed["batch"])
    )
    told = {"task": catalog.PRETRAIN, "method": name, "values": values}
    _print({**told, "metrics": metrics.described(values)}, as_json=fixed["json"])
    return 0


def losses_of_batch(
    module: Any, config: Any, *, weights_file: Path, batch_file: Path
) -> dict[str, float]:
    """Return every loss of a method on one saved batch, in eval mode and float32, by name.

    Args:
        module: the method's file.
        config: its settings; the sizes must be the file's.
        weights_file: encoder and every decoder the method has, in a published layout or a run's.
        batch_file: a dict of tensors as the method's `forward` takes them, with `noise` (B, N)
            where it hides patches.

    Raises:
        MissingError: a file is not there.
        InputError: a file is not what it should be, or lacks a part whose loss is asked for.
    """
    batch = checkpoints.load(batch_file)
    if not all(isinstance(value, Tensor) for value in batch.values()):
        raise InputError(f"{batch_file} holds more than tensors")
    if "mask_ratio" in module.Config.__dataclass_fields__ and "noise" not in batch:
        raise InputError(f"{batch_file} lacks `noise`, by which patches are hidden")
    vocab_size = weights.vocab_size_of(weights_file) if reads_reports(module) else 0
    model = module.Method(config, vocab_size=vocab_size)
    report = weights.start_from(model, weights_file)
    absent = [part for part in report.missing if not part.startswith("norm")]
    if absent:
        raise InputError(f"{weights_file} lacks {', '.join(absent)}, or in other sizes")
    model.eval()
    with torch.inference_mode():
        try:
            parts = model(batch)
        except KeyError as error:
            raise InputError(f"{batch_file} lacks {error}") from None
    values = {name.removeprefix("monitor/"): float(value) for name, value in parts.items()}
    values["loss"] = sum(float(v) for k, v in parts.items() if not k.startswith("monitor/"))
    return values


def recompute(
    task: str,
    files: Sequence[Path],
    *,
    seed: int,
    out: Path | None = None,
    more: More | None = None,
) -> dict[str, Any]:
    """Return every metric of `task` of predictions, ours or made elsewhere, with 95 % intervals.

    Args:
        task: what the predictions are of.
        files: as `foreign.read` takes them.
        seed: of the bootstrap.
        out: where to write them in our own form; None: nowhere.
        more: what else to say of them.

    Raises:
        MissingError: no such task or file.
        InputError: the files do not hold predictions of this task.
    """
    module = task_module(task)
    arrays, notes = foreign.read(files, task, module)
    try:
        result = measure(task, arrays, seed=seed, more=more)
    except KeyError as error:
        raise InputError(f"{files[0]} lacks {error}, which `{task}` needs") from None
    _save(out, arrays)
    return {**result, "notes": notes}


def measure(
    task: str, arrays: Mapping[str, np.ndarray], *, seed: int, more: More | None = None
) -> dict[str, Any]:
    """Return every metric of `task` of predictions as `trainers.predictions` has them.

    And what `more` says of them.

    Raises:
        KeyError: an array is not there.
    """
    module = task_module(task)
    values = {f"test/{k}": v for k, v in module.score(arrays).items()}
    return {
        "task": task,
        "metric": catalog.TASKS[task].metric,
        "values": values,
        "bounds": {f"test/{k}": list(v) for k, v in module.bounds(arrays, seed=seed).items()},
        "selection": metrics.selection(None),
        "metrics": metrics.described(values),
        "n": len(arrays["names"]),
        **(more(arrays) if more else {}),
    }


def _print(result: dict[str, Any], *, as_json: bool) -> None:
    """Print a result once, by the first of all processes; whoever reads it may have seen enough."""
    if os.environ.get("RANK", "0") != "0":
        return
    try:
        _tell(result, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:  # or the interpreter complains once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(result: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(finite(result), indent=2, ensure_ascii=False))
        return
    for name, value in result["values"].items():
        low, high = result.get("bounds", {}).get(name, (None, None))
        interval = "" if low is None else f"  95 % {low:.4f} to {high:.4f}"
        print(f"{name:24} {value:.6g}{interval}")
    for name in ("n", "missing", "skipped"):
        if name in result:
            print(f"{name:24} {result[name]}")
    for note in result.get("notes", []):
        print(f"note: {note}")
    if "details" in result:
        print("\n" + "\n".join(details.table(result["details"])))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
