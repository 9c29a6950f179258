"""`cxrlab show`: tell everything about one run, or about one cell of the grid."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion, text
from cxrlab.access import AsJson, IncludeRestricted, opened
from cxrlab.console import labelled

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from store.db import Database
    from store.runs import Run


MAIN_PACKAGES = ("torch", "torchvision", "timm", "transformers", "tokenizers", "monai", "mmengine",
                 "mmcv", "mmsegmentation", "numpy", "pillow", "pydicom")  # fmt: skip
"""Of which the version is told; JSON has all that were recorded."""


def show(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="RUN|CELL",
            help="A run's id, or as much of it as no other begins with; or a cell of the grid: "
            "mrm/siim/10, mrm/report/BLEU-1.",
            autocompletion=completion.runs_and_cells,
            show_default=False,
        ),
    ],
    include_restricted: IncludeRestricted = None,
    as_json: AsJson = False,
) -> None:
    """Tell everything about one run, or what stands behind one cell of the grid.

    Of a run: state, settings, attempts, results, checkpoints, origin. Of a cell: its runs with all
    that they were made of, the paper's number, what notebooks say, and what else competes.
    """
    from cxrlab import behind, console, restricted
    from store import runs

    if behind.is_cell(name):
        show_cell(ctx, name, as_json=as_json)
        return
    with opened(ctx) as (lab, db):
        known = described(restricted.including(lab, include_restricted), db, runs.find(db, name))
    if as_json:
        console.facts(known)
        return
    for line in page(known, columns=console.width(), now=time.time()):
        console.fact(line)


def show_cell(ctx: typer.Context, name: str, *, as_json: bool) -> None:
    """Tell what stands behind the cell that `name` names."""
    from cxrlab import behind, console
    from cxrlab.exports import behind as told

    method, column = behind.named(name)
    with opened(ctx) as (lab, db):
        found = behind.look(db, lab.settings.grid, method, column)
    if as_json:
        console.facts(told.as_facts(found))
        return
    for line in told.page(found, columns=console.width()):
        console.fact(line)


def described(lab: Lab, db: Database, run: Run) -> dict[str, Any]:
    """Return all that is known of a run, as `--json` gives it."""
    from cxrlab import advice, cloning, descent, lagging, restricted, use_words
    from cxrlab.code import frozen, worktree
    from cxrlab.exports import facts
    from store import artifacts, jobs, notes, results, tags, use
    from trainers import metrics

    saved = restricted.shown(lab, run.task, artifacts.of_run(db, run.id))
    document = results.document(db, run.id) or {}
    chosen = metrics.selection(document.get("selected_by"))
    behind = lagging.look(db, run)
    config = cloning.configuration(run)
    return facts.of_run(run) | {
        "behind": behind.as_facts() if behind else None,
        "next": advice.next_step(run, config) or use_words.idle(lab, db, run, config),
        "use": use_words.facts(use.of_run(db, run.id, now=time.time())),
        "notes": [entry.text for entry in notes.select(db, about=run.id)],
        "tags": tags.of(db, [run.id]).get(run.id, ()),
        "command": run.command,
        "code": frozen.facts(Path(run.folder)),
        "copied": worktree.facts(Path(run.folder)),
        "made_of": cloning.read_json(Path(run.folder) / "provenance.json"),
        "log": str(Path(run.folder) / "log.txt"),
        "jobs": [each._asdict() for each in jobs.of_run(db, run.id)],
        "encoder": descent.origin(db, run, document),
        "descent": descent.line(db, run, document),
        "data": data_of(db, run, document),
        "results": [facts.of_result(n, selection=chosen) for n in results.of_run(db, run.id)],
        "selected_by": document.get("selected_by"),
        "checkpoint": document.get("checkpoint"),
        "checkpoint_sha256": document.get("checkpoint_sha256"),
        "skipped": document.get("skipped"),
        "result": document,
        "attempts": [attempt._asdict() for attempt in results.attempts(db, run.id)],
        "checkpoints": [
            {
                "kind": a.kind,
                "path": str(a.path),
                "step": a.step,
                "sha256": a.sha256,
                "removed": None if a.path.exists() else a.removed,
            }
            for a in saved
            if a.kind != "sample"
        ],
        "samples": [
            {"path": str(a.path), "caption": a.caption} for a in saved if a.kind == "sample"
        ],
        "restricted": restricted.hidden(lab, run.task),
        "warned": [warned._asdict() for warned in results.warnings(db, run.id)],
        "bad_lines": run.bad_lines,
    }


def data_of(db: Database, run: Run, document: dict[str, Any]) -> dict[str, Any] | None:
    """Return what a finished run says of its data, and which runs mean other data by its version.

    They are named under `other_data`, by id.
    """
    from store import results

    said: dict[str, Any] | None = document.get("data")
    if not said:
        return None
    version, fingerprint = said.get("version"), said.get("fingerprint")
    alike = results.of_data_version(db, run.task, version) if version and fingerprint else []
    return said | {"other_data": [id for id, other in alike if other != fingerprint]}


def job_told(job: dict[str, Any], now: float) -> str:
    """Return which job of the cluster it is, and since when."""
    from cxrlab import text

    number = job["job"] or "not numbered yet"
    over = f", over {text.ago(job['ended'], now)}" if job["ended"] else ""
    return f"{number} of Slurm, handed in {text.ago(job['submitted'], now)}{over}"


def page(known: dict[str, Any], *, columns: int, now: float) -> list[str]:
    """Return the lines that tell of a run, what matters most first."""
    from cxrlab import console, restricted, text
    from cxrlab.harmless import harmless

    state = text.state(known["state"], known["reason"])
    lines = [
        console.paint(f"{known['id']}  {title(known)}", "bold"),
        *labelled("state", state, columns=columns),
    ]
    if known["done"] is not None and known["total"]:
        share = 100 * known["done"] / known["total"]
        left = known["eta_s"] is not None and known["state"] == "running"
        eta = f", {text.duration(known['eta_s'])} left" if left else ""
        lines += labelled(
            "done",
            f"{known['done']} of {known['total']} steps, {share:.0f} %{eta}",
            columns=columns,
        )
    if known["next"]:
        lines += labelled("next", known["next"], columns=columns)
    for note in known["notes"]:
        lines += labelled("note", harmless(note), columns=columns)
    if known["behind"]:
        lines += labelled("behind", known["behind"]["told"], columns=columns)
    if known["foreign"]:
        how = (
            "its curves are those of"
            if known["result"].get("curves")
            else "measured from predictions of"
        )
        said = f"not trained here, {how}: {known['result'].get('source')}"
        lines += labelled("foreign", said, columns=columns)
    preset = "" if known["foreign"] else f", preset {known['preset']}"
    if known["name"]:
        lines += labelled("settings", known["name"], columns=columns)
    lines += labelled("recipe", f"{known['recipe'][:12]}{preset}", columns=columns)
    lines += labelled("made", text.ago(known["created"], now), columns=columns)
    lines += results_told(known, columns=columns)
    lines += data_told(known["data"], columns=columns)
    for name, encoder in zip(("encoder", *["from"] * 9), known["descent"], strict=False):
        lines += origin_told(name, encoder, columns=columns)
    for saved in known["checkpoints"]:
        lines += checkpoint_told(saved, columns=columns)
    lines += code_told(known, columns=columns)
    lines += machine_told(known["made_of"], columns=columns)
    lines += use_told(known["use"], columns=columns)
    for each in known["jobs"]:
        lines += labelled("job", job_told(each, now), columns=columns)
    for attempt in known["attempts"]:
        lines += labelled(f"attempt {attempt['attempt']}", attempt_told(attempt), columns=columns)
    if known["restricted"]:
        lines += labelled("samples", restricted.told(known["restricted"]), columns=columns)
    elif known["samples"]:
        said = text.plural(len(known["samples"]), "file")
        folder = Path(known["samples"][0]["path"]).parent
        lines += labelled("samples", f"{said} in {folder}", columns=columns)
    if known["warned"]:
        count = sum(warned["times"] for warned in known["warned"])
        newest = known["warned"][0]
        said = " ".join(filter(None, (newest["message"], newest["path"])))
        lines += labelled("warnings", f"{count}, the newest: {said}", columns=columns)
    if known["bad_lines"]:
        lines += labelled(
            "events",
            f"{text.plural(known['bad_lines'], 'line')} could not be read",
            columns=columns,
        )
    lines += labelled("folder", known["folder"], columns=columns)
    lines += labelled("command", shlex.join(known["command"]), columns=columns)
    return lines


def title(known: dict[str, Any]) -> str:
    """Return what a run is, in words."""
    parts = (known["method"], known["task"], text.percent(known["ratio"]))
    return " ".join([*filter(None, parts), f"seed {known['seed']}"])


def results_told(known: dict[str, Any], *, columns: int) -> list[str]:
    """Return a line for each number of the result, with its interval and floor, if it has one."""
    from cxrlab import text

    floors = {result["metric"]: result["value"] for result in known["results"]}
    lines = []
    for number, result in enumerate(known["results"]):
        unit = "nats" if "loss" in result["metric"] else "share"
        said = f"{result['metric']} {text.metric(result['value'], unit)}"
        if result["low"] is not None and result["high"] is not None:
            low, high = (text.metric(result[end], unit) for end in ("low", "high"))
            said += f"  [{low}, {high}] 95 %"
        floor = floors.get(f"{result['metric']}_nothing")
        if floor is not None:
            said += f", predicting nothing {text.metric(floor, unit)}"
        lines += labelled("results" if not number else "", said, columns=columns)
    if known["results"] and known["selected_by"]:
        lines += labelled("", f"checkpoint chosen by {known['selected_by']}", columns=columns)
    if known["skipped"]:
        lines += labelled("skipped", f"{text.plural(known['skipped'], 'item')}", columns=columns)
    return lines


def data_told(data: dict[str, Any] | None, *, columns: int) -> list[str]:
    """Return the lines on what a run was trained on: version, fingerprint, counts, copy."""
    if data is None:
        return []
    parts = [f"version {data['version']}"] if data.get("version") else []
    if data.get("fingerprint"):
        parts.append(f"fingerprint {data['fingerprint'][:12]}")
    records = data.get("records")
    if isinstance(records, dict):
        parts.append(", ".join(f"{count:,} {part}" for part, count in records.items()))
    lines = labelled("data", "; ".join(parts), columns=columns) if parts else []
    if digests := data.get("split_sha256"):
        named = ", ".join(f"{part} {digest[:12]}" for part, digest in digests.items())
        lines += labelled("" if lines else "data", f"split {named}", columns=columns)
    if data.get("prepared"):
        copy = data["prepared"]
        lines += labelled("", f"a prepared copy of {copy['source']['root']}, {copy['px']} px",
                          columns=columns)  # fmt: skip
    if data["other_data"]:
        said = f"version {data['version']} was other data in {', '.join(data['other_data'])}"
        lines += labelled("", said, columns=columns)
    return lines


def checkpoint_told(saved: dict[str, Any], *, columns: int) -> list[str]:
    """Return the lines on one checkpoint: where it lies, or that it was removed."""
    step = f", step {saved['step']}" if saved["step"] is not None else ""
    lines = labelled(saved["kind"], f"{saved['path']}{step}", columns=columns)
    if saved["removed"]:
        day = time.strftime("%Y-%m-%d", time.localtime(saved["removed"]))
        lines += labelled("", f"removed to keep within the budget on {day}", columns=columns)
    if saved["sha256"]:
        lines += labelled("", f"sha256 {saved['sha256']}", columns=columns)
    return lines


def code_told(known: dict[str, Any], *, columns: int) -> list[str]:
    """Return the lines on which code a run executes, or did."""
    code, made = known["code"], known["made_of"]
    if "--" in known["command"]:
        return own_code_told(known, columns=columns)
    stands = code or made
    at = f"commit {stands['commit'][:12]}" if stands.get("commit") else ""
    changed = f"uncommitted changes in {known['folder']}/diff.patch"
    parts = [at, changed if stands.get("uncommitted_changes") else ""]
    if not code:
        return labelled("code", "; ".join(filter(None, parts)), columns=columns) if at else []
    gone = "" if code["there"] else ", which is gone"
    copied = "copied when it was queued"
    if code["before"]:
        copied = f"today's since attempt {code['attempt']}, before that "
        copied += ", ".join(str(each["digest"])[:12] for each in code["before"])
    lines = labelled("code", f"{code['digest'][:12]}, {copied}{gone}", columns=columns)
    told = "; ".join(filter(None, parts))
    return lines + (labelled("", told, columns=columns) if told else [])


def own_code_told(known: dict[str, Any], *, columns: int) -> list[str]:
    """Return the lines on the code of a program of one's own."""
    copied, made = known["copied"], known["made_of"]
    if copied:
        lines = labelled("code", f"{known['folder']}/code, a copy of {copied['from']} from when "
                         "it was queued", columns=columns)  # fmt: skip
    elif made.get("workdir"):
        lines = labelled("code", f"{made['workdir']}, as it was when it started", columns=columns)
    else:
        return []
    stands = copied or made
    if stands.get("commit"):
        changed = ", and uncommitted changes in diff.patch" if stands["uncommitted_changes"] else ""
        lines += labelled("", f"commit {stands['commit'][:12]}{changed}", columns=columns)
    return lines


def machine_told(made: dict[str, Any], *, columns: int) -> list[str]:
    """Return the lines on where a run was executed, and by which versions."""
    from cxrlab import text

    lines = []
    packages = made.get("packages") or {}
    versions = {"python": made.get("python")}
    versions |= {name: packages[name] for name in MAIN_PACKAGES if name in packages}
    named = ", ".join(f"{name} {number}" for name, number in versions.items() if number)
    if named:
        lines += labelled("versions", named, columns=columns)
    if made.get("host"):
        on = ", ".join(made.get("gpus") or ()) or "the CPU"
        cuda = f", CUDA {made['cuda']}" if made.get("cuda") and made.get("gpus") else ""
        driver = f", driver {made['driver']}" if made.get("driver") and made.get("gpus") else ""
        number = made.get("cpu_threads")
        threads = f", {text.plural(number, 'thread')}" if number else ""
        lines += labelled("machine", f"{made['host']}: {on}{cuda}{driver}{threads}",
                          columns=columns)  # fmt: skip
    return lines


def use_told(used: dict[str, Any] | None, *, columns: int) -> list[str]:
    """Return the line on what a run used of its machine; none where nobody has seen it."""
    from cxrlab import use_words
    from store.use import Use

    if used is None:
        return []
    figures = [f"{name} {figure}" for name, figure in use_words.figures(Use(**used))]
    return labelled("use", ", ".join(figures), columns=columns) if figures else []


def origin_told(name: str, encoder: dict[str, Any], *, columns: int) -> list[str]:
    """Return the lines, the first of them called `name`, on where an encoder came from."""
    lines = []
    if encoder["run"]:
        method = f" ({encoder['method']} pretrain, {encoder['state']})" if encoder["method"] else ""
        lines += labelled(name, f"of run {encoder['run']}{method}", columns=columns)
    if encoder["path"]:
        lines += labelled("" if lines else name, encoder["path"], columns=columns)
    if encoder["sha256"]:
        lines += labelled("", f"sha256 {encoder['sha256']}", columns=columns)
    return lines


def attempt_told(attempt: dict[str, Any]) -> str:
    """Return one process of a run in words."""
    from cxrlab import text

    parts = []
    if attempt["started"]:
        clock = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(attempt["started"]))
        parts.append(f"began {clock}")
    if attempt["started"] and attempt["ended"]:
        parts.append(f"took {text.duration(attempt['ended'] - attempt['started'])}")
    if attempt["first_step"]:
        parts.append(f"from step {attempt['first_step']}")
    if attempt["pid"]:
        parts.append(f"pid {attempt['pid']} on {attempt['host']}")
    if attempt["outcome"]:
        parts.append(attempt["outcome"])
    if attempt["reason"]:
        parts.append(attempt["reason"])
    return ", ".join(parts)
