"""A launch line tells its program, its options and what they come to."""

from __future__ import annotations

import pytest

from cxrlab.imports.launch_line import read_launch_lines

NOTEBOOK = """
CUDA_VISIBLE_DEVICES=0 OMP_NUM_THREADS=1 python -m torch.distributed.launch --nproc_per_node=1 \
--master_port 12345 pretrain.py \\
    --accum_iter 2 \\
    --batch_size 64 \\
    --model mrm \\
    --norm_pix_loss \\
    --blr 3e-4 --weight_decay 0.05 \\
    --output_dir ./work_dir/ \\
"""


def test_the_notebooks_own_line_comes_to_128_images_an_update() -> None:
    (line,) = read_launch_lines(NOTEBOOK)
    assert line.environment == {"CUDA_VISIBLE_DEVICES": "0", "OMP_NUM_THREADS": "1"}
    assert (line.program, line.launcher["master_port"]) == ("pretrain.py", "12345")
    assert line.options["norm_pix_loss"] == ""
    assert line.options["output_dir"] == "./work_dir/"
    assert (line.batch_size, line.accum_iter, line.processes) == (64, 2, 1)
    assert line.effective_batch == 64 * 2 * 1
    assert line.lr == pytest.approx(3e-4 * 128 / 256)
    assert line.told() == (
        "mrm, effective batch 128 = 64 x 2 accumulated x 1 process, learning rate 0.00015"
    )


@pytest.mark.parametrize(
    ("text", "program", "batch"),
    [
        ("torchrun --standalone --nproc-per-node 4 -m trainers.pretrain --batch-size 8",
         "trainers.pretrain", 32),
        ("python -m torch.distributed.run --nnodes=2 --nproc_per_node=8 a.py --batch_size=2",
         "a.py", 32),
        ("$ python3.11 -u train.py --batch_size 16 --accum_iter 4  # on one card", "train.py", 64),
        ("/usr/bin/python x/train.py --accum_iter 4", "x/train.py", None),
    ],
)  # fmt: skip
def test_processes_multiply_however_they_are_started(text, program, batch) -> None:
    (line,) = read_launch_lines(text)
    assert (line.program, line.effective_batch) == (program, batch)


def test_a_learning_rate_that_is_given_is_not_scaled() -> None:
    (line,) = read_launch_lines("python a.py --lr 1e-3 --blr 5e-4 --batch_size 64")
    assert line.lr == 1e-3


def test_a_line_that_does_not_tell_its_batch_says_so() -> None:
    (line,) = read_launch_lines("python a.py --batch_size many --blr x")
    assert (line.effective_batch, line.lr) == (None, None)
    assert "not told" in line.told()


@pytest.mark.parametrize(
    "text", ["", "ls -l", "python", "A=1", "python 'never closed", "# python a"]
)
def test_other_lines_are_left_out(text: str) -> None:
    assert read_launch_lines(text) == []
