"""The flags: what a user sets to make a training run live in a bucket."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import transformers
from transformers.training_args import HubStrategy

from .bucket.errors import BucketError
from .bucket.hub_client import require_client
from .bucket.patience import TIMEOUT
from .run_of_flags import bucket_address, naming_the_flags


_TransformersArguments = transformers.TrainingArguments  # as it is now: `run` puts ours in its place
_pushed: list[_TransformersArguments] = []  # what is in training now, with a trainer that can push


@dataclass
class BucketArguments:
    """
    The flags for buckets, to be mixed into any subclass of [`~transformers.TrainingArguments`], in front of it.

    Args:
        push_to_bucket (`bool`, *optional*, defaults to `False`):
            Whether to push every checkpoint to an HF Storage Bucket when it is saved, and the model with it. Independent
            of `push_to_hub` and `hub_strategy`.
        bucket_id (`str`, *optional*):
            The bucket: `name`, `namespace/name`, `namespace/name/prefix` or `hf://buckets/...`. Several runs can share a
            bucket, each under its prefix. Defaults to `hub_model_id` if that is set, else to the last component of
            `output_dir`. Created if there is none, with `hub_token` and `hub_private_repo`.
        bucket_total_limit (`int`, *optional*):
            How many checkpoints stay in the bucket. The newest and the best always stay. `None` keeps all.
            `save_total_limit` is about local disk only.
        bucket_include (`list[str]`, *optional*):
            Shell patterns of files in `output_dir`, such as `"plots/*.png"`, that go to the root of the run besides what a
            training makes: model, tokenizer, model card, logs and results. Hidden files, environments and keys never do.
        bucket_timeout (`float`, *optional*, defaults to 600):
            Seconds without progress after which a call to the Hub is given up, and after which the wait at the end of
            training is. What was not pushed stays on local disk. With `async_save` and FSDP, a rank that writes nothing for so
            long is given up.
        async_save (`bool`, *optional*, defaults to `False`):
            Whether training goes on as soon as a checkpoint is copied in memory, while a thread writes its files. Takes
            memory for one more copy of model and optimizer, or of a rank's shards of them, two if saves follow faster than the
            disk. Needs `push_to_bucket`; where it is not possible (DeepSpeed, FSDP 1, several disks, `save_on_each_node`, a
            Trainer or a model that saves in its own way) checkpoints are saved as usual, and one line says so.
        keep_local (`bool`, *optional*, defaults to `True`):
            Whether checkpoints stay on local disk, too. With `False` they touch no disk: as with `async_save` they are copied
            in memory, go to the bucket from there, and come back through memory. Takes memory for two copies of model and
            optimizer; a save that finds both in use takes the place of the one that waits. Needs `push_to_bucket`; where it
            is not possible checkpoints are saved to local disk, and one line says so.

    Raises:
        [`BucketAddressError`]: If `push_to_bucket` is set and `bucket_id` cannot name a bucket.
        [`BucketAccessError`]: If `push_to_bucket` is set and hf_xet is missing or HF_HUB_OFFLINE is set.

    Example:

    ```python
    from dataclasses import dataclass

    from trl import SFTConfig
    from transformers_buckets import BucketArguments

    @dataclass
    class BucketSFTConfig(BucketArguments, SFTConfig):
        pass
    ```
    """

    push_to_bucket: bool = field(
        default=False,
        metadata={
            "help": "Whether to push every checkpoint to an HF Storage Bucket when it is saved. Independent of "
            "`push_to_hub` and `hub_strategy`."
        },
    )
    bucket_id: str | None = field(
        default=None,
        metadata={
            "help": "The bucket: 'name', 'namespace/name', 'namespace/name/prefix' or 'hf://buckets/...'. Defaults to "
            "`hub_model_id`, then to the last component of `output_dir`."
        },
    )
    bucket_total_limit: int | None = field(
        default=None,
        metadata={
            "help": "How many checkpoints stay in the bucket; the newest and the best always stay. Default: all. "
            "`save_total_limit` is about local disk only."
        },
    )
    bucket_include: list[str] | None = field(
        default=None,
        metadata={
            "help": "Patterns of files in `output_dir`, such as 'plots/*.png', that go to the root of the run besides "
            "model, tokenizer, model card, logs and results."
        },
    )
    bucket_timeout: float = field(
        default=TIMEOUT,
        metadata={
            "help": "Seconds without progress after which a call to the Hub, and the wait at the end, is given up."
        },
    )
    async_save: bool = field(
        default=False,
        metadata={
            "help": "Whether training goes on as soon as a checkpoint is copied in memory, while a thread writes its "
            "files. Needs `push_to_bucket` and memory for one or two more copies of model and optimizer."
        },
    )
    keep_local: bool = field(
        default=True,
        metadata={
            "help": "Whether checkpoints stay on local disk, too. With False they go to the bucket from memory and touch no "
            "disk. Needs `push_to_bucket` and memory for two more copies of model and optimizer."
        },
    )

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # That of transformers leaves the token out. `@dataclass` would put one in its place that does not.
        cls.__repr__ = cls.__repr__
        bases = cls.__mro__
        if _TransformersArguments in bases[: bases.index(BucketArguments)]:
            others = ", ".join(base.__name__ for base in cls.__bases__ if base is not BucketArguments)
            raise TypeError(f"BucketArguments must come first: write class {cls.__name__}(BucketArguments, {others}).")

    def __post_init__(self):
        super().__post_init__()
        if not self.push_to_bucket:
            if self.async_save:
                raise ValueError("async_save=True needs push_to_bucket=True: set it, or leave async_save out.")
            if not self.keep_local:
                raise ValueError("keep_local=False needs push_to_bucket=True: set it, or leave keep_local out.")
            return
        with naming_the_flags():
            require_client()
        bucket_address(self)
        if not self.bucket_timeout > 0:
            raise ValueError(f"bucket_timeout={self.bucket_timeout}: must be more than 0 seconds.")
        if not self.keep_local and self.push_to_hub and self.hub_strategy != HubStrategy.END:
            raise ValueError(
                f"keep_local=False, but push_to_hub=True with hub_strategy={self.hub_strategy.value!r} pushes from checkpoints "
                "on local disk: set hub_strategy='end', or leave keep_local out."
            )
        if self.bucket_total_limit is not None and self.bucket_total_limit < 1:
            raise ValueError(
                f"bucket_total_limit={self.bucket_total_limit}: must be at least 1; leave it out to keep all checkpoints."
            )

    def get_warmup_steps(self, num_training_steps: int) -> int:
        # Every Trainer asks this before the first step. One that cannot push would leave the bucket empty in silence.
        if self.push_to_bucket and not any(args is self for args in _pushed):
            raise BucketError(
                "push_to_bucket=True, but this Trainer cannot push to a bucket: write from transformers_buckets import "
                "Trainer, or for another Trainer class BucketX(BucketTrainerMixin, X)."
            )
        return super().get_warmup_steps(num_training_steps)


def _of_dataclasses_only(init: Callable) -> Callable:
    @functools.wraps(init)
    def checked(self, *args, **kwargs) -> None:
        # A dataclass has an `__init__` of its own. Without the decorator, a class takes nothing but the flags for buckets.
        if isinstance(self, _TransformersArguments):
            name = type(self).__name__
            raise TypeError(f"{name} must be a dataclass: write @dataclass above class {name}.")
        init(self, *args, **kwargs)

    return checked


BucketArguments.__init__ = _of_dataclasses_only(BucketArguments.__init__)


@dataclass
class TrainingArguments(BucketArguments, transformers.TrainingArguments):
    __doc__ = transformers.TrainingArguments.__doc__ + "\n\n" + BucketArguments.__doc__


@dataclass
class Seq2SeqTrainingArguments(TrainingArguments, transformers.Seq2SeqTrainingArguments):
    __doc__ = transformers.Seq2SeqTrainingArguments.__doc__ + "\n\n" + BucketArguments.__doc__


@contextmanager
def trained_by_one_that_pushes(args: _TransformersArguments) -> Iterator[None]:
    """Make it known meanwhile that the trainer of these arguments can push. Another trainer may get the same ones later."""
    _pushed.append(args)
    try:
        yield
    finally:
        _pushed.pop()


def wants_bucket(args) -> bool:
    """Whether a training pushes to a bucket. Plain `transformers.TrainingArguments`, which lack the flag, do not."""
    return getattr(args, "push_to_bucket", False)
