"""How a training begins: its bucket is opened, its run taken over, and the checkpoint that it goes on from is brought."""

import torch
import transformers

from .bucket.address import is_bucket_address
from .bucket.patience import TIMEOUT
from .project import project_of
from .restore import bring, check_share
from .run_of_flags import bucket_address, naming_the_flags
from .saving.memory_folder import MemoryFolder
from .trainer_bucket import TrainerBucket
from .world_size import check_world_size, reads_own


def open_for(args) -> TrainerBucket:
    """
    Open the bucket that the arguments of a training name. All ranks must call this.

    Args:
        args ([`~transformers.TrainingArguments`]):
            The arguments. Those that only some classes have may be missing.

    Raises:
        [`BucketAddressError`]: If they cannot name a bucket.
        [`BucketAccessError`]: If it cannot be created or written to, with the reason and the way out.
    """
    with naming_the_flags():
        return TrainerBucket(
            bucket_address(args),
            args.output_dir,
            token=args.hub_token,
            private=args.hub_private_repo,
            keep_all=args.hub_always_push,
            total_limit=getattr(args, "bucket_total_limit", None),
            include=getattr(args, "bucket_include", None) or (),
            timeout=getattr(args, "bucket_timeout", TIMEOUT),
            show_progress=not args.disable_tqdm,
            versions={"transformers": transformers.__version__, "torch": torch.__version__},
        )


def begin(
    trainer,
    bucket: TrainerBucket | None,
    resume_from_checkpoint: str | bool | None,
    memory: MemoryFolder | None = None,
) -> str | bool | None:
    """
    Take the run over and bring the checkpoint that a training goes on from. All ranks must call this.

    Args:
        trainer ([`~transformers.Trainer`]):
            The trainer.
        bucket ([`TrainerBucket`], *optional*):
            Its run; `None` if it does not push to a bucket.
        resume_from_checkpoint (`str` or `bool`, *optional*):
            What the user asked for.
        memory ([`~saving.memory_folder.MemoryFolder`], *optional*):
            Where it is brought to instead of local disk.

    Returns:
        `str` or `bool`, *optional*: A local path, the same on all ranks; what is none of ours comes back as it is.

    Raises:
        [`BucketError`]: If there is no such checkpoint, it cannot be had whole, or the run is that of another project.
    """
    args = trainer.args
    if bucket is None:
        if resume_from_checkpoint != "auto" and not is_bucket_address(resume_from_checkpoint):
            return resume_from_checkpoint
        folder, with_best = args.output_dir, args.load_best_model_at_end
        source = bring(resume_from_checkpoint, None, folder, args.hub_token, with_best, reads_own(trainer))
        checkpoint = source and source.path(folder)
        check_world_size(trainer, checkpoint)
        return checkpoint
    bucket.take_over(
        resume_from_checkpoint,
        None if trainer.model is None else project_of(trainer.model),
        only_own_project=getattr(args, "bucket_id", None) is None,
    )
    try:
        with_best = args.load_best_model_at_end
        checkpoint = bucket.fetch(resume_from_checkpoint, with_best, reads_own(trainer), memory)
        check_world_size(trainer, checkpoint)
        check_share(checkpoint)
    except BaseException as error:
        bucket.finish_after(error)
        raise
    return checkpoint
