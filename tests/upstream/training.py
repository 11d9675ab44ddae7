"""A training with `transformers.Trainer` itself, in this process or in one of its own that is made to be killed.

`python -m tests.upstream.training <one of its functions> <arguments>`
"""

import os
import signal
import sys
import time

import transformers

from tests.hub.callbacks import At
from tests.hub.contents import committed
from tests.training import same_weights, tiny_dataset, tiny_model


def trainer_of(output_dir, callbacks=None, **arguments) -> transformers.Trainer:
    defaults = dict(max_steps=6, save_steps=2, per_device_train_batch_size=4, report_to=[], disable_tqdm=True)
    eval_dataset = tiny_dataset(8) if "eval_strategy" in arguments else None
    arguments = {**defaults, "push_to_bucket": True, "use_cpu": True, **arguments}
    return transformers.Trainer(
        model=tiny_model(),
        args=transformers.TrainingArguments(output_dir=str(output_dir), **arguments),
        train_dataset=tiny_dataset(),
        eval_dataset=eval_dataset,
        callbacks=callbacks,
    )


def train_until_killed(output_dir: str, bucket_id: str, step: str) -> None:
    def die(state) -> None:
        if state.global_step == int(step):
            while not committed(bucket_id):  # there shall be something to resume from
                time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGKILL)

    trainer_of(output_dir, callbacks=[At(on_step_end=die)], bucket_id=bucket_id).train()


def resume_and_compare(output_dir: str, bucket_id: str, checkpoint: str = "") -> None:
    resumed = trainer_of(output_dir, bucket_id=bucket_id)
    resumed.train(resume_from_checkpoint=f"hf://buckets/{bucket_id}/{checkpoint}")
    whole = trainer_of(f"{output_dir}-whole", push_to_bucket=False, save_strategy="no")
    whole.train()
    told = "same weights" if same_weights(resumed.model, whole.model) else "other weights"
    print(f"\n{told}\n", end="")  # in one piece: another rank may tell the same at this moment


def train(output_dir: str, bucket_id: str) -> None:
    trainer_of(output_dir, bucket_id=bucket_id).train()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
