"""How do headings, states and notes of an exported grid read in English and in Chinese?

One table of words. Names of methods, tasks and metrics are names in either language, and a citation
stays as it was written.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Literal

Lang = Literal["en", "zh"]
LANGUAGES: tuple[Lang, ...] = ("en", "zh")

WORDS: dict[str, tuple[str, str]] = {
    # headings
    "title": ("Comparison of methods", "方法对比"),
    "caption": (
        "Every method on every task, by the share of the labels",
        "各方法在各任务、各标注比例下的结果",
    ),
    "method": ("method", "方法"),
    "number": ("number", "序号"),
    "description": ("description", "描述"),
    "log": ("log", "日志"),
    "status": ("status", "实验状态"),
    "pre-training": ("pre-training", "预训练"),
    "time": ("time", "时间"),
    "val": ("val {metric}", "验证 {metric}"),
    "val loss": ("val loss", "验证损失"),
    "notes": ("Notes", "说明"),
    "cells": ("cells", "单元格"),
    "grid": ("grid", "对比表"),
    "paper": ("paper", "论文"),
    "seeds": ("seeds", "种子数"),
    "sources": ("source", "出处"),
    # states
    "running": ("running", "运行中"),
    "queued": ("queued", "排队中"),
    "blocked": ("blocked", "等待中"),
    "stopped": ("stopped", "已停止"),
    "lost": ("lost", "已失联"),
    "failed": ("failed", "失败"),
    "stale": ("stale", "已过期"),
    "foreign": ("foreign", "外部结果"),
    # footnotes, each of some cells
    "is foreign": (
        "made elsewhere and brought in, not measured by this lab",
        "由他处得到后导入，非本实验室所测",
    ),
    "single": (
        "a single seed, which says nothing of the spread between seeds",
        "仅一个随机种子，不能说明种子之间的差异",
    ),
    "told": (
        "from `{source}`, without a run behind it, not measured by this lab",
        "取自 `{source}`，没有对应的运行，非本实验室所测",
    ),
    "is stale": ("stale: {reason}", "已过期，其所依据的编码器此后有变动（{reason}）"),
    "preset": (
        "from another recipe: preset `{preset}`, where most of its column has `{usual}`",
        "配方不同：使用预设 `{preset}`，而该列多数使用 `{usual}`",
    ),
    "division": (
        "not comparable with the paper's number: on the division `{own}`, the paper's on {papers}",
        "与论文数值不可比：所用划分为 `{own}`，论文所用为 {papers}",
    ),
    "others": (
        "one of several with a number here, {count} more, which differ in {what}; shown is the "
        "one that validates best",
        "此处另有 {count} 组结果，不同之处：{what}；所示者验证集表现最好",
    ),
    "recipe": ("recipe", "配方"),
    "data version": ("data version", "数据版本"),
    "data": ("data", "数据"),
    "encoder": ("encoder", "编码器"),
    "number of processes": ("number of processes", "进程数"),
    "split": ("test split", "测试集划分"),
    "list": ("training list", "训练列表"),
    "test split": (
        "not comparable with its column: tested on another split",
        "与该列不可比：测试集划分不同",
    ),
    "training list": (
        "not comparable with its column: trained on another list of images",
        "与该列不可比：训练列表不同",
    ),
    "is quick": (
        "made with preset `quick`: toy sizes, not to be compared with a paper's number",
        "由预设 `quick` 得到：规模极小，不可与论文数值比较",
    ),
    # notes on the whole table
    "spread": (
        "`72.9 ±0.4 (3)`: mean ± standard deviation over seeds, and how many",
        "`72.9 ±0.4 (3)`：各随机种子的均值 ± 标准差，括号内为种子数",
    ),
    "bracket": ("`[73.2]`: the paper's number", "`[73.2]`：论文报告的数值"),
    "ranks": (
        "bold is the best of a column, underlined the second; numbers equal as shown share a "
        "mark, and several that are best leave no second. Only numbers that compare are ranked: "
        "none that is stale, of another split or preset, or brought in without its test split, "
        "and no losses",
        "粗体为该列最优，下划线为次优；显示值相同者并列，最优并列时不标次优。只比较可比的数值："
        "已过期、划分或预设不同、导入而测试划分不明者以及各种损失均不参与排名",
    ),
    "all quick": (
        "all numbers are made with preset `quick`: toy sizes, not to be compared with a paper's "
        "number",
        "所有数值均由预设 `quick` 得到：规模极小，不可与论文数值比较",
    ),
    "floor": (
        "predicting nothing anywhere scores: {columns}",
        "什么都不预测时的得分：{columns}",
    ),
    "Dice": (
        "Dice in percent, the mean over test images; an image without the finding counts 100 when "
        "nothing is predicted in it, else 0",
        "Dice 以百分比计，为测试图像的均值；无病灶的图像若无任何预测计 100，否则计 0",
    ),
    "AUROC": (
        "AUROC in percent, the area under the ROC curve on the test set",
        "AUROC 以百分比计，为测试集 ROC 曲线下面积",
    ),
    "loss": (
        "val loss: the sum of the method's own losses on held-out records, so it compares runs of "
        "one method, not methods with one another",
        "验证损失：该方法自身各项损失在留出样本上的和，只能比较同一方法的各次运行，不能比较不同方法",
    ),
    "training time": (
        "time: how long pre-training trained, over all its attempts",
        "时间：预训练实际用时，含中断后续训的各段",
    ),
}


def say(key: str, lang: Lang, **values: object) -> str:
    """Return the words of `key` in a language, with `values` put in.

    Values are inserted as they are, braces and all.
    """
    told = WORDS[key][LANGUAGES.index(lang)]
    return told.format(**values) if values else told


_TOLD = (
    (r"`(.+)` has no unit; read as percent", r"`\1` 未写单位，按百分数读取"),
    (r"`(.+)` has no unit; read as a share of 1", r"`\1` 未写单位，按占 1 的比例读取"),
    (
        r"the notebook calls the metric `(.+)`; read as AUROC, which the papers report",
        r"笔记称此指标为 `\1`；按论文所报告的 AUROC 读取",
    ),
    (
        r"the heading `(.+)` calls the metric `(.+)`; read as AUROC, which the papers report",
        r"表头 `\1` 称此指标为 `\2`；按论文所报告的 AUROC 读取",
    ),
    (r"made with preset `quick`, toy sizes", "由预设 `quick` 得到，规模极小"),
    (r"stale in its own lab: (.+)", r"在其来源实验室已过期：\1"),
    (r"cited in (.+), line (\d+)", r"引自 \1 第 \2 行"),
    (r"its encoder's run (\w+) is gone", r"编码器所属的运行 \1 已不存在"),
    (r"its encoder's run (\w+) is (\w+) by now", r"编码器所属的运行 \1 现为 \2"),
    (
        r"the checkpoint of (\w+) was replaced: (\w+) then, (\w+) now",
        r"运行 \1 的检查点已被替换：当时为 \2，现为 \3",
    ),
)
"""Sentences that the registry or the grid keep in English, and the same in Chinese."""


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern), chinese) for pattern, chinese in _TOLD]


def told(sentence: str, lang: Lang) -> str:
    """Return a sentence of the registry in a language; as it is where it has no translation."""
    if lang == "zh":
        for pattern, chinese in _patterns():
            if found := pattern.fullmatch(sentence):
                return found.expand(chinese)
    return sentence
