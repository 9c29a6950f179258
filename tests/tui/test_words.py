"""Every fixed word of the dashboard has its Chinese, and none of the table is for nothing."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from cxrlab import advice, checkup, tagging, text, use_words
from cxrlab.errors import Usage
from cxrlab.gpus import Reading
from cxrlab.harmless import cut
from cxrlab.lab import Lab
from cxrlab.tui import acting, answers, gpu_signs, remembered, run_columns, sentences, words, zh
from cxrlab.tui import lists as listed
from cxrlab.tui.messages import OpenExport, OpenFill, OpenLaunch, OpenNoteForm, OpenRun
from cxrlab.tui.screens import help as help_screen
from cxrlab.tui.screens import note as note_form
from cxrlab.tui.screens import run as run_screen
from cxrlab.tui.widgets import bar
from store import matching, notes, queue, runs
from store.db import open_store
from store.notes import NewEntry

Wait = Callable[..., Any]
TUI = Path(words.__file__).parent
SOURCES = [path for path in sorted(TUI.rglob("*.py")) if "zh" not in path.parts]
CONTEXTS = ("level", "column", "switch")
HAN = re.compile(r"[\u3400-\u9fff]")


@pytest.fixture(autouse=True)
def _english_again() -> Iterator[None]:
    yield
    words.speak("en")


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in SOURCES:
        yield path.name, ast.parse(path.read_text(encoding="utf-8"))


def literals(node: ast.AST) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str):
            yield each.value


def said_at() -> Iterator[tuple[str, str]]:
    """Give every word that is given to `tr` or `counted`, and those of bindings, with its file."""
    for name, tree in trees():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            called = getattr(call.func, "id", getattr(call.func, "attr", ""))
            if called == "tr" and call.args:
                assert not any(isinstance(n, ast.JoinedStr) for n in ast.walk(call.args[0])), name
                yield from ((word, name) for word in literals(call.args[0]))
            elif called == "counted":
                yield from ((f"{{n}} {word}", name) for word in literals(call.args[1]))
            elif called == "Binding":
                given = [*call.args[2:3], *(k.value for k in call.keywords if k.arg == "tooltip")]
                assert all(isinstance(value, ast.Constant) for value in given), (name, call.lineno)
                yield from ((word, name) for value in given for word in literals(value))


TABLES = {
    *bar.PLACES.values(),
    *gpu_signs.COUNTED.values(),
    *gpu_signs.IN_SHORT.values(),
    *text.STATES,
    *checkup.SIGNS,
    *listed.KINDS,
    *note_form.KINDS,
    *help_screen.WORDS.values(),
    *(column.about for column in run_columns.CHOOSABLE.values()),
    *(column.column.title for column in run_columns.CHOOSABLE.values()),
    *(sentence for act in acting.ACTS.values() for sentence in (act.asks, act.done, act.refused)),
    *(act.warning for act in acting.ACTS.values() if act.warning),
    *matching.GROUPS,
    *use_words.FIGURES,
    run_screen.NONE,
    run_screen.PAPER,
}
"""What stands in tables and is translated where it is drawn."""


def has_chinese(word: str) -> bool:
    return word in zh.WORDS or any(f"{context}|{word}" in zh.WORDS for context in CONTEXTS)


def test_every_fixed_word_has_its_chinese() -> None:
    lacking = sorted({(name, word) for word, name in said_at() if not has_chinese(word)})
    # what tells words apart, and how a state is looked for, are no words
    assert [each for each in lacking if each[1] not in CONTEXTS] == []
    assert sorted(word for word in TABLES if not has_chinese(word)) == []


def test_the_same_is_put_into_both() -> None:
    named = re.compile(r"\{[^}]*\}")
    wrong = [
        word
        for word, chinese in zh.WORDS.items()
        if Counter(named.findall(word)) != Counter(named.findall(chinese))
    ]
    assert wrong == []


def test_keys_stay_as_they_are_typed() -> None:
    quoted = re.compile(r"`[^`]*`")
    for word, chinese in zh.WORDS.items():
        assert sorted(quoted.findall(word)) == sorted(quoted.findall(chinese)), word


def test_no_word_of_the_table_is_for_nothing() -> None:
    known = {word for _, tree in trees() for word in literals(tree)} | TABLES
    known |= {f"{{n}} {word}" for word in known} | {"stale", "pretrain", "pre-training"}
    known |= {word for source in OUTSIDE for word in literals(ast.parse(source))}
    assert sorted(word for word in zh.WORDS if word.rpartition("|")[2] not in known) == []


OUTSIDE = [
    Path(module.__file__ or "").read_text(encoding="utf-8") for module in (text, notes, runs)
] + [
    "['endorsed', 'warning', 'test split', 'training list', 'data version', 'val loss', 'own',"
    " 'number of processes']"
]
"""Where words are said that are translated here."""


def test_a_word_is_in_one_part_of_the_table_alone() -> None:
    parts = (zh.everywhere, zh.keys, zh.screens, zh.forms)
    assert sum(len(part.WORDS) for part in parts) == len(zh.WORDS)


def test_counts_ages_and_lists_in_both_languages() -> None:
    assert words.counted(1, "run") == "1 run"
    assert words.counted(1200, "run") == "1,200 runs"
    assert (words.ago(0, 400), words.ago(0, 1)) == ("6m ago", "just now")
    words.speak("zh")
    assert words.counted(1200, "run") == "1,200 个运行"
    assert (words.ago(0, 400), words.ago(0, 1)) == ("6m 前", "刚刚")
    assert words.joined(["甲", "乙"]) == "甲，乙"
    assert words.tr("never translated {n}") == "never translated {n}"
    assert (words.tr("note"), words.tr("note", "level")) == ("笔记", "提示")


def test_paddings_count_two_cells_for_a_chinese_character() -> None:
    assert words.padded("种子", 6) == "种子  "
    assert words.padded("too long", 3) == "too long"


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("waits for its turn", "等待轮到"),
        (
            "waits for deepaa (deep_mrm pretrain), which is running",
            "等待 deepaa（deep_mrm pretrain，运行中）",
        ),
        (
            "needs 2 GPUs with 22 GiB each; GPUs 0-3, 6 are held by other users (anna; bob); "
            "GPU 4 is free and watched for a while before use",
            "需要 2 块显卡，每块 22 GiB；显卡 0-3, 6 由他人占用 anna; bob；"
            "显卡 4 空闲，使用前再观察片刻",
        ),
        (
            "stopping, stalled: no event for 5 min, usually every 2 s",
            "停止中，停滞：5 min 无事件，通常每 2 s 一次",
        ),
        ("`cxrlab queue release abc` lets it start", "用 `cxrlab queue release abc` 放行"),
        (
            "its GPUs were busy 31 % of the last ten minutes, and it hardly waits for data; "
            "a larger batch may help",
            "最近十分钟显卡利用率为 31 %，而且几乎不等待数据；可尝试更大的批大小",
        ),
        (
            "its GPUs were busy 3 % of the last ten minutes; `cxrlab data prepare` decodes images "
            "once, `cxrlab clone abc --set num_workers=8` has more loader workers",
            "最近十分钟显卡利用率为 3 %；`cxrlab data prepare` 可将图像一次解码，"
            "`cxrlab clone abc --set num_workers=8` 使用更多加载进程",
        ),
        ("RuntimeError: shapes; do not fit, at all", "RuntimeError: shapes; do not fit, at all"),
        ("{braces} of others; stay", "{braces} of others; stay"),
        ("its encoder's run mrmaaa is gone", "编码器所属的运行 mrmaaa 已不存在"),
    ],
)
def test_sentences_of_the_registry(english: str, chinese: str) -> None:
    assert sentences.said(english) == english
    words.speak("zh")
    assert sentences.said(english) == chinese


@pytest.mark.parametrize("state", ["failed", "stopped", "lost"])
def test_advice_is_given_in_chinese(full_lab: Lab, state: str) -> None:
    db = open_store(full_lab.registry)
    found = runs.select(db, states=(state,))
    db.close()
    words.speak("zh")
    for run in found:
        assert HAN.search(sentences.said(advice.next_step(run, {})))


@pytest.mark.parametrize("width", range(1, 12))
def test_a_wide_character_is_never_halved(width: int) -> None:
    said = cut("a预训练b数据集c", width)
    assert cell_len(said) <= width
    assert said.removesuffix("…") in "a预训练b数据集c"


@pytest.fixture
def chinese_lab(full_lab: Lab) -> Lab:
    db = open_store(full_lab.registry)
    notes.add(db, NewEntry("todo", "预训练数据集：下载并检查", "open", "2026-01-04 10:00"))
    notes.add(db, NewEntry("fact", "377,110 images", "", "2026-01-04 10:00", about="deepaa"))
    queue.hold(db, ["rndccc"])
    runs.change_state(db, "rndbbb", "stopped", reason="stopped while it waited")
    runs.change_state(db, "shlaaa", "lost", reason="its processes vanished without a word")
    db.close()
    remembered.remember(full_lab, "language", "zh")
    return full_lab


def english_on(screen: str) -> list[str]:
    """Return the fixed English words, of five letters or more, that stand on a screen."""
    found = []
    for word in zh.WORDS:
        plain = word.rpartition("|")[2]
        names = plain in NAMES or "{" in plain or len(plain) < 5
        if not names and re.search(rf"(?<![\w./:`_-]){re.escape(plain)}(?![\w./:`_-])", screen):
            found.append(plain)
    return found


NAMES = {
    "notebook",
    "paper",
    "method",
    "preset",
    "recipe",
    "pretrain",
    "state",
    "task",
    "seeds",
    "Space",
}
"""Words that are names too: of presets, tasks, settings and keys."""

PLACES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "方法"),
    (("down", "right", "right", "enter"), "置信区间"),
    (("2",), "状态"),
    (("2", "B"), "▾"),
    (("2", "C"), "运行列表的列"),
    (("2", "s"), "停止"),
    (("3",), "agent 未运行"),
    (("4",), "没有显卡"),
    (("5",), "待办"),
    (("5", "e"), "编辑"),
    (("6",), "缺失"),
    (("question_mark",), "按键"),
    (("y",), "复制"),
)


@pytest.mark.parametrize(("keys", "there"), PLACES, ids=lambda value: "-".join(value) or "grid")
async def test_no_fixed_word_is_left_in_english(
    chinese_lab: Lab, make_app: Wait, until: Wait, shown: Wait, keys: Any, there: str
) -> None:
    app = make_app(chinese_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app) and "CPU 槽位" in shown(app))
        for key in keys:
            before = shown(app)
            await pilot.press(key)
            await until(pilot, lambda before=before: shown(app) != before)
        await until(pilot, lambda: there in shown(app))
        await until(pilot, lambda: english_on(shown(app)) == [])


@pytest.mark.parametrize(
    ("opening", "there"),
    [
        (OpenRun("deepaa"), "跟随末尾"),
        (OpenRun("shzaaa"), "检查它指出的图像"),
        (OpenLaunch("mrm", "siim", 10), "将依次运行"),
        (OpenFill("mrm", "siim", 10), "此处无法完成"),
        (OpenExport(), "导出对比表"),
        (OpenNoteForm(None, "idea"), "[想法]"),
    ],
    ids=["run", "failed", "launch", "fill", "export", "note"],
)
async def test_no_fixed_word_of_a_form_is_left_in_english(
    chinese_lab: Lab, make_app: Wait, until: Wait, shown: Wait, opening: Any, there: str
) -> None:
    app = make_app(chinese_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        app.post_message(opening)
        await until(pilot, lambda: there in shown(app))
        await until(pilot, lambda: english_on(shown(app)) == [])


async def test_chinese_can_be_typed_and_noted(
    chinese_lab: Lab, make_app: Wait, until: Wait, shown: Wait
) -> None:
    app = make_app(chinese_lab)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        await pilot.press("5")
        await until(pilot, lambda: "预训练数据集" in shown(app))
        await pilot.press("a")
        await until(pilot, lambda: "写下" in shown(app))
        await pilot.press(*"换学习率再试")
        await pilot.press("enter")
        await until(pilot, lambda: "换学习率再试" in shown(app) and "写下" not in shown(app))
        # the filter of runs takes it too; nothing is called so
        await pilot.press("2", "slash", *"预训练")
        await until(pilot, lambda: "没有符合过滤条件的运行" in shown(app))


async def test_f2_begins_anew_in_the_other_language(
    chinese_lab: Lab, make_app: Wait, until: Wait, shown: Wait
) -> None:
    app = make_app(chinese_lab)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "1 对比" in shown(app))
        await pilot.press("f2")
    assert remembered.recall(chinese_lab, "language", "") == "en"


@pytest.mark.parametrize("size", [(80, 24), (110, 30)], ids=["80x24", "110x30"])
async def test_the_help_shows_its_last_line_and_scrolls_to_the_signs_of_states(
    chinese_lab: Lab, make_app: Wait, until: Wait, shown: Wait, size: Any
) -> None:
    app = make_app(chinese_lab)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: "Esc  返回" in shown(app))
        await pilot.press(*["down"] * 40)
        await until(pilot, lambda: "× 他人的" in shown(app) and "Esc  返回" in shown(app))


REFUSED: tuple[tuple[Callable[[], object], str], ...] = (
    (lambda: answers.seeds_of("x"), "种子写作 `x`；应如"),
    (lambda: answers.seeds_of("0-99"), "一次至多启动 20 个种子"),
    (lambda: answers.seeds_of(""), "请写 1 至 20 个种子"),
    (lambda: answers.priority_of("soon"), "优先级写作 `soon`；应为整数"),
    (lambda: answers.ratios_of("x"), "标注写作 `x`；应为百分数"),
    (lambda: answers.settings_of("'blr=1"), "引号未闭合"),
    (lambda: answers.settings_of("blr"), "`blr` 没有设置任何值\n请写成 `KEY=VALUE`"),
    (lambda: answers.Manner(nodes="x").check(), "节点写作 `x`；应为"),
    (lambda: answers.Manner(nodes="2").check(), "本机只有一个节点\n后端 `slurm` 有多个节点"),
    (lambda: answers.Manner(memory="much").check(), "显存写作 `much`；应为"),
    (lambda: tagging.typed("a,b"), "`a,b` 不能作标签\n至多 64 个字母的词"),
    (lambda: tagging.typed("+"), "只有符号，没有标签"),
)


@pytest.mark.parametrize(("typed", "said"), REFUSED, ids=[said[:6] for _, said in REFUSED])
def test_what_is_wrong_with_what_was_typed_is_said_in_chinese(
    typed: Callable[[], object], said: str
) -> None:
    words.speak("zh")
    with pytest.raises(Usage) as refused:
        typed()
    assert said in answers.in_full(refused.value)


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ("no NVIDIA driver is installed", "未安装 NVIDIA 驱动"),
        ("the GPUs cannot be read: Unknown Error", "无法读取显卡：Unknown Error"),
        ("the driver does not answer within 10 s", "驱动在 10 s 内无响应"),
        ("[Errno 13] Permission denied: '/a/b.md'", "没有权限：'/a/b.md'"),
    ],
)
def test_what_machines_refuse_is_said_in_chinese(english: str, chinese: str) -> None:
    words.speak("zh")
    assert sentences.said(english) == chinese


async def test_an_export_that_fails_says_so_in_chinese(
    chinese_lab: Lab, make_app: Wait, until: Wait, shown: Wait
) -> None:
    reading = Reading((), "no NVIDIA driver is installed", 0.0)
    app = make_app(chinese_lab, probe=lambda: reading)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app) and "未安装 NVIDIA 驱动" in shown(app))
        await pilot.press("e")
        await until(pilot, lambda: "导出对比表" in shown(app))
        await pilot.press("tab", "tab", "ctrl+u", *"no/x.md", "enter")
        await until(pilot, lambda: "没有文件夹" in shown(app) and "请先创建" in shown(app))
        await pilot.press("ctrl+u", *"runs", "enter")
        await until(pilot, lambda: "是文件夹" in shown(app))
