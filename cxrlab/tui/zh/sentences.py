"""What the registry, the agent and the doctor say of runs and machines, by pattern.

Of a pattern's groups, those whose name begins with `said` are sentences themselves, and what the
others hold is put in with its own translation where it has one.
"""

from __future__ import annotations

_CARDS = r"(?:GPUs? )?(?P<gpus>[\w, -]+?)"

_WAITING = (
    (r"waits for its turn|its turn", "等待轮到"),
    (r"waits for others", "等待其他运行"),
    (r"waits for its pre-training", "等待其预训练"),
    (r"waits for a free CPU slot", "等待空闲的 CPU 槽位"),
    (
        r"waits for another (?P<task>\S+) run to end: (?P<limits>.+)",
        "等待另一个 {task} 运行结束：{limits}",
    ),
    (
        r"waits for (?P<run>\w+) \((?P<what>[^)]*)\), which is (?P<state>\w+)",
        "等待 {run}（{what}，{state}）",
    ),
    (r"waits for (?P<run>\w+) \((?P<told>[^)]+)\)", "等待 {run}（{told}）"),
    (r"waits for (?P<runs>\w+(?:, \w+)*)", "等待 {runs}"),
    (r"needs 1 GPU with (?P<memory>\d+ GiB)", "需要 1 块有 {memory} 的显卡"),
    (r"needs (?P<n>\d+) GPUs with (?P<memory>\d+ GiB) each", "需要 {n} 块显卡，每块 {memory}"),
    (r"needs (?P<n>\d+) GPUs?", "需要 {n} 块显卡"),
    (r"needs (?P<size>[\d.]+ \w+) of disk", "需要磁盘 {size}"),
    (r"(?P<size>[\d.]+ \w+) are free", "剩余 {size}"),
    (r"this lab may hold (?P<n>\d+) at once", "本实验室最多同时占用 {n} 块"),
    (r"there are none for this lab", "没有可供本实验室使用的显卡"),
    (r"there (?:is|are) (?P<n>\d+) for this lab", "可供本实验室使用的有 {n} 块"),
    (r"the largest has (?P<memory>\d+ GiB)", "最大的为 {memory}"),
    (r"only (?P<n>\d+) GPUs? (?:has|have) as much", "只有 {n} 块满足"),
    (
        r"this lab holds (?P<held>\d+) of the (?P<most>\d+) that it may",
        "本实验室已占用 {held} 块，上限 {most} 块",
    ),
    (_CARDS + r" (?:is|are) held by this lab's runs", "显卡 {gpus} 由本实验室的运行占用"),
    (
        _CARDS + r" (?:is|are) held by another program of yours(?: \((?P<who>.*)\))?",
        "显卡 {gpus} 由你自己的其他程序占用 {who}",
    ),
    (
        _CARDS + r" (?:is|are) held by (?:another user|other users)(?: \((?P<who>.*)\))?",
        "显卡 {gpus} 由他人占用 {who}",
    ),
    (
        _CARDS + r" (?:is|are) free and watched for a while before use",
        "显卡 {gpus} 空闲，使用前再观察片刻",
    ),
    (_CARDS + r" (?:is|are) kept for an earlier run", "显卡 {gpus} 留给排在前面的运行"),
    (_CARDS + r" (?:is|are) in MIG mode and left alone", "显卡 {gpus} 处于 MIG 模式，不使用"),
    (_CARDS + r" (?:is|are) free", "显卡 {gpus} 空闲"),
    (_CARDS + r" (?:is|are) gone", "显卡 {gpus} 已掉卡"),
    (r"GPUs? (?P<gpus>[\d, -]+) (?:has|have) (?P<memory>\d+ GiB)", "显卡 {gpus} 为 {memory}"),
    (r"GPUs unknown since (?P<time>\S+): (?P<said>.+)", "自 {time} 起显卡状态未知：{said}"),
    (r"GPUs unknown: (?P<said>.+)", "显卡状态未知：{said}"),
    (r"no GPU is there", "没有显卡"),
    (r"GPU (?P<n>\d+) is there and cannot be read", "显卡 {n} 存在但无法读取"),
    (r"held; `cxrlab queue release` lets it start", "已挂起；`cxrlab queue release` 放行"),
    (
        r"held, for (?P<what>.+?) failed alike: (?P<said>.+)",
        "已挂起，因为 {what} 以同样方式失败：{said}",
    ),
)
_RUNNING = (
    (r"starting", "启动中"),
    (r"ending", "收尾中"),
    (r"stopping", "停止中"),
    (r"on (?P<host>[\w.-]+)", "在 {host} 上"),
    (r"frozen by a signal \(SIGSTOP\)", "被信号冻结（SIGSTOP）"),
    (
        r"stalled: no event for (?P<time>[^,]+)",
        "停滞：{time} 无事件",
    ),
    (r"usually every (?P<time>.+)", "通常每 {time} 一次"),
    (r"paused: (?P<said>.+)", "已暂停：{said}"),
    (r"quiet for (?P<time>.+)", "{time} 无输出"),
    (r"its runner is gone", "其看护进程已不在"),
    (r"(?P<said>rank \d+ .+); the others are being ended", "{said}；其余进程正在结束"),
)
_ENDED = (
    (r"the machine was restarted", "机器已重启"),
    (r"gone without a word after it was asked to stop", "收到停止请求后无声退出"),
    (r"its processes vanished without a word", "其进程无声消失"),
    (r"its folder is gone", "其文件夹已不存在"),
    (r"it was never started: its runner left no record", "从未启动：看护进程没有留下记录"),
    (r"its runner on (?P<host>\S+) has fallen silent", "{host} 上的看护进程已无声息"),
    (r"killed, because it did not end when asked to", "因未按请求结束而被强制终止"),
    (r"killed from outside with SIGKILL \(kill -9\)", "被外部以 SIGKILL 杀死（kill -9）"),
    (r"killed by the kernel: out of memory \(host\)", "被内核杀死：内存不足（主机）"),
    (
        r"killed by the kernel: out of memory \(host\), limited to (?P<size>\S+ \w+)",
        "被内核杀死：内存不足（上限 {size}）",
    ),
    (
        r"a process of it was killed by the kernel: out of memory \(host\)(?P<limit>[^:]*): (?P<said>.+)",
        "其一个进程被内核杀死：内存不足{limit}：{said}",
    ),
    (r"ended by (?P<signal>SIG\w+|signal \d+)", "被 {signal} 结束"),
    (r"exit status (?P<code>\d+), and nothing in its log", "退出码 {code}，日志为空"),
    (r"rank (?P<n>\d+) ended with exit status (?P<code>\d+)", "rank {n} 以退出码 {code} 结束"),
    (
        r"rank (?P<n>\d+) ended with exit status (?P<code>\d+): (?P<said>.+)",
        "rank {n} 以退出码 {code} 结束：{said}",
    ),
    (
        r"rank (?P<n>\d+) was ended by (?P<signal>[\w ]+?)(?: \(kill -9\))?",
        "rank {n} 被 {signal} 结束",
    ),
    (r"rank (?P<n>\d+) was (?P<said>killed by the kernel.+)", "rank {n} {said}"),
    (
        r"rendezvous timed out after (?P<time>\d+) s: (?P<came>\d+) of (?P<all>\d+) processes came",
        "进程汇合超时（{time} s）：只到了 {came}/{all} 个进程",
    ),
    (
        r"rendezvous timed out after (?P<time>\d+) s: nobody answers at (?P<place>.+)",
        "进程汇合超时（{time} s）：{place} 无应答",
    ),
    (r"rendezvous failed: its port is taken", "进程汇合失败：端口被占用"),
    (r"rendezvous timed out: not all nodes came", "进程汇合超时：有节点未到"),
    (r"rendezvous failed: nobody answers at its address", "进程汇合失败：地址无应答"),
    (r"stopped while it waited", "等待时被停止"),
    (r"cannot be started: (?P<said>.+)", "无法启动：{said}"),
    (
        r"loss is not finite at step (?P<step>\d+): (?P<what>.+)",
        "第 {step} 步损失非有限值：{what}",
    ),
)
_JOBS = (
    (r"lost once", "已丢失一次"),
    (r"lost twice", "已丢失两次"),
    (r"lost (?P<n>\d+) times", "已丢失 {n} 次"),
    (r"starts again at (?P<time>[\d:]+)", "{time} 重新启动"),
    (r"not started again by itself", "不再自动重启"),
    (r"and not started again by itself", "不再自动重启"),
    (r"a program of your own", "你自己的程序"),
    (r"which was not said to be restartable", "未声明可重新启动（`--restartable`）"),
    (r"(?P<said>.+) \(job (?P<job>[\d_]+)\)", "{said}（作业 {job}）"),
    (r"handed in to Slurm", "已提交给 Slurm"),
    (r"started again by Slurm", "已由 Slurm 重新排队"),
    (r"waits for its turn in Slurm", "在 Slurm 中等待轮到"),
    (
        r"waits in Slurm: the nodes or GPUs it needs are taken",
        "在 Slurm 中等待：所需节点或显卡被占用",
    ),
    (
        r"waits in Slurm: jobs of higher priority come first",
        "在 Slurm 中等待：更高优先级的作业在前",
    ),
    (r"waits in Slurm: (?P<what>.+)", "在 Slurm 中等待：{what}"),
    (r"(?P<node>[\w\[\],-]+) failed", "节点 {node} 失效"),
    (r"preempted by a job of higher priority", "被更高优先级的作业抢占"),
    (r"job (?P<job>[\d_]+) was cancelled in Slurm", "作业 {job} 在 Slurm 中被取消"),
    (r"job (?P<job>[\d_]+) is gone from Slurm", "作业 {job} 已从 Slurm 消失"),
    (r"and never began", "从未开始"),
    (r"and left no word", "没有留下消息"),
    (r"Slurm ended it at its time limit before it had saved", "时限已到，保存之前被 Slurm 结束"),
    (r"saved at its time limit", "已在时限前保存"),
    (r"ended at its time limit", "因时限已到而结束"),
    (r"and goes on when it is started again", "重新启动后继续"),
    (r"and Slurm did not start it again", "Slurm 没有重新启动它"),
)
_ADVICE = (
    (r"(?P<command>`[^`]+`) starts its program again", "用 {command} 重新启动其程序"),
    (r"(?P<command>`[^`]+`) forgets it; launch it anew", "用 {command} 删除记录，再重新启动"),
    (r"(?P<command>`[^`]+`) goes on from its last checkpoint", "用 {command} 从最近的检查点继续"),
    (r"(?P<command>`[^`]+`) lets it start", "用 {command} 放行"),
    (
        r"look at (?P<logs>`[^`]+`); (?P<stop>`[^`]+`), then (?P<resume>`[^`]+`), goes on from its "
        r"last checkpoint",
        "先看 {logs}；再用 {stop} 和 {resume} 从最近的检查点继续",
    ),
    (r"free some space; it goes on by itself", "请清理磁盘空间；之后会自动继续"),
    (r"`kill -CONT` its processes, or (?P<stop>`[^`]+`)", "对其进程执行 `kill -CONT`，或用 {stop}"),
    (
        r"free some space; then (?P<said>`[^`]+` goes on from its last checkpoint)",
        "请清理磁盘空间；然后{said}",
    ),
    (
        r"look at the images that it names, or lower the learning rate: (?P<command>`[^`]+`)",
        "检查它指出的图像，或降低学习率：{command}",
    ),
    (
        r"see that every node runs and reaches the first one's port; then (?P<command>`[^`]+`)",
        "确认每个节点都在运行并能连到首节点的端口；然后 {command}",
    ),
    (
        r"(?P<logs>`[^`]+`) shows its log, (?P<retry>`[^`]+`) tries again",
        "{logs} 查看日志，{retry} 重试",
    ),
    (
        r"(?P<command>`[^`]+`) goes on; if it happens again, (?P<said>.+)",
        "用 {command} 继续；若再次发生，{said}",
    ),
    (r"fewer loader workers: (?P<command>`[^`]+`)", "减少加载进程：{command}"),
    (r"(?P<command>`[^`]+`) tries smaller batches", "用 {command} 减小批大小"),
    (
        r"its GPUs were busy (?P<n>\d+) % of the last ten minutes",
        "最近十分钟显卡利用率为 {n} %",
    ),
    (r"and it hardly waits for data", "而且几乎不等待数据"),
    (r"a larger batch may help", "可尝试更大的批大小"),
    (r"more loader workers may help", "可尝试更多加载进程"),
    (r"(?P<command>`[^`]+`) decodes images once", "{command} 可将图像一次解码"),
    (r"(?P<command>`[^`]+`) has more loader workers", "{command} 使用更多加载进程"),
    (
        r"half the batch, accumulated twice as long, makes the same updates: (?P<command>`[^`]+`)",
        "批大小减半、累积步数加倍，更新不变：{command}",
    ),
)
_PLANNED = (
    (r"starts from the published weights (?P<name>`[^`]+`)", "从公开权重 {name} 开始"),
    (r"starts from (?P<what>\S+) \((?P<told>[^)]+)\)", "从 {what}（{told}）开始"),
    (r"starts from (?P<what>\S+)", "从 {what} 开始"),
    (
        r"no pre-training of (?P<method>\S+) \((?P<preset>[^)]*)\) is finished",
        "{method}（{preset}）尚无完成的预训练",
    ),
    (r"is there already", "已存在"),
    (r"by its own step times", "按其自身的步速估计"),
)
_COSTS = (
    (r"assumed to be like (?P<method>\S+): (?P<said>.+)", "假设与 {method} 相同：{said}"),
    (r"measured in (?P<runs>.+), of the recipe", "据 {runs} 实测，同一配方"),
    (
        r"measured in (?P<runs>.+), of the recipe, not finished yet",
        "据 {runs} 实测，同一配方，尚未完成",
    ),
    (
        r"time of a step from (?P<runs>.+) \((?P<ratios>[^)]*)\), number of steps from (?P<run>.+)",
        "每步耗时据 {runs}（{ratios}），步数据 {run}",
    ),
    (r"will take about (?P<size>[\d.]+ \w+) of disk", "约需磁盘 {size}"),
    (r"what waits or runs already (?P<size>[\d.]+ \w+)", "排队和运行中的另需 {size}"),
    (r"and (?P<n>\d+) unknown", "另有 {n} 个未知"),
    (
        r"not shown: (?P<name>`[^`]+`) is restricted; (?P<option>`[^`]+`) shows them",
        "未显示：{name} 受限；{option} 可显示",
    ),
    (r"there is no config\.json of (?P<run>\w+)", "{run} 没有 config.json"),
)
_LACKING = (
    (
        r"(?P<tasks>.+) of (?P<method>\S+) \((?P<n>\d+) runs?\): (?P<said>.+)",
        "{method} 的 {tasks}（{n} 个运行）：{said}",
    ),
    (
        r"(?P<tasks>.+) of (?P<m>\d+) methods \((?P<n>\d+) runs?\): (?P<said>.+)",
        "{m} 个方法的 {tasks}（{n} 个运行）：{said}",
    ),
    (r"(?P<what>`[^`]+`) is not in cxrlab\.toml", "cxrlab.toml 中没有 {what}"),
    (
        r"(?P<file>\S*cxrlab\.toml) does not say where (?P<data>`[^`]+`) lies, which (?P<task>\S+) needs",
        "{file} 未写明 {data} 的位置，而 {task} 需要它",
    ),
    (r"add (?P<head>`[^`]+`) with (?P<root>`[^`]+`)", "请加入 {head} 和 {root}"),
)
_MACHINE = (
    (r"(?P<version>\S+) at (?P<path>/.+)", "{version}，位于 {path}"),
    (r"importing it took more than (?P<time>\d+ s)", "导入超过 {time}"),
    (r"not installed: (?P<names>.+)", "未安装：{names}"),
    (r"a build without CUDA", "无 CUDA 的版本"),
    (r"sees no GPU", "看不到显卡"),
    (r"sees (?P<n>\d+) GPUs?", "可见 {n} 块显卡"),
    (r"(?P<n>\d+) cores?", "{n} 个核心"),
    (r"(?P<n>\d+) runs? at once", "同时 {n} 个运行"),
    (r"(?P<n>\d+) threads? each", "各 {n} 个线程"),
    (r"(?P<n>\d+) threads? each: more than there are", "各 {n} 个线程：超过现有核心数"),
    (r"unknown: (?P<said>.+)", "未知：{said}"),
    (r"runs that want one wait", "需要显卡的运行等待"),
    (r"others go on", "其余继续"),
    (r"runs use the CPU", "运行使用 CPU"),
    (r"(?P<n>\d+) in MIG mode and left alone", "{n} 块处于 MIG 模式，不使用"),
    (r"there is none here", "这里没有"),
    (r"(?P<size>[\d.]+ \w+) free at (?P<path>.+)", "{path} 剩余 {size}"),
    (r"(?P<path>/.+) lies on (?P<kind>\S+), which it must not", "{path} 位于 {kind} 上，不应如此"),
    (r"(?P<n>[\d,]+) runs?, writable, on (?P<kind>.+)", "{n} 个运行，可写，位于 {kind}"),
    (r"the lab does not say where it lies", "实验室未写明其位置"),
    (r"(?P<path>/.+) is no folder", "{path} 不是文件夹"),
    (r"every baseline's are in (?P<path>.+)", "所有基线的权重都在 {path}"),
    (
        r"not there, and needed by these baselines alone: (?P<names>.+)",
        "不存在，仅这些基线需要：{names}",
    ),
    (r"lives, pid (?P<pid>\d+)", "在运行，进程号 {pid}"),
    (r"none lives; nothing waits", "未运行；没有等待中的运行"),
    (r"none lives, and (?P<n>\d+) runs? would be started", "未运行，而有 {n} 个运行待启动"),
    (
        r"write (?P<head>`[^`]+`) and (?P<root>`[^`]+`) into (?P<file>.+)",
        "在 {file} 中写入 {head} 和 {root}",
    ),
    (r"set (?P<setting>`[^`]+`) in (?P<file>.+)", "在 {file} 中设置 {setting}"),
    (r"install the driver of the GPU, if there is one", "若有显卡，请安装其驱动"),
    (r"no NVIDIA driver is installed", "未安装 NVIDIA 驱动"),
    (r"the NVIDIA driver is not loaded", "NVIDIA 驱动未加载"),
    (r"the GPUs cannot be read: (?P<what>.+)", "无法读取显卡：{what}"),
    (r"the driver does not answer within (?P<time>[\d.]+ s)", "驱动在 {time} 内无响应"),
    (
        r"the driver does not answer, and its probe cannot be killed",
        "驱动无响应，探测进程无法终止",
    ),
    (r"the probe of the driver ended without an answer", "驱动探测进程未给出结果便已退出"),
    (r"the probe of the driver makes no sense", "驱动探测结果无法理解"),
)

_FILES = (
    (r"\[Errno \d+\] (?P<said>[^:]+): (?P<path>'.+')", "{said}：{path}"),
    (r"Permission denied", "没有权限"),
    (r"No such file or directory", "没有该文件或文件夹"),
    (r"No space left on device", "磁盘空间不足"),
    (r"Disk quota exceeded", "超出磁盘配额"),
    (r"Read-only file system", "文件系统只读"),
    (r"Input/output error", "读写错误"),
    (r"Stale file handle", "网络文件句柄已失效"),
    (r"File name too long", "文件名过长"),
    (r"is no plain file", "不是普通文件"),
    (r"leads out of its run folder", "指向运行文件夹之外"),
    (r"(?P<path>.+) is a folder", "{path} 是文件夹"),
    (r"(?P<path>.+): there is no folder (?P<folder>`.+`)", "{path}：没有文件夹 {folder}"),
    (r"make it first", "请先创建"),
)
"""What keeps a file from being read or written."""

_REGISTRY = (
    (
        r"another process has kept the registry busy for (?P<time>.+)",
        "另一个进程占用登记库已达 {time}",
    ),
    (
        r"(?P<file>`.+`) was written by a newer cxrlab: its schema is (?P<new>\d+), "
        r"this one knows (?P<known>\d+)",
        "{file} 由更新版本的 cxrlab 写入：其结构版本为 {new}，当前版本只认识 {known}",
    ),
    (r"cannot open the registry (?P<file>`.+`): (?P<why>.+)", "无法打开登记库 {file}：{why}"),
)

_TYPED = (
    (
        r"seeds are (?P<typed>`.*`); expected a form like `0`, `0,1,2` or `0-4`",
        "种子写作 {typed}；应如 `0`、`0,1,2` 或 `0-4`",
    ),
    (r"at most (?P<n>\d+) seeds can be launched at once", "一次至多启动 {n} 个种子"),
    (
        r"name one to (?P<n>\d+) seeds, such as `0` or `0,1,2`",
        "请写 1 至 {n} 个种子，如 `0` 或 `0,1,2`",
    ),
    (
        r"the priority is (?P<typed>`.*`); expected a whole number, higher ones start first",
        "优先级写作 {typed}；应为整数，数值高的先启动",
    ),
    (
        r"labels are (?P<typed>`.*`); expected percents like `10` or `1,10,100`",
        "标注写作 {typed}；应为百分数，如 `10` 或 `1,10,100`",
    ),
    (
        r"nodes are (?P<typed>`.*`); expected a whole number from 1 on",
        "节点写作 {typed}；应为不小于 1 的整数",
    ),
    (r"this machine is one node", "本机只有一个节点"),
    (r"the backend `slurm` has more", "后端 `slurm` 有多个节点"),
    (
        r"the memory is (?P<typed>`.*`); expected GiB of each GPU, such as `22`",
        "显存写作 {typed}；应为每块显卡的 GiB 数，如 `22`",
    ),
    (r"settings are (?P<typed>`.*`); a quotation mark is open", "参数为 {typed}；引号未闭合"),
    (r"(?P<typed>`.*`) sets nothing", "{typed} 没有设置任何值"),
    (r"write `KEY=VALUE`, with blanks between them", "请写成 `KEY=VALUE`，以空格分隔"),
    (r"(?P<typed>`.*`) is no tag", "{typed} 不能作标签"),
    (r"a sign alone is no tag", "只有符号，没有标签"),
    (
        r"a word of up to 64 letters, such as `baseline` or `v2`",
        "至多 64 个字母的词，如 `baseline` 或 `v2`",
    ),
)
"""What is wrong with what was typed into a form."""

SENTENCES: tuple[tuple[str, str], ...] = (
    *_WAITING,
    *_RUNNING,
    *_ENDED,
    *_JOBS,
    *_ADVICE,
    *_PLANNED,
    *_COSTS,
    *_LACKING,
    *_MACHINE,
    *_FILES,
    *_TYPED,
    *_REGISTRY,
)
