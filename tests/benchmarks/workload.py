"""What is trained and what is pushed: a Llama of any size on random tokens, and checkpoints nobody has seen before."""

import math
import shutil
import sysconfig
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM


_VOCABULARY = 2048
_TOKENS = 32


def model_of(parameters: float, seed: int) -> LlamaForCausalLM:
    """A Llama of about so many parameters: up to about eight layers, as wide as that takes."""
    width = max(64, 64 * round(math.sqrt(parameters / (8 * 12)) / 64))
    layers = max(1, round((parameters - 2 * _VOCABULARY * width) / (12 * width**2)))
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=_VOCABULARY,
            hidden_size=width,
            intermediate_size=round(width * 8 / 3),
            num_hidden_layers=layers,
            num_attention_heads=width // 32,
            num_key_value_heads=width // 32,
            max_position_embeddings=_TOKENS,
        )
    )


class RandomTokens(torch.utils.data.Dataset):
    """Rows of random tokens, enough for any training here."""

    def __len__(self) -> int:
        return 100_000

    def __getitem__(self, index: int) -> dict:
        row = torch.randint(0, _VOCABULARY, (_TOKENS,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": row, "labels": row}


def text_rows(count: int) -> list[dict]:
    """Rows of bytes of Python's standard library: something that can be learned."""
    text = b""
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        text += file.read_bytes()
        if len(text) >= count * _TOKENS:
            break
    rows = torch.frombuffer(bytearray(text[: count * _TOKENS]), dtype=torch.uint8).long().view(-1, _TOKENS)
    return [{"input_ids": row, "labels": row} for row in rows]


def fresh_copy(checkpoint: Path, target: Path) -> Path:
    """
    A checkpoint of the same files and sizes whose tensors nobody has stored yet: deduplication finds nothing in it.

    The lower half of every float32 changes, so that the numbers still look like weights and compress as such.
    """
    noise = np.random.default_rng().integers(1, 2**16, 2**20, dtype=np.uint32)
    shutil.copytree(checkpoint, target)
    for file in target.rglob("*"):
        if file.is_file() and file.stat().st_size > 100_000:
            words = np.memmap(file, dtype=np.uint32, mode="r+", shape=file.stat().st_size // 4)
            content = words[2**12 : -(2**12)]  # what says where tensors are stays
            for start in range(0, len(content), len(noise)):
                part = content[start : start + len(noise)]
                part ^= noise[: len(part)]
            words.flush()
    return target


def size_of(folder: Path) -> int:
    """Bytes of the files below a folder; links to the same content count once, as they do on the disk."""
    stats = {}
    for file in folder.rglob("*"):
        try:
            stat = file.lstat()
        except FileNotFoundError:  # a push that ends meanwhile
            continue
        stats[stat.st_ino] = stat.st_size if file.is_file() else 0
    return sum(stats.values())
