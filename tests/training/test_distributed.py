import pytest
import torch
from monai.data import DataLoader

from breastkit.errors import BreastkitError
from breastkit.training import SharedBatches, SharedLoader, distributed, start_processes


def batches_of(monkeypatch, length, batch_size, processes, *, epoch=0, shuffle=True):
    """Returns the batches of every process."""
    monkeypatch.setattr(distributed.idist, "get_world_size", lambda: processes)
    found = []
    for number in range(processes):
        monkeypatch.setattr(distributed.idist, "get_rank", lambda number=number: number)
        sampler = SharedBatches(range(length), batch_size=batch_size, shuffle=shuffle, seed=4)
        sampler.set_epoch(epoch)
        found.append(list(sampler))
        assert len(sampler) == len(found[-1])
    return found


@pytest.mark.parametrize("length", [3, 7, 8, 9, 16, 17, 33])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_item_once_in_as_many_steps(monkeypatch, length, processes):
    shares = batches_of(monkeypatch, length, 8, processes)
    assert sorted(item for share in shares for batch in share for item in batch) == list(range(length))
    assert len({len(share) for share in shares}) == 1
    assert all(batch for share in shares for batch in share)


def test_a_step_sees_the_same_items_with_any_number_of_processes(monkeypatch):
    (alone,) = batches_of(monkeypatch, 33, 8, 1)
    shares = batches_of(monkeypatch, 33, 8, 2)
    together = [sorted(first + second) for first, second in zip(*shares, strict=True)]
    assert together[:3] == [sorted(batch) for batch in alone[:3]]


def test_order_depends_on_the_epoch_alone(monkeypatch):
    first, again, second = (batches_of(monkeypatch, 20, 5, 1, epoch=epoch) for epoch in (1, 1, 2))
    assert first == again
    assert first != second
    (plain,) = batches_of(monkeypatch, 6, 4, 1, shuffle=False)
    assert plain == [[0, 1, 2, 3], [4, 5]]


def test_too_few_items_are_one_sentence(monkeypatch):
    with pytest.raises(BreastkitError, match="3 slices in batches of 8 cannot be shared by 4 processes"):
        batches_of(monkeypatch, 3, 8, 4)


def test_without_torchrun_is_one_sentence(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(BreastkitError, match="needs torchrun"):
        start_processes()


def test_a_loader_alone_is_torchs_and_among_others_gives_its_share(monkeypatch):
    torch.manual_seed(0)
    alone = [batch.tolist() for batch in SharedLoader(range(9), batch_size=4, shuffle=True)]
    torch.manual_seed(0)
    plain = [batch.tolist() for batch in DataLoader(range(9), batch_size=4, shuffle=True)]
    assert alone == plain
    monkeypatch.setattr(distributed.idist, "get_world_size", lambda: 2)
    monkeypatch.setattr(distributed.idist, "get_rank", lambda: 1)
    share = [batch.tolist() for batch in SharedLoader(range(9), batch_size=4, shuffle=True, seed=4)]
    assert share == list(SharedBatches(range(9), batch_size=4, shuffle=True, seed=4))
