"""Models and tokenizers made from nothing: no file and no network is needed."""

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast


WORDS = [f"word{index}" for index in range(60)]
_SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
_CHAT_TEMPLATE = "{% for m in messages %}{{ m['content'] }} </s> {% endfor %}"


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: index for index, word in enumerate(_SPECIAL + WORDS)}
    model = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = dict(pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    return PreTrainedTokenizerFast(tokenizer_object=model, chat_template=_CHAT_TEMPLATE, **special)


def config(**fields) -> LlamaConfig:
    defaults = dict(
        vocab_size=len(_SPECIAL) + len(WORDS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaConfig(**{**defaults, **fields})


def causal_lm() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(config())


def reward_model() -> LlamaForSequenceClassification:
    torch.manual_seed(0)
    return LlamaForSequenceClassification(config(num_labels=1))


def sentence(index: int, length: int = 8) -> str:
    return " ".join(WORDS[(index * 7 + place * 3) % len(WORDS)] for place in range(length))


def forget(model: torch.nn.Module) -> None:
    """Zero all weights that are trained: whatever a training gets right afterwards, it has from a checkpoint."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.zero_()
