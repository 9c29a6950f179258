"""Batches: what is random follows from seed, epoch and index, and bad files are named."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from trainers.data.batch import Seeded, collate
from trainers.data.items import BadItem
from trainers.distributed import World
from trainers.finetune import in_order


class Noise:
    """Four items: one holds random numbers, the third cannot be read."""

    def __len__(self):
        return 4

    def item(self, index, rng):
        if index == 2:
            raise BadItem(Path("folder") / "broken.png", "cut short")
        return {"image": torch.from_numpy(rng.random(3)), "name": f"n{index}"}


def load(workers, keys):
    data = Seeded(Noise(), seed=7)
    loader = DataLoader(data, batch_size=2, sampler=keys, collate_fn=collate, num_workers=workers)
    return list(loader)


def test_an_item_is_the_same_however_many_workers_make_it():
    keys = [(1, 0), (1, 1), (1, 3), (0, 0)]
    alone, shared = load(0, keys), load(2, keys)
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one["image"], other["image"])
        assert one["name"] == other["name"]


def test_an_item_differs_by_epoch_by_index_and_by_seed():
    data = Seeded(Noise(), seed=7)
    found = [data[0, 0], data[1, 0], data[0, 1], Seeded(Noise(), seed=8)[0, 0]]
    assert len({tuple(item["image"].tolist()) for item in found}) == 4
    again = np.random.default_rng([7, 1, 0]).random(3)
    assert found[1]["image"].tolist() == again.tolist()


def test_a_bad_item_is_dropped_from_its_batch_and_listed_with_path_and_reason():
    for workers in (0, 1):
        (batch,) = load(workers, [(0, 2), (0, 3)])
        assert batch["name"] == ["n3"]
        assert batch["image"].shape == (1, 3)
        (bad,) = batch["skipped"]
        assert (bad.path, bad.reason) == (str(Path("folder/broken.png")), "cut short")


def test_a_batch_of_bad_items_alone_lists_them_and_holds_nothing_else():
    (batch,) = load(0, [(0, 2), (1, 2)])
    assert set(batch) == {"skipped"}
    assert len(batch["skipped"]) == 2


def test_a_bad_item_survives_pickling():
    bad = pickle.loads(pickle.dumps(BadItem("a b.png", "why")))
    assert str(bad) == "a b.png: why"


def test_a_bug_is_not_mistaken_for_a_bad_file():
    class Buggy(Noise):
        def item(self, index, rng):
            raise KeyError("image")

    with pytest.raises(KeyError):
        Seeded(Buggy(), seed=0)[0, 0]


class Counted:
    """Items that tell how often they have been read in this process."""

    def __init__(self):
        self.read = [0] * 10

    def __len__(self):
        return len(self.read)

    def item(self, index, rng):
        self.read[index] += 1
        return {"times": torch.tensor(self.read[index])}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_a_split_keeps_in_memory_is_there_for_the_next_validation(workers):
    loader = in_order(Counted(), batch_size=3, num_workers=workers, world=World(0, 1, 0))
    times = [[int(n) for batch in loader for n in batch["times"]] for _ in range(3)]
    assert times == [[1] * 10, [2] * 10, [3] * 10]
