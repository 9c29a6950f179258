from __future__ import annotations

from pathlib import Path

import pytest

from cxrlab import lab as labs
from cxrlab import settings as known
from cxrlab import settings_file
from cxrlab.errors import NotFound, Usage


@pytest.fixture
def made(tmp_path: Path) -> labs.Lab:
    return labs.make_lab(tmp_path / "lab")


def written(made: labs.Lab, text: str) -> known.Settings:
    made.settings_file.write_text(text)
    return settings_file.read_settings(made.settings_file)


def complaint(made: labs.Lab, text: str) -> Usage:
    with pytest.raises(Usage) as caught:
        written(made, text)
    return caught.value


def test_a_new_lab_has_its_folders_and_the_default_settings(made: labs.Lab) -> None:
    assert made.runs_dir.is_dir()
    assert made.pretrained_dir.is_dir()
    assert made.registry.parent.is_dir()
    assert made.settings == known.Settings()


def test_making_a_lab_again_overwrites_nothing(made: labs.Lab) -> None:
    made.settings_file.write_text("[launch]\ncpu_slots = 7\n")
    assert labs.make_lab(made.root).settings.launch.cpu_slots == 7


def test_every_commented_example_of_a_new_settings_file_is_valid(made: labs.Lab) -> None:
    lines = made.settings_file.read_text().splitlines()
    woken = [
        line.removeprefix("# ")
        if line.startswith("# ") and (" = " in line or line.startswith("# ["))
        else line
        for line in lines
    ]
    settings = written(made, "\n".join(woken))
    assert settings.grid.columns == ("siim:10", "siim:100")
    assert settings.data["siim"].root == Path("/dataset/siim")
    assert settings.launch == known.LaunchSettings(limits={"report": 1})


def test_defaults_share_the_cores_among_the_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(9)))
    launch = known.LaunchSettings()
    assert (launch.cpu_slots, launch.threads) == (4, 2)
    assert known.LaunchSettings(cpu_slots=20).threads == 1


def test_a_lab_is_found_from_any_folder_below_it(made: labs.Lab) -> None:
    below = made.runs_dir / "a" / "b"
    below.mkdir(parents=True)
    assert labs.find_lab(below).root == made.root


def test_the_variable_names_the_lab_and_an_argument_outranks_it(
    made: labs.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = labs.make_lab(tmp_path / "other")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXRLAB_LAB", str(made.root))
    assert labs.find_lab().root == made.root
    assert labs.find_lab(other.root).root == other.root


def test_outside_a_lab_the_error_names_init_and_ends_with_3(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        labs.find_lab(tmp_path)
    assert caught.value.code == 3
    assert "cxrlab init" in caught.value.hint


def test_a_relative_root_starts_at_the_lab_and_not_at_the_working_directory(
    made: labs.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = written(made, '[data.siim]\nroot = "../images"\n')
    assert settings.data["siim"].root == tmp_path / "images"


@pytest.mark.parametrize(
    ("text", "line", "named", "meant"),
    [
        ("# x\n[launch]\ncpu_slot = 2\n", 3, "launch.cpu_slot", "launch.cpu_slots"),
        ("[lanch]\ngpus = 1\n", 1, "lanch", "launch"),
        ('\n[data.simm]\nroot = "x"\n', 2, "data.simm", "data.siim"),
        ('[data.siim]\nrot = "x"\n', 2, "data.siim.rot", "data.siim.root"),
        ('[grid]\nmethod = ["mrm"]\n', 2, "grid.method", "grid.methods"),
        ('langage = "en"\n', 1, "langage", "language"),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_the_nearest_known_one(
    made: labs.Lab, text: str, line: int, named: str, meant: str
) -> None:
    error = complaint(made, text)
    assert f"{made.settings_file}:{line}: `{named}`" in error.message
    assert f"`{meant}`" in error.hint


@pytest.mark.parametrize(
    "text",
    [
        "[launch]\ngpus = -1\n",
        '[launch]\ngpus = "some"\n',
        "[launch]\ncpu_slots = 0\n",
        "[launch]\nthreads = true\n",
        '[launch]\npreset = "huge"\n',
        "[launch]\nstop_grace_s = -1\n",
        "[data.siim]\n",
        "[data]\nsiim = 3\n",
        '[grid]\nmethods = "mrm"\n',
        '[grid]\nmethods = ["mrn"]\n',
        '[grid]\ncolumns = ["siim:ten"]\n',
        'language = "xx"\n',
        "launch = 3\n",
        "[launch\n",
    ],
)
def test_a_value_that_does_not_fit_is_an_error_of_the_command_line(
    made: labs.Lab, text: str
) -> None:
    error = complaint(made, text)
    assert error.code == 2
    assert str(made.settings_file) in error.message


def test_setting_a_root_wakes_the_commented_block_and_keeps_all_else(made: labs.Lab) -> None:
    before = made.settings_file.read_text()
    changed = labs.set_data_root(made, "siim", root=Path("/data/siim"))
    assert changed.settings.data["siim"].root == Path("/data/siim")
    after = made.settings_file.read_text()
    was = '# [data.siim]\n# root = "/dataset/siim"'
    assert was in before
    assert after == before.replace(was, '[data.siim]\nroot = "/data/siim"')


def test_setting_a_root_twice_leaves_one(made: labs.Lab) -> None:
    made.settings_file.write_text('[data.siim]\n# where?\nroot = "a"\n\n[data.nih]\nroot = "b"\n')
    changed = labs.set_data_root(made, "siim", root=Path("c d"))
    assert made.settings_file.read_text() == (
        '[data.siim]\n# where?\nroot = "c d"\n\n[data.nih]\nroot = "b"\n'
    )
    assert changed.settings.data["nih"].root == made.root / "b"


def test_setting_a_root_adds_a_table_where_there_is_none(made: labs.Lab) -> None:
    made.settings_file.write_text('language = "en"\n')
    changed = labs.set_data_root(made, "nih", root=Path("/n"))
    assert changed.settings.data == {"nih": known.DataSettings(Path("/n"))}


def test_a_root_given_in_another_form_is_left_to_the_person(made: labs.Lab) -> None:
    text = 'data = {siim = {root = "/a"}}\n'
    made.settings_file.write_text(text)
    with pytest.raises(Usage):
        labs.set_data_root(made, "siim", root=Path("/b"))
    assert made.settings_file.read_text() == text


def test_a_data_set_that_is_none_has_no_root_to_set(made: labs.Lab) -> None:
    with pytest.raises(NotFound, match="siimm"):
        labs.set_data_root(made, "siimm", root=Path("/a"))


def test_gpus_for_runs_are_all_some_many_or_named(made: labs.Lab) -> None:
    def usable(said: str) -> tuple[list[int], int | None]:
        launch = written(made, f"[launch]\n{said}\n").launch
        uuids = ["GPU-4f3a", "GPU-77b0", "GPU-4fff"]
        return [i for i, uuid in enumerate(uuids) if launch.may_use(i, uuid)], launch.most_gpus

    assert usable("") == ([0, 1, 2], None)
    assert usable("gpus = 2") == ([0, 1, 2], 2)
    assert usable("gpus = 0") == ([], 0)
    assert usable('gpus = [1, "GPU-4f3"]') == ([0, 1], None)


@pytest.mark.parametrize("value", ["-1", "true", '"some"', "[true]", '[""]', "1.5"])
def test_gpus_that_are_neither_a_number_nor_a_list_are_refused(made: labs.Lab, value: str) -> None:
    assert (
        "expected a number, a list or all" in complaint(made, f"[launch]\ngpus = {value}").message
    )


def test_when_a_gpu_is_somebody_elses_is_a_setting(made: labs.Lab) -> None:
    said = "[gpus]\nbusy_mib = 900\nsettle_s = 0\nshare = true\nshare_gib = 40\n"
    assert written(made, said).gpus == known.GpuSettings(900, 0.0, True, 40.0)
    assert "expected true or false" in complaint(made, "[gpus]\nshare = 1").message
    assert "expected a number from 0" in complaint(made, "[gpus]\nsettle_s = -1").message
