"""The dashboard's words in Chinese, by the English ones.

Names of methods, tasks, metrics and settings are names in either language. Two columns of the
terminal are one character here, so that a word takes about as much room as the English one.
"""

from __future__ import annotations

WORDS: dict[str, str] = {
    # the top bar
    "1 Grid": "1 对比",
    "2 Runs": "2 运行",
    "3 Queue": "3 队列",
    "4 GPUs": "4 显卡",
    "5 Notes": "5 笔记",
    "6 Doctor": "6 诊断",
}
