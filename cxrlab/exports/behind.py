"""How does what stands behind a cell look, on a terminal and as JSON?"""

from __future__ import annotations

from typing import Any

from cxrlab import console, text
from cxrlab.behind import Behind, Candidate, Member
from cxrlab.exports import facts
from cxrlab.grid.remarks import where
from store.notebook import Number

_DIGEST = 12
"""How much of a digest is told where it only tells things apart."""
_MOST = 12
"""How many settings are listed in which two recipes differ."""


def as_facts(behind: Behind) -> dict[str, Any]:
    """Return all of it as `--json` gives it."""
    return {
        "cell": facts.of_cell(behind.cell),
        "candidates": [of_candidate(each) for each in behind.candidates],
        "uncounted": [facts.of_run(run) for run in behind.uncounted],
    }


def of_candidate(candidate: Candidate) -> dict[str, Any]:
    """Return runs that are repeats of one another."""
    group = candidate.group
    return {
        "shown": candidate.shown,
        "recipe": group.recipe,
        "preset": group.preset,
        "value": group.mean,
        "sd": group.sd,
        "n": group.n,
        "validated_at": group.selected_value,
        "stale": candidate.stale,
        "differs": list(candidate.differs),
        "settings": [change._asdict() for change in candidate.settings],
        "train_split": group.train_split,
        "test_split": group.test_split,
        "data_version": group.version,
        "data_fingerprint": group.fingerprint,
        "encoder": group.encoder,
        "processes": group.processes,
        "runs": [of_member(member) for member in candidate.members],
    }


def of_member(member: Member) -> dict[str, Any]:
    """Return one run with its number, files, data and origin."""
    return facts.of_run(member.run) | {
        "value": member.result.value if member.result else None,
        "low": member.result.low if member.result else None,
        "high": member.result.high if member.result else None,
        "checkpoint": member.checkpoint,
        "checkpoint_sha256": member.sha256,
        "encoder": member.encoder,
        "data": member.data,
        "predictions": member.predictions,
        "commit": member.commit,
        "uncommitted_changes": member.uncommitted,
    }


def page(behind: Behind, *, columns: int) -> list[str]:
    """Return the lines that tell of a cell, what it shows first."""
    cell = behind.cell
    lines = [console.paint(f"{where(cell)}, {cell.metric}", "bold")]

    def tell(label: str, said: str) -> None:
        lines.extend(console.labelled(label, said, columns=columns))

    tell("says", cell.text())
    tell("state", cell.under_way() or cell.state)
    if cell.stale:
        tell("stale", cell.stale)
    if cell.other:
        tell("", f"not comparable with its column: other {cell.other}")
    if cell.paper is not None:
        tell("paper", f"{text.metric(cell.paper, cell.unit)}: {cell.paper_source}")
    for number in cell.notebook:
        tell("notebook", notebook_told(number))
    for at, candidate in enumerate(behind.candidates):
        lines += ["", *candidate_told(candidate, first=at == 0, columns=columns)]
    if behind.uncounted:
        lines.append("")
    for at, run in enumerate(behind.uncounted):
        said = f"{run.id}  seed {run.seed}, {text.state(run.state, run.reason)}"
        if run.state == "succeeded":
            said += ", superseded by a newer run of its seed, or without this number"
        tell("" if at else "not counted", said)
    if not behind.candidates and not behind.uncounted:
        tell("runs", "none yet")
    return lines


def notebook_told(number: Number) -> str:
    """Return what a notebook says of a cell, and what is wrong with that."""
    kind = "own number" if number.origin == "own" else "paper's number, as cited"
    flaws = "".join(f"; {flaw}" for flaw in number.flaws)
    return f"`{number.said}` ({number.source}:{number.line}, {kind}){flaws}"


def candidate_told(candidate: Candidate, *, first: bool, columns: int) -> list[str]:
    """Return the lines on runs that are repeats of one another."""
    group, lines = candidate.group, []

    def tell(label: str, said: str) -> None:
        lines.extend(console.labelled(label, said, columns=columns))

    unit = "s" if group.metric == "time" else "nats" if group.metric == "loss" else "share"
    mean = text.duration(group.mean) if unit == "s" else text.metric(group.mean, unit)
    spread = f" ±{text.metric(group.sd, unit)}" if group.sd is not None and unit != "s" else ""
    chosen = "" if group.selected_value is None else f", validates at {group.selected_value:.4f}"
    said = f"{mean}{spread} over {text.plural(group.n, 'run')}{chosen}"
    tell("shown" if candidate.shown else "not shown", said)
    if not first:
        tell("differs in", ", ".join(candidate.differs) or "nothing that is known")
        tell("settings", settings_told(candidate)) if candidate.settings else None
    tell("recipe", f"{group.recipe[:_DIGEST]}, preset {group.preset}")
    if candidate.stale and not candidate.shown:
        tell("stale", candidate.stale)
    parts = [f"version {group.version}"] if group.version else []
    parts += [f"fingerprint {group.fingerprint[:_DIGEST]}"] if group.fingerprint else []
    if group.test_split:
        parts.append(
            f"split train {group.train_split[:_DIGEST]}, test {group.test_split[:_DIGEST]}"
        )
    if parts:
        tell("data", "; ".join(parts))
    for path in lists_of(candidate):
        tell("", f"list {path}")
    for start in group.starts:
        made_by = f"of run {start.run_id}" if start.run_id else ""
        digest = f"sha256 {start.sha256}" if start.sha256 else ""
        tell("encoder", ", ".join(filter(None, (made_by, start.path, digest))))
    if group.processes > 1:
        tell("trained by", f"{group.processes} processes, a batch each")
    for member in candidate.members:
        lines += member_told(member, unit=unit, columns=columns)
    return lines


def settings_told(candidate: Candidate) -> str:
    """Return the settings in which a recipe differs from the one shown."""
    changes = [f"{c.name} {c.after} (shown: {c.before})" for c in candidate.settings[:_MOST]]
    left = len(candidate.settings) - len(changes)
    return ", ".join([*changes, *([f"and {left} more"] if left else [])])


def lists_of(candidate: Candidate) -> list[str]:
    """Return the files that the splits were read from, each once, with its digest."""
    found: dict[str, None] = {}
    for member in candidate.members:
        for each in member.data.get("lists") or ():
            if isinstance(each, dict):
                named = each.get("path") or each.get("name") or each.get("file")
                digest = str(each.get("sha256") or "")[:_DIGEST]
                found[f"{named} {f'sha256 {digest}' if digest else ''}".strip()] = None
            else:
                found[str(each)] = None
    return list(found)


def member_told(member: Member, *, unit: str, columns: int) -> list[str]:
    """Return the lines on one run."""
    run, result = member.run, member.result
    said = f"seed {run.seed}"
    if result is not None and result.value is not None and unit != "s":
        said += f", {text.metric(result.value, unit)}"
        if result.low is not None and result.high is not None:
            low, high = (text.metric(end, unit) for end in (result.low, result.high))
            said += f" [{low}, {high}] 95 %"
    lines = console.labelled(f"run {run.id}", said, columns=columns)
    for label, told in (
        ("checkpoint", member.checkpoint),
        ("sha256", member.sha256),
        ("predictions", member.predictions),
        ("commit", member.commit and member.commit + " with changes" * member.uncommitted),
    ):
        if told:
            lines += console.labelled("", f"{label} {told}", columns=columns)
    return lines
