"""What a snapshot copies, and what it leaves to be written at once."""

import os
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import load_file, save_file

from transformers_buckets.saving.snapshot import Buffers, Snapshot, fixed, tensors_in


class Subclass(torch.Tensor):
    pass


def with_attribute():
    tensor = torch.ones(2)
    tensor.scale = torch.ones(1)
    return tensor


def dictionary_with_attribute(value):
    dictionary = OrderedDict()
    dictionary._metadata = value
    return dictionary


@pytest.mark.parametrize(
    "content",
    [
        torch.ones(2).as_subclass(Subclass),
        torch.ones(2).to_sparse(),
        torch.ones(2, device="meta"),
        torch.ones(2, dtype=torch.complex64).conj(),
        with_attribute(),
        {"state": [torch.ones(2), object()]},
        dictionary_with_attribute(object()),
    ],
    ids=["subclass", "sparse", "meta", "a view of another kind", "attribute", "object", "attribute of a dictionary"],
)
def test_what_may_refer_to_something_live_is_no_content(content):
    assert tensors_in(content) is None


def test_a_copy_is_saved_byte_for_byte_as_the_original(tmp_path):
    whole = torch.arange(24.0).reshape(4, 6)
    content = OrderedDict(
        whole=whole,
        part=whole[1:3, ::2],
        bfloat=whole.to(torch.bfloat16),
        nothing=torch.empty(0),
        parameter=torch.nn.Parameter(whole.clone()),
        numbers=[1, 2.0, (None, True, "text", torch.float16)],
    )
    content._metadata = {"version": 1}
    copied = fixed(content, tensors_in(content), Buffers())

    (tmp_path / "a").mkdir()
    torch.save(content, tmp_path / "a" / "state.pt")
    (tmp_path / "b").mkdir()
    torch.save(copied, tmp_path / "b" / "state.pt")
    assert (tmp_path / "a" / "state.pt").read_bytes() == (tmp_path / "b" / "state.pt").read_bytes()

    whole.zero_()
    assert copied["whole"].sum() == copied["parameter"].sum() == 276
    assert copied["part"].untyped_storage().data_ptr() == copied["whole"].untyped_storage().data_ptr()


def test_memory_is_used_again_and_what_nobody_needs_is_given_back():
    buffers = Buffers()

    def pointers(*sizes):
        buffers.renew()
        contents = [torch.ones(size) for size in sizes]
        copies = fixed(contents, contents, buffers)
        buffers.settle()
        return [copied.data_ptr() for copied in copies], len(buffers._taken)

    first, _ = pointers(1000, 2000)
    again, _ = pointers(2000, 1000)
    assert set(first) == set(again)
    _, kept = pointers(1000)
    assert kept == 1


def test_only_what_this_save_writes_is_fixed(tmp_path):
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir(), outside.mkdir()
    weights = torch.ones(3)
    snapshot = Snapshot(Buffers())
    before = torch.save
    with snapshot.fixing(inside):
        torch.save({"weights": weights}, inside / "state.pt")
        torch.save({"weights": weights}, outside / "state.pt")
        torch.save(obj={"weights": weights}, f=inside / "by_name.pt")
        with open(inside / "stream.pt", "wb") as stream:
            torch.save({"weights": weights}, stream)
    save_file({"weights": weights}, inside / "after.safetensors")
    weights.zero_()

    assert torch.save is before
    assert sorted(os.listdir(inside)) == ["after.safetensors", "by_name.pt", "stream.pt"]
    assert os.listdir(outside) == ["state.pt"]
    snapshot.write()
    assert torch.load(inside / "state.pt")["weights"].sum() == 3
    assert load_file(inside / "after.safetensors")["weights"].sum() == 3


def test_the_last_one_to_write_a_file_wins(tmp_path):
    snapshot = Snapshot(Buffers())
    with snapshot.fixing(tmp_path):
        torch.save({"weights": torch.ones(3)}, tmp_path / "state.pt")
        torch.save({"weights": torch.ones(3).as_subclass(Subclass)}, tmp_path / "state.pt")
    written = (tmp_path / "state.pt").read_bytes()
    snapshot.write()

    assert (tmp_path / "state.pt").read_bytes() == written
