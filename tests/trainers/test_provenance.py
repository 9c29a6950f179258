from __future__ import annotations

import json
from pathlib import Path

from trainers import provenance, source


def written(folder: Path) -> dict[str, object]:
    provenance.write(folder, seed=3, data={"fingerprint": "f"}, weights={})
    return json.loads((folder / "provenance.json").read_text())


def test_everything_that_a_rerun_depends_on_is_recorded(tmp_path: Path) -> None:
    made = written(tmp_path)
    assert made["code"] == source.digest(source.PACKAGE)
    assert made["seed"] == 3
    assert made["data"] == {"fingerprint": "f"}
    for name in ("commit", "uncommitted_changes", "packages", "python", "gpus", "driver", "cuda"):
        assert name in made


def test_a_note_on_this_very_code_outranks_what_git_says_here(tmp_path: Path) -> None:
    note = {"digest": source.digest(source.PACKAGE), "commit": "c" * 40}
    (tmp_path / source.NOTE).write_text(json.dumps(note | {"uncommitted_changes": True}))
    (tmp_path / "diff.patch").write_text("as queued")
    made = written(tmp_path)
    assert (made["commit"], made["uncommitted_changes"]) == ("c" * 40, True)
    assert (tmp_path / "diff.patch").read_text() == "as queued"


def test_a_note_on_other_code_does_not_count(tmp_path: Path) -> None:
    note = {"digest": "0" * 64, "commit": "c" * 40, "uncommitted_changes": True}
    (tmp_path / source.NOTE).write_text(json.dumps(note))
    assert written(tmp_path)["commit"] != "c" * 40
