"""How does a run look in a file store of MLflow: one folder of plain files for each run?

`mlflow migrate-filestore --source DIR` takes it into a database; older versions of MLflow, and
newer ones with `MLFLOW_ALLOW_FILE_STORE=true`, show it as it is. Ids are drawn from the run's, so
that a run that is exported again takes the place of what it was.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cxrlab.exports.curves import Curves, settings

EXPERIMENT = "cxrlab"
NAMES_TAG = "cxrlab.names"
"""The tag that says what metrics are called that MLflow could not call so."""
SYSTEM = "system/"
"""Begins the metrics that MLflow shows on a page of their own."""
EXPERIMENT_ID = str(int(uuid.uuid5(uuid.NAMESPACE_URL, "cxrlab").hex[:15], 16))

_STATUSES = {"running": 1, "queued": 2, "blocked": 2, "succeeded": 3, "failed": 4, "lost": 4,
             "stopped": 5}  # fmt: skip
_LONGEST_PARAMETER = 6000


def run_id(curves: Curves) -> str:
    """Return the id that MLflow knows the run by."""
    return uuid.uuid5(uuid.NAMESPACE_URL, f"cxrlab:{curves.run.id}:{curves.run.recipe}").hex


def write(curves: Curves, store: Path) -> Path:
    """Write the run into the file store, in place of what an earlier export wrote."""
    experiment = store / EXPERIMENT_ID
    experiment.mkdir(parents=True, exist_ok=True)
    about = experiment / "meta.yaml"
    if not about.exists():
        when = int(1000 * curves.run.created)
        about.write_text(
            _yaml(
                artifact_location=experiment.resolve().as_uri(),
                creation_time=when,
                experiment_id=EXPERIMENT_ID,
                last_update_time=when,
                lifecycle_stage="active",
                name=EXPERIMENT,
            ),
            encoding="utf-8",
        )
    place = experiment / run_id(curves)
    making = Path(tempfile.mkdtemp(prefix=".cxrlab-", dir=store))
    try:
        _write_run(curves, making, place)
        making.chmod(0o755)
        shutil.rmtree(place, ignore_errors=True)
        making.replace(place)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return place


def _write_run(curves: Curves, folder: Path, place: Path) -> None:
    run = curves.run
    for name in ("metrics", "params", "tags", "artifacts"):
        (folder / name).mkdir()
    began = int(1000 * (run.started or run.created))
    about: dict[str, Any] = {
        "artifact_uri": (place.resolve() / "artifacts").as_uri(),
        "end_time": None if run.ended is None else int(1000 * run.ended),
        "entry_point_name": "",
        "experiment_id": EXPERIMENT_ID,
        "lifecycle_stage": "active",
        "run_id": place.name,
        "run_name": curves.name,
        "run_uuid": place.name,
        "source_name": "",
        "source_type": 4,
        "source_version": "",
        "start_time": began,
        "status": _STATUSES.get(run.state, 2),
        "tags": [],
        "user_id": "cxrlab",
    }
    (folder / "meta.yaml").write_text(_yaml(**about), encoding="utf-8")
    known = file_names([*curves.metrics, *curves.results])
    for name, points in curves.metrics.items():
        lines = [f"{int(1000 * curves.time_of(s))} {value!r} {s}\n" for s, value in points]
        _put(folder / "metrics", known[name], "".join(lines))
    for name, used in curves.use.items():
        lines = [f"{int(1000 * t)} {value!r} {second}\n" for second, value, t in used]
        _put(folder / "metrics", SYSTEM + name, "".join(lines))
    last = max((points[-1][0] for points in curves.metrics.values()), default=0)
    for name, value in curves.results.items():
        if name not in curves.metrics:
            line = f"{int(1000 * curves.time_of(last))} {value!r} {last}\n"
            _put(folder / "metrics", known[name], line)
    for name, value in settings(run).items():
        _put(folder / "params", _allowed(name), str(value)[:_LONGEST_PARAMETER])
    tags = {"mlflow.runName": curves.name, **curves.identity()}
    if changed := {theirs: name for name, theirs in known.items() if theirs != name}:
        tags[NAMES_TAG] = json.dumps(changed)
    for name, value in tags.items():
        _put(folder / "tags", name, str(value))


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Return what each metric is called in a file store, where no name can be another's folder.

    Of `test/AUROC` and `test/AUROC/Hernia` the second becomes `test/AUROC.Hernia`.
    """
    given = set(names)
    found = {}
    for name in names:
        parts = name.split("/")
        heads = ["/".join(parts[:n]) for n in range(1, len(parts))]
        head = next((head for head in heads if head in given), None)
        theirs = name if head is None else head + "." + name[len(head) + 1 :].replace("/", ".")
        found[name] = _allowed(theirs)
    return found


def _allowed(name: str) -> str:
    """Return a name in the characters that MLflow allows in one."""
    return re.sub(r"[^\w.:/ -]", "_", name)


def _put(folder: Path, name: str, text: str) -> None:
    """Write one value; a `/` in its name makes folders, as MLflow does, and `..` does not."""
    parts = [part for part in name.split("/") if part not in ("", ".", "..")]
    path = folder.joinpath(*(parts or ["unnamed"]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _yaml(**values: Any) -> str:
    """Return a YAML file: JSON's texts, numbers and null are YAML's too."""
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sorted(values.items()))
