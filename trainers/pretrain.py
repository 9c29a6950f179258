"""Program: pre-trains an encoder by one method.

    python -m trainers.pretrain --method mrm --data_path DIR --output_dir RUN

The notebook's own options work unchanged; `--resume` takes published weights or a run's `last.pt`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from trainers import (
    catalog,
    checkpoints,
    distributed,
    loop,
    program,
    provenance,
    reconstructions,
    retrieval,
    weights,
)
from trainers.config import ConfigError, InputError, MissingError, option
from trainers.data import prepared, split_lists, tokens
from trainers.data import records as record_lists
from trainers.data.batch import Seeded, collate
from trainers.data.sections import TextField
from trainers.distributed import World
from trainers.events import EventLog
from trainers.training import Training

logger = logging.getLogger(__name__)

TOKENIZER_FILE = "tokenizer.json"
HELD_OUT_SEED = 20230308
"""The held-out records are cropped and masked by this seed in every run, so that losses compare."""

PICTURED = 4
"""Held-out images whose reconstruction is drawn."""

HELD_OUT_BATCH = 64
"""Records judged together; a contrast among more is harder, so a run's own batch must not count."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is pre-trained, and on what."""

    method: str = option("mrm", "a method of the catalog", aliases=("model",))
    preset: Literal["paper", "quick"] = option("paper", "sizes and schedule to start from")
    data_path: str = option(
        "", "folder with training.csv, of MIMIC-CXR-JPG, or a prepared copy", recipe=False
    )
    data_version: str = option("", "what the data are called, such as V3; goes into the result")
    text_field: TextField = option("raw", "the part of each report that is learnt from")
    split_lists: str = option("", "folder of REFERS's train.txt and test.txt", recipe=False)
    split_lists_sha256: str = option("", "digest of the lists in `split_lists`; filled in")
    pretrained: str = option(
        "", "weights to start from: MAE, MRM, REFERS, timm, torchvision, a run's", recipe=False
    )
    pretrained_sha256: str = option("", "digest of `pretrained`; filled in")
    tokenizer: str = option(
        "", "a tokenizers JSON, or REFERS's `.model`; without it one is trained", recipe=False
    )
    tokenizer_sha256: str = option(
        "", "digest of a tokenizer that was given; filled in", recipe="where given"
    )
    vocab_size: int = option(30000, "word pieces of a tokenizer trained on the reports")
    keep_every: int = option(
        0, "epochs between encoders kept on the way, as epoch_N.pt; 0: none", recipe=False
    )

    def __post_init__(self) -> None:
        if self.vocab_size < 100:
            raise ConfigError(f"`vocab_size` is {self.vocab_size}; expected at least 100")
        if self.keep_every < 0:
            raise ConfigError(f"`keep_every` is {self.keep_every}; expected 0 or more")


def method_module(name: str) -> ModuleType:
    """Return the module of a method.

    Raises:
        MissingError: the catalog has no such method.
        ConfigError: it is an encoder that is only taken as it is.
    """
    if name in catalog.METHODS and name not in pretrainable():
        raise ConfigError(f"`{name}` is not pre-trained; choose from {', '.join(pretrainable())}")
    if name not in catalog.METHODS:
        raise MissingError(f"no method is called `{name}`; there are {', '.join(pretrainable())}")
    return importlib.import_module(f"trainers.methods.{catalog.base_of(name)}")


def pretrainable() -> list[str]:
    """Return the methods that have a file, their own or that of the method they vary.

    `mae` is one, although the grid's row of that name is the published encoder as it is.
    """
    files = {n: f"trainers.methods.{catalog.base_of(n)}" for n in catalog.METHODS}
    return [name for name, file in files.items() if importlib.util.find_spec(file)]


def settle_variant(name: str, given: dict[str, Any]) -> None:
    """Add to `given` what makes the method `name` a variant of another one.

    Raises:
        ConfigError: something else is given for one of these settings.
    """
    for key, value in catalog.METHODS[name].settings.items():
        if given.setdefault(key, value) != value:
            raise ConfigError(
                f"`{key}` is `{given[key]}`, but `{name}` means `{catalog.base_of(name)}` with "
                f"`{key}` {value}"
            )


def preset_of(module: ModuleType, preset: str, chosen: Callable[[str], str | None]) -> Any:
    """Return the settings of a preset, and what it has otherwise where an option was chosen so.

    Args:
        module: the method's file, which may have `BY_OPTION`.
        preset: its name.
        chosen: gives the value of an option on the command line; None where it is not there.
    """
    settings = dict(module.PRESETS[preset])
    for (name, option_name, value), changes in getattr(module, "BY_OPTION", {}).items():
        if name == preset and chosen(option_name) == value:
            settings |= changes
    return settings


def reads_reports(module: ModuleType) -> bool:
    """Return whether a method learns from reports too, and so needs a tokenizer."""
    return "report_length" in module.Config.__dataclass_fields__


def configure(argv: Sequence[str]) -> program.Parsed:
    """Resolve a command line of this program; see `program.parse`."""
    name = program.glance(argv, "method", ["model"]) or "mrm"
    module = method_module(name)
    preset = program.glance(argv, "preset") or "paper"
    if preset not in module.PRESETS:
        raise ConfigError(f"`preset` is `{preset}`; expected one of {', '.join(module.PRESETS)}")

    def chosen(option_name: str) -> str | None:
        fixed = catalog.METHODS[name].settings.get(option_name)
        return fixed or program.glance(argv, option_name, [option_name.replace("_", "-")])

    def adjust(given: dict[str, Any]) -> None:
        given.pop("task", None)
        given.pop("ratio", None)
        resume = str(given.get("resume", ""))
        if resume and not Path(resume).is_file():
            raise MissingError(f"`resume`: {resume} does not exist")
        if resume and not checkpoints.is_training_state(Path(resume)):
            given["pretrained"], given["resume"] = resume, ""  # published weights, to start from
        start = str(given.get("pretrained", ""))
        if start:
            given["pretrained_sha256"] = _digest("pretrained", start)
        lists = str(given.get("split_lists", ""))
        if lists:
            given["split_lists_sha256"] = split_lists.digest(Path(lists))
        text_model = str(given.get("text_model", ""))
        if text_model:
            from trainers.modules import text_tower  # seconds of transformers, for this alone

            given["text_model_sha256"] = text_tower.digest(Path(text_model))
        teacher = str(given.get("teacher", ""))
        if teacher:
            given["teacher_sha256"] = _digest("teacher", teacher)
        tokenizer = str(given.get("tokenizer", "")) or _given_to_copy(given)
        given["tokenizer_sha256"] = _digest("tokenizer", tokenizer) if tokenizer else ""
        table = str(given.get("condition_table", ""))
        if table:
            given["condition_table_sha256"] = _digest("condition_table", table)
        settle_variant(name, given)

    parsed = program.parse(
        argv,
        program="pretrain",
        classes=(Config, Training, module.Config),
        preset=preset_of(module, preset, chosen),
        adjust=adjust,
    )
    parsed.flat.update(task=catalog.PRETRAIN, ratio=None)
    _check_micro_batch(name, parsed)
    return parsed


def _check_micro_batch(name: str, parsed: program.Parsed) -> None:
    """Refuse to cut micro-batches whose records are compared with each other."""
    compares = catalog.METHODS[name].compares or parsed.flat.get("contrast", "none") != "none"
    if parsed.flat["micro_batch"] and compares:
        raise ConfigError(
            f"`micro_batch` cannot be less than `batch_size` for `{name}`: its loss compares the "
            "records of a micro-batch, and would be another with fewer of them"
        )


def main(argv: Sequence[str]) -> int:
    """Pre-train as `argv` says and return the exit code."""
    events: EventLog | None = None

    def work() -> int:
        nonlocal events
        parsed = configure(argv)
        if parsed.print_only:
            print(json.dumps(parsed.flat, indent=2, ensure_ascii=False))
            return 0
        config, training, method_config = parsed.configs
        if not config.data_path:
            raise ConfigError("`data_path` is not given; it names the folder of the records")
        world, device = program.set_up(training)
        folder = Path(training.output_dir)
        if world.first:
            program.open_folder(folder, parsed.flat, resuming=bool(training.resume))
        events = EventLog(folder, enabled=world.first)
        return _pretrain(config, training, method_config, parsed.flat, world, device, events)

    return program.guard(work, lambda: events)


def _pretrain(
    config: Config,
    training: Training,
    method_config: Any,
    flat: dict[str, Any],
    world: World,
    device: torch.device,
    events: EventLog,
) -> int:
    module = method_module(config.method)
    folder = Path(training.output_dir)
    records = _records(config)
    logger.info("%d records to train on, %d held out", len(records.train), len(records.val))
    tokenizer, vocab_size = None, 0
    if reads_reports(module):
        kept = _tokenizer(config, records.train, folder, world)
        tokenizer = read_tokenizer(module, method_config, kept)
        vocab_size = tokenizer.get_vocab_size()
    model = module.Method(method_config, vocab_size=vocab_size)
    start = _start_from(model, config)
    if world.first:
        provenance.write(folder, seed=training.seed, data=records.facts, weights=start)
    model.to(device)
    held_out = module.items(method_config, records.val, tokenizer, train=False)
    rate_of = getattr(module, "rate_of", None)
    keep = loop.Keep(config.keep_every, partial(_encoder_of, flat)) if config.keep_every else None
    job = loop.Job(
        model=model,
        train=module.items(method_config, records.train, tokenizer, train=True),
        validate=lambda bare: held_out_losses(bare, held_out, training, world, device),
        select=None,
        depth=model.size.depth,
        config=flat,
        rate_of=partial(rate_of, method_config) if rate_of else None,
        keep=keep,
    )
    finished = loop.Trainer(job, training, world, events).run()
    if world.first:
        _conclude(folder, model, flat, finished, records.facts, start, events)
        program.show(lambda: pictures(model, held_out, folder, device), events)
        events.end("succeeded")
    return 0


def _records(config: Config) -> record_lists.Records:
    records = record_lists.read_records(
        Path(config.data_path),
        text_field=config.text_field,
        lists=Path(config.split_lists) if config.split_lists else None,
    )
    if config.data_version:
        records.facts["version"] = config.data_version
    return records


def _digest(name: str, path: str) -> str:
    """Return the SHA-256 of a file that a setting names."""
    if not Path(path).is_file():
        raise MissingError(f"`{name}`: {path} does not exist")
    return checkpoints.sha256(Path(path))


def _given_to_copy(given: Mapping[str, Any]) -> str:
    """Return the tokenizer that a person gave to the prepared copy which is learnt from."""
    folder = str(given.get("data_path", ""))
    if not folder or given.get("split_lists"):
        return ""
    about = (prepared.read(Path(folder)) or {}).get("tokenizer") or {}
    path = Path(folder, prepared.TOKENIZER)
    return str(path) if about.get("given") and path.is_file() else ""


def read_tokenizer(module: ModuleType, method_config: Any, path: Path) -> Any:
    """Return the tokenizer at `path` as a method's file reads it, else as MRM's is read."""
    read = getattr(module, "load_tokenizer", tokens.load_tokenizer)
    return read(path, method_config.report_length)


def _tokenizer(config: Config, train: Sequence[Any], folder: Path, world: World) -> Path:
    """Keep a copy of the tokenizer given or prepared, or train one; a run does so once."""
    suffix = Path(config.tokenizer or TOKENIZER_FILE).suffix
    kept = (folder / TOKENIZER_FILE).with_suffix(".model" if suffix == ".model" else ".json")
    if world.first and not kept.exists():
        if config.tokenizer:
            shutil.copyfile(config.tokenizer, kept)
        elif ready := _prepared_tokenizer(config):
            shutil.copyfile(ready, kept)
            logger.info("takes the tokenizer of the prepared copy, %s", ready)
        else:
            tokenizer = tokens.train_tokenizer([r.report for r in train], config.vocab_size)
            tokenizer.save(str(kept))
            logger.info("trained a tokenizer of %d word pieces", tokenizer.get_vocab_size())
    distributed.wait()
    return kept


def _prepared_tokenizer(config: Config) -> Path | None:
    """Return the tokenizer beside a prepared copy, unless the reports learnt from are others."""
    if config.split_lists:
        return None
    return prepared.tokenizer(
        Path(config.data_path), vocab_size=config.vocab_size, text_field=config.text_field
    )


def _start_from(model: nn.Module, config: Config) -> dict[str, Any]:
    if not config.pretrained:
        return {}
    report = weights.start_from(model, Path(config.pretrained))
    logger.info("starts from %s: %s", config.pretrained, report)
    reads = hasattr(model, "report_decoder") and "report_decoder" not in report.missing
    if reads and not config.tokenizer_sha256:
        logger.warning(
            "the report decoder of %s numbers words as its own tokenizer does, and another is used "
            "here: `--tokenizer` gives it",
            config.pretrained,
        )
    return program.weights_facts(config.pretrained)


@torch.inference_mode()
def held_out_losses(
    model: nn.Module, held_out: Any, training: Training, world: World, device: torch.device
) -> dict[str, float]:
    """Return every loss of `model` over the held-out records, each record counted once.

    Returns:
        `val/loss`, the sum that training minimises, and `val/NAME` for each part (mean over
        records, in the part's own unit). Of a method that compares images with texts also what
        `retrieval.recalls` says of all records together, not batch by batch.
    """
    each = [(0, i) for i in range(len(held_out))]
    cut = [each[i : i + HELD_OUT_BATCH] for i in range(0, len(each), HELD_OUT_BATCH)]
    loader = DataLoader(
        Seeded(held_out, HELD_OUT_SEED),
        batch_sampler=cut[world.rank :: world.size],
        collate_fn=collate,
        num_workers=min(training.num_workers, 4),
        generator=torch.Generator(),
    )
    sums: dict[str, float] = {}
    embedded: list[Sequence[np.ndarray]] = []
    count = 0
    for batch in loader:
        batch.pop("skipped")
        if not batch:
            continue
        batch = loop.to_device(batch, device)
        size = len(batch["image"])
        parts = {k: v for k, v in model(batch).items() if not k.startswith("monitor/recall_at")}
        parts["loss"] = sum(v for k, v in parts.items() if not k.startswith("monitor/"))
        for name, value in parts.items():
            key = "val/" + name.removeprefix("monitor/")
            sums[key] = sums.get(key, 0.0) + float(value) * size
        count += size
        compared = model.embed(batch) if hasattr(model, "embed") else None
        if compared is not None:
            image, text = (part.float().cpu().numpy() for part in compared[:2])
            embedded.append((image, text, compared.words.cpu().numpy()))
    # dicts and not one tensor, since a process may have got no record at all
    shares = distributed.gather([(sums, count)])
    embedded = distributed.gather(embedded)
    total = sum(n for _, n in shares)
    if not total:
        raise InputError("no held-out record can be read")
    names = sorted({name for part, _ in shares for name in part})
    values = {n: sum(part.get(n, 0.0) for part, _ in shares) / total for n in names}
    if embedded:
        found = retrieval.recalls(*(np.concatenate(part) for part in zip(*embedded, strict=True)))
        values |= {f"val/{name}": value for name, value in found.items()}
    return values


@torch.inference_mode()
def pictures(
    model: nn.Module, held_out: Any, folder: Path, device: torch.device
) -> Iterator[tuple[str, str]]:
    """Draw what `model` makes of some held-out images, the same in every run of these records.

    Yields:
        The picture's path within `folder` and its caption; nothing of a method that rebuilds none.
    """
    if not hasattr(model, "rebuild"):
        return
    items, step = Seeded(held_out, HELD_OUT_SEED), max(1, len(held_out) // PICTURED)
    batch = collate([items[0, i] for i in range(0, len(held_out), step)[:PICTURED]])
    batch.pop("skipped")
    if not batch:
        return
    model.eval()
    rebuilt = model.rebuild(loop.to_device(batch, device))
    if rebuilt is not None:
        yield reconstructions.save(rebuilt, batch["name"], folder)


def _encoder_of(flat: dict[str, Any], model: nn.Module, step: int) -> dict[str, Any]:
    return weights.encoder_content(model.encoder, model.size, config=flat, step=step)


def _conclude(
    folder: Path,
    model: nn.Module,
    flat: dict[str, Any],
    finished: loop.Finished,
    facts: dict[str, Any],
    start: dict[str, Any],
    events: EventLog,
) -> None:
    path = folder / checkpoints.ENCODER
    content = _encoder_of(flat, model, finished.step)
    program.keep(folder, events, lambda: checkpoints.save(path, content))
    digest = checkpoints.sha256(path)
    events.checkpoint("encoder", checkpoints.ENCODER, step=finished.step, sha256=digest)
    result = {
        "method": flat["method"],
        "task": catalog.PRETRAIN,
        "metric": "loss",
        "values": finished.values,
        "bounds": {},
        "selected_by": "last epoch",
        "step": finished.step,
        "train_seconds": round(finished.seconds, 1),
        "checkpoint": checkpoints.ENCODER,
        "checkpoint_sha256": digest,
        "encoder": start,
        "skipped": finished.skipped,
        "data": facts,
    }
    program.write_result(folder, result, events)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
