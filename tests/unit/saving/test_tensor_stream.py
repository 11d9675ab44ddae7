"""Weights in a stream are those that safetensors writes into a file, byte for byte."""

import io

import pytest
import torch
from safetensors.torch import save_file

from transformers_buckets.saving.tensor_stream import save_tensors


TYPES = (
    *(torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_as_in_a_file(tmp_path, metadata):
    tensors = {f'layer "{number}" ü': (torch.rand(3, number) * 100).to(kind) for number, kind in enumerate(TYPES)}
    tensors["scalar"], tensors["parameter"] = torch.tensor(1.5), torch.nn.Parameter(torch.rand(2, 2))
    save_file(tensors, tmp_path / "model.safetensors", metadata=metadata)
    stream = io.BytesIO()
    save_tensors(tensors, stream, metadata=metadata)

    assert stream.getvalue() == (tmp_path / "model.safetensors").read_bytes()


def test_types_of_less_than_a_byte(tmp_path):
    tensors = {"packed": torch.zeros(4, 2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}
    save_file(tensors, tmp_path / "model.safetensors")
    stream = io.BytesIO()
    save_tensors(tensors, stream)

    assert stream.getvalue() == (tmp_path / "model.safetensors").read_bytes()
