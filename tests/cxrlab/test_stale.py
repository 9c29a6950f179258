"""A number whose encoder has changed since is stale, and no other is; a copied number says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrlab import grid
from cxrlab.exports import facts
from cxrlab.grid import stale
from cxrlab.grid.cells import read_grid
from cxrlab.grid.remarks import notes
from cxrlab.settings import GridSettings
from store import intake, notebook, runs
from store.cells import Encoder, Group
from store.finished import Start
from trainers.events import EventLog

FILE = "checkpoints/encoder.pt"


def group(*starts: Start) -> Group:
    facts = ("mrm", "siim", 10, "Dice", "r", "paper", 0.7, None, 1, None, None, ("a",), 0.7)
    return Group(*facts, encoder="e", starts=starts)


def encoder(state: str = "succeeded", sha256: str = "e", start: Start | None = None) -> Encoder:
    return Encoder("pre", state, ((FILE, sha256),), start)


FROM = Start("pre", f"/lab/runs/pre/{FILE}", "e")


def test_a_number_whose_encoder_is_as_it_was_is_not_stale() -> None:
    assert stale.reason(group(FROM), {"pre": encoder()}) == ""
    assert stale.reason(group(), {}) == ""
    assert stale.reason(group(Start("", "/weights/mae.pth", "x")), {}) == ""


@pytest.mark.parametrize(
    ("now", "why"),
    [
        ({}, "pre is gone"),
        ({"pre": encoder(sha256="f")}, "replaced: e then, f now"),
        ({"pre": encoder("failed")}, "is failed by now"),
        ({"pre": encoder("running")}, "is running by now"),
    ],
)
def test_a_number_is_stale_when_its_encoder_is_gone_another_or_unfinished(
    now: dict[str, Encoder], why: str
) -> None:
    assert why in stale.reason(group(FROM), now)


def test_staleness_comes_down_from_what_an_encoder_itself_started_from() -> None:
    first = Start("old", f"/lab/runs/old/{FILE}", "o")
    now = {"pre": encoder(start=first), "old": encoder(sha256="o")}
    assert stale.reason(group(FROM), now) == ""
    now["old"] = encoder(sha256="p")
    assert "old was replaced" in stale.reason(group(FROM), now)


def test_a_checkpoint_of_which_no_digest_is_known_makes_nothing_stale() -> None:
    assert stale.reason(group(FROM._replace(sha256="")), {"pre": encoder()}) == ""
    other_file = FROM._replace(path="/lab/runs/pre/checkpoints/best.pt")
    assert stale.reason(group(other_file), {"pre": encoder(sha256="f")}) == ""


def test_runs_that_start_from_one_another_in_a_circle_end() -> None:
    circle = {"pre": encoder(start=FROM)}
    assert stale.reason(group(FROM), circle) == ""


@pytest.fixture
def pretrained(db: Any, new_run: Any) -> Any:
    """Pre-train an encoder with some digest, or write it anew."""

    def make(sha256: str, *, run: runs.Run | None = None, method: str = "mrm") -> runs.Run:
        made = run or new_run(method=method)
        events = EventLog(Path(made.folder))
        if run is not None:
            events.start(0, total_steps=1)
        events.checkpoint("encoder", FILE, step=1, sha256=sha256)
        events.result(values={"val/loss": 1.0}, train_seconds=60.0)
        events.end("succeeded")
        intake.take_in(db, made.id, Path(made.folder))
        runs.change_state(db, made.id, "succeeded")
        return made

    return make


@pytest.fixture
def tuned(db: Any, new_run: Any) -> Any:
    """Fine-tune on siim from a pre-training, whose digest at that time is recorded."""

    def make(start: runs.Run, sha256: str, *, dice: float = 0.7, **asked: Any) -> runs.Run:
        made = new_run(task="siim", parent=start.id, method=start.method, **{"ratio": 10, **asked})
        events = EventLog(Path(made.folder))
        said = {"path": f"{start.folder}/{FILE}", "run": Path(start.folder).name, "sha256": sha256}
        events.result(values={"test/Dice": dice, "val/Dice": dice}, encoder=said,
                      selected_by="val/Dice")  # fmt: skip
        events.end("succeeded")
        intake.take_in(db, made.id, Path(made.folder))
        runs.change_state(db, made.id, "succeeded")
        return made

    return make


def states(db: Any) -> dict[tuple[str, int | None, str], str]:
    shown = read_grid(db, GridSettings(("mrm", "deep_mrm"), ("pretrain", "siim")))
    return {(c.method, c.ratio, c.metric): c.state for c in shown.cells() if c.value is not None}


def test_a_replaced_checkpoint_makes_stale_exactly_the_cells_that_descend_from_it(
    db: Any, pretrained: Any, tuned: Any
) -> None:
    first, other = pretrained("one"), pretrained("deep", method="deep_mrm")
    for seed in (0, 1):
        tuned(first, "one", seed=seed)
    tuned(first, "one", ratio=100)
    tuned(other, "deep")
    assert set(states(db).values()) == {"succeeded"}
    pretrained("two", run=first)
    stale_now = {place for place, state in states(db).items() if state == "stale"}
    assert stale_now == {("mrm", 10, "Dice"), ("mrm", 100, "Dice")}
    shown = read_grid(db, GridSettings(("mrm",), ("siim",)))
    cell = shown.rows[0].cells[2]
    assert cell.text() == "70.0 ±0.0 (2) stale"
    reason = f"the checkpoint of {first.id} was replaced: one then, two now"
    assert facts.of_cell(cell)["stale"] == reason
    note = f"`stale`, {reason}: mrm siim 10 %, mrm siim 100 %"
    assert note in notes(shown)


def test_runs_from_the_new_checkpoint_take_the_cell_and_the_stale_ones_stay_apart(
    db: Any, pretrained: Any, tuned: Any
) -> None:
    first = pretrained("one")
    tuned(first, "one", seed=0, dice=0.9)
    pretrained("two", run=first)
    tuned(first, "two", seed=1, dice=0.5)
    shown = read_grid(db, GridSettings(("mrm",), ("siim",)))
    cell = shown.rows[0].cells[2]
    assert (cell.value, cell.n, cell.others, cell.stale) == (0.5, 1, 1, "")
    assert cell.differs == ("encoder",)
    assert any("differ in encoder: mrm siim 10 %" in note for note in notes(shown))


def test_a_cell_whose_encoder_is_trained_again_or_is_gone_is_stale(
    db: Any, pretrained: Any, tuned: Any
) -> None:
    first = pretrained("one")
    late = tuned(first, "one")
    runs.change_state(db, first.id, "queued")
    assert states(db)["mrm", 10, "Dice"] == "stale"
    runs.change_state(db, first.id, "succeeded")
    assert states(db)["mrm", 10, "Dice"] == "succeeded"
    # as `rebuild` does it when the folder is gone
    db.conn.execute("update runs set parent = null where id = ?", (late.id,))
    db.conn.execute("delete from runs where id = ?", (first.id,))
    assert states(db)["mrm", 10, "Dice"] == "stale"


# -- numbers without a run


def told(origin: str, value: float, **given: Any) -> notebook.Number:
    facts = {
        "method": "mrm",
        "task": "siim",
        "ratio": 10,
        "metric": "Dice",
        "origin": origin,
        "value": value,
        "said": f"{100 * value:.2f}",
        "source": "notes.md",
        "line": 7,
        **given,
    }
    return notebook.Number(**facts)


def shown_cell(db: Any, *numbers: notebook.Number) -> tuple[grid.Cell, list[str]]:
    notebook.bring_in(db, "notes.md", [], numbers)
    shown = read_grid(db, GridSettings(("mrm",), ("siim:10", "siim_legacy:10")))
    return shown.rows[0].cells[2], notes(shown)


def test_a_notebooks_number_stands_where_the_lab_has_none_and_says_what_is_wrong(db: Any) -> None:
    cell, notes = shown_cell(db, told("own", 0.7009, flaws=("`70.09` has no unit",)))
    assert (cell.state, cell.text(), cell.n) == ("foreign", "70.1†", 0)
    assert cell.foreign
    assert "`†`: copied from notes.md, with no run behind it: mrm siim 10 %" in notes
    assert "`70.09` has no unit: mrm siim 10 %" in notes
    assert facts.of_cell(cell)["flaws"] == ["`70.09` has no unit"]


def test_the_labs_own_number_wins_and_the_notebooks_is_told(
    db: Any, pretrained: Any, tuned: Any
) -> None:
    tuned(pretrained("one"), "one")
    cell, notes = shown_cell(db, told("own", 0.7009))
    assert (cell.value, cell.foreign, cell.state) == (0.7, False, "succeeded")
    assert "a notebook has numbers of its own here too: mrm siim 10 % 70.1 (notes.md:7)" in notes


def test_a_notebooks_number_gives_way_to_the_state_of_a_run_that_is_coming(
    db: Any, new_run: Any
) -> None:
    new_run(task="siim", ratio=10)
    cell, _ = shown_cell(db, told("own", 0.7))
    assert (cell.state, cell.text()) == ("queued", "70.0† queued")


def test_a_number_that_a_notebook_cites_stands_where_no_paper_is_known(db: Any) -> None:
    cell, notes = shown_cell(
        db,
        told("paper", 0.721, flaws=("no paper's is known of `mrm`",)),
        told("paper", 0.7, task="siim_legacy", line=9),
    )
    assert "no paper's is known of `mrm`: mrm siim 10 %" in notes
    assert (cell.paper, cell.paper_source) == (0.721, "cited in notes.md, line 7")
    assert cell.text() == "· [72.1]"
    differs = (
        "a notebook cites the paper with another number: mrm siim_legacy 10 % 70.0 (notes.md:9)"
    )
    assert differs in notes
