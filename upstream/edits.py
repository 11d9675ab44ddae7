"""The edits in existing files of transformers, as data: where, and what."""

from dataclasses import dataclass
from textwrap import dedent


MAX_ANCHOR = 80


@dataclass(frozen=True)
class Edit:
    """
    One edit, located by syntax.

    Args:
        file (`str`):
            Path below the folder of transformers.
        scope (`str`):
            Where the statement is: `Trainer.train`; `""` for the module, `TrainingArguments.__doc__` for lines of a docstring.
        anchor (`str`):
            How the statement begins, at most 80 characters. There is exactly one such statement in the scope.
        before, after, replace (`str`, *optional*):
            What goes before the statement, after it, or in the place of the anchor. Indented as the statement is.
    """

    file: str
    scope: str
    anchor: str
    before: str = ""
    after: str = ""
    replace: str = ""

    def __post_init__(self):
        if len(self.anchor) > MAX_ANCHOR:
            raise ValueError(f"The anchor {self.anchor!r} has more than {MAX_ANCHOR} characters.")
        for name in ("before", "after", "replace"):
            object.__setattr__(self, name, dedent(getattr(self, name)).strip("\n"))


TRAINER, ARGUMENTS = "trainer.py", "training_args.py"

EDITS = (
    # ---- The flags ----
    Edit(
        ARGUMENTS,
        "TrainingArguments.__doc__",
        "> Best Model Tracking",
        before="""
        push_to_bucket (`bool`, *optional*, defaults to `False`):
            Whether to push every checkpoint to an HF Storage Bucket when it is saved, in the background. Independent of
            `push_to_hub` and `hub_strategy`. To resume on any machine, pass `"hf://buckets/namespace/name"` as
            `resume_from_checkpoint`.
        bucket_id (`str`, *optional*):
            The bucket: `name`, `namespace/name` or `namespace/name/prefix`; created if there is none. Defaults to
            `hub_model_id`, then to the last component of `output_dir`.
        \0
        """,
    ),
    Edit(
        ARGUMENTS,
        "TrainingArguments",
        "hub_revision: str | None = field(",
        after="""
        push_to_bucket: bool = field(
            default=False,
            metadata={"help": "Whether to push every checkpoint to an HF Storage Bucket when it is saved."},
        )
        bucket_id: str | None = field(
            default=None,
            metadata={
                "help": "The bucket: 'name', 'namespace/name' or 'namespace/name/prefix'. Defaults to `hub_model_id`, then to "
                "the last component of `output_dir`."
            },
        )
        """,
    ),
    # ---- The trainer: when things happen ----
    Edit(
        TRAINER,
        "",
        "from .integrations.deepspeed import (",
        before="from .integrations import hf_buckets",
    ),
    Edit(
        TRAINER,
        "Trainer.__init__",
        "if self.args.push_to_hub:",
        after="""
        self._hf_bucket = None  # Set by init_bucket() when push_to_bucket is enabled
        if self.args.push_to_bucket:
            self.init_bucket()
        """,
    ),
    Edit(
        TRAINER,
        "Trainer.train",
        "if isinstance(resume_from_checkpoint, bool) and resume_from_checkpoint:",
        before="resume_from_checkpoint = hf_buckets.begin(self, self._hf_bucket, resume_from_checkpoint)",
    ),
    Edit(
        TRAINER,
        "Trainer.train",
        "with ctx:",
        replace="with ctx, hf_buckets.until_landed(self._hf_bucket):",
    ),
    Edit(
        TRAINER,
        "Trainer._init_training_state",
        "self.state = TrainerState.load_from_json(",
        after="""
        if self._hf_bucket is not None and resume_from_checkpoint == self._hf_bucket.pulled:
            run_dir = self._get_output_dir(trial)
            self.state.best_model_checkpoint = hf_buckets.best_folder(resume_from_checkpoint, run_dir)
        """,
    ),
    Edit(
        TRAINER,
        "Trainer._maybe_log_save_evaluate",
        "self.control = self.callback_handler.on_save(",
        after="""
        if self._hf_bucket is not None:
            self.accelerator.wait_for_everyone()  # callbacks may have added files
            self._hf_bucket.seal()
        """,
    ),
    Edit(
        TRAINER,
        "Trainer._save_checkpoint",
        "self.save_model(output_dir, _internal_call=True)",
        before="""
        if self._hf_bucket is not None:
            self._hf_bucket.before_save(output_dir)
            self.accelerator.wait_for_everyone()
        """,
    ),
    Edit(
        TRAINER,
        "Trainer._save_checkpoint",
        "if self.args.push_to_hub:",
        replace="""
        if self._hf_bucket is not None:
            self._push_checkpoint_to_bucket(output_dir)
        elif self.args.push_to_hub:
        """,
    ),
    Edit(
        TRAINER,
        "Trainer.save_model",
        "if self.args.push_to_hub and not _internal_call:",
        after="""
        if self._hf_bucket is not None and not _internal_call:
            self.push_to_bucket(blocking=not self.is_in_train)
        """,
    ),
    # ---- The trainer: what can be asked for ----
    Edit(
        TRAINER,
        "Trainer",
        "def _finish_current_push(",
        before='''
        def init_bucket(self) -> None:
            """Create the bucket of this run if there is none, and make sure that it can be written to."""
            self.args.output_dir = os.path.abspath(self.args.output_dir)
            self._hf_bucket = hf_buckets.open_for(self.args)

        @property
        def _bucket_id(self) -> str | None:
            return None if self._hf_bucket is None else self._hf_bucket.bucket_id

        def push_to_bucket(self, blocking: bool = True, **kwargs) -> None:
            """
            Upload the model, the processing class and the model card to the bucket, beside the checkpoints.

            Args:
                blocking (`bool`, *optional*, defaults to `True`):
                    Whether to return only when everything has landed, checkpoints that wait included.
                kwargs (`dict[str, Any]`, *optional*):
                    Passed along to [`~Trainer.create_model_card`].
            """
            if self._hf_bucket is None:
                self.init_bucket()
            self.callback_handler.on_push_begin(self.args, self.state, self.control)
            self.save_model(_internal_call=True)
            if self.is_world_process_zero():
                self.create_model_card(model_name=kwargs.pop("model_name", Path(self._bucket_id).name), **kwargs)
                self._hf_bucket.push_model()
                if blocking:
                    self._hf_bucket.wait_alone()

        def _push_checkpoint_to_bucket(self, checkpoint_folder: str) -> None:
            """Push to the model repo as `push_to_hub` and `hub_strategy` say, then the checkpoint to the bucket."""

            def push_to_repo(folder: str) -> list:
                if not self.args.push_to_hub:
                    self.callback_handler.on_push_begin(self.args, self.state, self.control)
                    return []
                self._push_from_checkpoint(folder)
                return list(self.push_in_progress.jobs) if self.push_in_progress is not None else []

            self.accelerator.wait_for_everyone()  # every rank writes files of its own
            best_step = self.state.best_global_step
            best = f"{PREFIX_CHECKPOINT_DIR}-{best_step}" if best_step else None
            only_model, world_size = self.args.save_only_model, self.args.world_size
            self._hf_bucket.push(checkpoint_folder, world_size, best, only_model, push_to_repo, may_change=True)
        \0
        ''',
    ),
    Edit(
        TRAINER,
        "Trainer._finish_current_push",
        'if not hasattr(self, "push_in_progress"):',
        before="""
        if self._hf_bucket is not None and not self.is_in_train:
            self._hf_bucket.wait_alone()
        """,
    ),
)
