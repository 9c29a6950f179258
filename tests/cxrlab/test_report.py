"""The report is one page that says everything, loads nothing, and takes nobody's markup."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import html5lib
import pytest
from PIL import Image
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.exports import svg
from cxrlab.exports.report_words import WORDS
from cxrlab.lab import Lab
from store import intake, notes, runs
from store.db import writing
from trainers.events import EventLog

HOSTILE = '<script>alert("1")</script><img src=x onerror=alert(2)> & \'" </style>'
SECRET = "heart size is normal"
XHTML = "{http://www.w3.org/1999/xhtml}"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


def cxrlab(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def told(lab: Lab, *words: str) -> Any:
    result = cxrlab(lab, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def finish(db: Any, run: runs.Run, *, caption: str = "true blue", **values: float) -> runs.Run:
    """Let a run tell curves, a picture, a text and a result, and end well."""
    folder = Path(run.folder)
    (folder / "samples").mkdir()
    Image.new("L", (900, 600), 90).save(folder / "samples/overlay-1.png")
    (folder / "samples/reports.md").write_text(f"{SECRET} {HOSTILE}")
    provenance = {"host": HOSTILE, "python": "3.11", "packages": {"torch": "2.15"}, "gpus": []}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    events = EventLog(folder)
    events.start(0, total_steps=20)
    for step in (10, 20):
        logged = {"train/loss": 2.0 / step, "val/Dice": 0.03 * step, "val/loss": 0.1}
        events.metrics(step, logged, epoch=step / 20)
    events.sample("samples/overlay-1.png", caption)
    events.sample("samples/reports.md", "generated reports")
    events.sample("../../cxrlab.toml", "somebody else's file")
    events.warning(HOSTILE)
    events.result(values={name.replace("_", "/", 1): v for name, v in values.items()},
                  selected_by="val/Dice")  # fmt: skip
    events.end("succeeded")
    events.close()
    intake.take_in(db, run.id, folder)
    runs.change_state(db, run.id, "succeeded", reason=HOSTILE)
    return runs.get(db, run.id)


@pytest.fixture
def filled(lab: Lab, db: Any, new_run: Any) -> tuple[Lab, dict[str, str]]:
    """A lab with a pre-training, a run that starts from it, and one behind no cell."""
    pretraining = finish(db, new_run(seed=0), val_loss=1.25)
    (Path(pretraining.folder) / "checkpoints").mkdir()
    tuned = finish(
        db,
        new_run(task="siim", ratio=10, seed=0, parent=pretraining.id),
        caption=HOSTILE,
        test_Dice=0.729,
        val_Dice=0.75,
    )
    other = new_run(task="siim", ratio=10, seed=7, recipe="1" * 64)
    finish(db, other, test_Dice=0.5, val_Dice=0.1)
    notes.add(db, notes.NewEntry("idea", f"try HOG targets {HOSTILE}", "open", about=tuned.id))
    return lab, {"pretraining": pretraining.id, "tuned": tuned.id, "other": other.id}


@pytest.fixture
def page(filled: Any, tmp_path: Path) -> str:
    lab, _ = filled
    out = tmp_path / "report.html"
    told(lab, "report", "--out", str(out))
    return out.read_text(encoding="utf-8")


def parsed(page: str) -> Any:
    """The page as a browser reads it; any fault of its syntax is an error."""
    return html5lib.HTMLParser(strict=True).parse(page)


def texts(element: Any) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_the_page_is_html_without_a_fault(page) -> None:
    document = parsed(page)
    assert document.find(f".//{XHTML}title").text == "Report on lab"


def test_nothing_in_the_page_names_a_place_outside_it(page) -> None:
    document = parsed(page)
    ids = {element.get("id") for element in document.iter() if element.get("id")}
    for element in document.iter():
        for name, value in element.attrib.items():
            if name in ("src", "srcset", "poster", "data", "action", "background"):
                assert value.startswith("data:image/webp;base64,"), (element.tag, value[:80])
            if name.endswith("href"):
                assert value == "data:," or value[0] == "#" and value[1:] in ids, value  # noqa: RUF021
            assert not name.startswith("on"), name
    assert not list(document.iter(f"{XHTML}script"))
    (style,) = document.iter(f"{XHTML}style")
    assert not re.search(r"url\(|@import|@font-face", style.text)
    assert "default-src 'none'" in page


def test_what_others_wrote_is_shown_as_text(page) -> None:
    document = parsed(page)
    said = texts(document.find(f".//{XHTML}main"))
    assert said.count('<script>alert("1")</script>') >= 5  # reasons, hosts, a caption, a note
    assert all(image.get("src", "").startswith("data:") for image in document.iter(f"{XHTML}img"))


def test_the_grid_stands_in_it_with_papers_numbers_and_their_sources(page) -> None:
    document = parsed(page)
    (table,) = [t for t in document.iter(f"{XHTML}table") if t.get("class") == "grid"]
    rows = {row[0].text: texts(row) for row in table.find(f"{XHTML}tbody")}
    assert "72.9 (1)" in rows["mrm"]
    assert "[73.2]" in rows["mrm"]
    sources = texts(document.find(f".//{XHTML}section[@id='grid']"))
    assert "Zhou et al." in sources


def test_a_run_shows_curves_numbers_descent_and_its_picture(filled, page) -> None:
    _, ids = filled
    document = parsed(page)
    (run,) = [a for a in document.iter(f"{XHTML}article") if a.get("id") == f"run-{ids['tuned']}"]
    said = texts(run)
    assert "val/Dice from 30 at step 10 to 60 at step 20" in said
    assert "test/Dice 72.9" in said
    (origin,) = [a for a in run.iter(f"{XHTML}a") if a.get("href") == f"#run-{ids['pretraining']}"]
    assert origin is not None
    (picture,) = run.iter(f"{XHTML}img")
    content = base64.b64decode(picture.get("src").partition(",")[2])
    assert (content[8:12], picture.get("width"), picture.get("height")) == (b"WEBP", "320", "213")


def test_a_file_outside_the_run_folder_is_not_shown(page) -> None:
    assert "[launch]" not in page
    assert "somebody else" not in page


def test_headings_are_in_order_and_tables_have_captions_and_scopes(page) -> None:
    document = parsed(page)
    levels = [int(e.tag[-1]) for e in document.iter() if re.fullmatch(XHTML + "h[1-6]", str(e.tag))]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    for table in document.iter(f"{XHTML}table"):
        assert texts(table.find(f"{XHTML}caption"))
        assert all(head.get("scope") for head in table.iter(f"{XHTML}th"))
    ids = [element.get("id") for element in document.iter() if element.get("id")]
    assert len(ids) == len(set(ids))


def test_lines_of_descent_put_runs_under_what_they_start_from(filled, page) -> None:
    _, ids = filled
    tree = parsed(page).find(f".//{XHTML}section[@id='descent']//{XHTML}div")
    (top,) = tree.find(f"{XHTML}ul")
    assert ids["pretraining"] in texts(top[0])
    assert ids["tuned"] in texts(top.find(f"{XHTML}ul"))


def test_runs_behind_no_cell_are_counted_and_not_shown(filled, tmp_path) -> None:
    lab, ids = filled
    facts = told(lab, "report", "--out", str(tmp_path / "r.html"))
    assert sorted(facts["runs"]) == sorted([ids["pretraining"], ids["tuned"]])
    assert facts["runs_left_out"] == {"too_many": 0, "behind_no_cell": 1}
    assert f"run-{ids['other']}" not in (tmp_path / "r.html").read_text()


def test_no_more_runs_and_bytes_of_pictures_are_taken_in_than_asked_for(filled, tmp_path) -> None:
    lab, ids = filled
    out = str(tmp_path / "r.html")
    facts = told(lab, "report", "--out", out, "--runs", "1", "--pictures", "0")
    assert (facts["runs"], facts["runs_left_out"]["too_many"]) == ([ids["pretraining"]], 1)
    assert (facts["pictures"], facts["picture_bytes"], facts["pictures_missing"]) == (0, 0, 1)


def test_restricted_samples_appear_only_when_the_set_is_named(filled, tmp_path) -> None:
    lab, _ = filled
    source = lab.settings_file.read_text()
    for name in ("siim", "mimic_cxr"):
        source = source.replace(f"[data.{name}]\n", f"[data.{name}]\nrestricted = true\n")
    lab.settings_file.write_text(source)
    out = tmp_path / "r.html"
    facts = told(lab, "report", "--out", str(out))
    assert (facts["pictures"], facts["restricted"]) == (0, ["mimic_cxr", "siim"])
    assert SECRET not in out.read_text()
    assert "data:image" not in out.read_text()
    named = ("--include-restricted", "siim")
    facts = told(lab, "report", "--out", str(out), *named)
    assert (facts["pictures"], facts["restricted"]) == (1, ["mimic_cxr"])
    assert out.read_text().count(SECRET) == 1


def test_a_hundred_thousand_runs_behind_no_cell_are_not_walked(filled, db, tmp_path) -> None:
    lab, _ = filled
    with writing(db):
        db.conn.execute(
            """
            with recursive n(i) as (select 1 union all select i + 1 from n where i < 100000)
            insert into runs (id, method, task, ratio, seed, preset, recipe, state, folder, command,
              gpus, created)
            select printf('z%d', i), 'mrm', 'siim', 10, i, '', 'r', 'succeeded', '/nowhere', '[]',
              0, 0 from n
            """
        )
    asked: list[str] = []
    db.conn.set_trace_callback(asked.append)
    from cxrlab.exports.report import gather

    report = gather(lab, db)
    assert (len(report.sections), report.elsewhere) == (2, 100_001)
    assert sum("from runs where id =" in statement for statement in asked) < 50


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_page_in_each_language_has_every_word(filled, tmp_path, language) -> None:
    lab, _ = filled
    out = tmp_path / "r.html"
    told(lab, "report", "--out", str(out), "--lang", language)
    document = parsed(out.read_text(encoding="utf-8"))
    assert document.get("lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert texts(document.find(f".//{XHTML}h2")) == WORDS[language]["grid"]


def test_both_languages_have_the_same_words_with_the_same_places() -> None:
    holes = {
        language: {key: sorted(re.findall(r"{\w+}", said)) for key, said in words.items()}
        for language, words in WORDS.items()
    }
    assert holes["en"] == holes["zh"]


def test_an_empty_lab_has_a_page_too(lab, tmp_path) -> None:
    told(lab, "report", "--out", str(tmp_path / "r.html"))
    assert WORDS["en"]["no_runs"] in (tmp_path / "r.html").read_text()


def test_a_page_that_cannot_be_made_leaves_the_old_one(filled, tmp_path, monkeypatch) -> None:
    lab, _ = filled
    out = tmp_path / "r.html"
    out.write_text("the old one")
    monkeypatch.setattr(Path, "replace", lambda self, target: 1 / 0)
    assert cxrlab(lab, "report", "--out", str(out)).exit_code == 1
    assert out.read_text() == "the old one"
    assert list(tmp_path.glob(".r.html*")) == []


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.5, 1]), (0.13, 0.27, [0.15, 0.2, 0.25]), (0, 45, [0, 20, 40])],
)
def test_ticks_are_round_numbers_within_the_axis(low, high, expected) -> None:
    assert svg.ticks(low, high, 4) == pytest.approx(expected)


@pytest.mark.parametrize("points", [[(5, 1.0)], [(1, 2.0), (9, 2.0)], [(1, 0.0), (2, 1e-30)]])
def test_a_curve_of_one_value_is_drawn(points) -> None:
    drawn = svg.chart([svg.Line("loss", points)], id="a", title="t")
    assert "nan" not in drawn
    assert "inf" not in drawn
    parsed(f"<!doctype html><title>t</title>{drawn}")


@pytest.mark.skipif(not CHROMIUM, reason="no chromium here")
def test_a_browser_shows_it_without_a_request_or_a_complaint(page, tmp_path) -> None:
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    log = tmp_path / "net.json"
    done = subprocess.run(
        [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
         f"--user-data-dir={tmp_path / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND",
         "--disable-background-networking", "--disable-component-update", "--no-first-run",
         f"--log-net-log={log}", "--enable-logging=stderr", "--virtual-time-budget=3000",
         "--dump-dom", path.as_uri()],
        capture_output=True, text=True, timeout=900, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, done.stderr
    assert done.stdout.count("<article") == page.count("<article")
    asked = set(re.findall(r'"url":"([^"]*)"', log.read_text()))
    assert {address for address in asked if page.find(address) >= 0} == set()
