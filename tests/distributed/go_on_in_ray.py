"""The same training on two workers of Ray Train, with what Ray has for transformers: its data, and its own checkpoints."""

import os

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.huggingface.transformers import RayTrainReportCallback, prepare_trainer
from ray.train.torch import TorchTrainer
from transformers import TrainerCallback

from tests.distributed.go_on import go_on


class ReportMetrics(TrainerCallback):
    """As the recipe has it."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        ray.train.report(logs)


def train_on_worker(config: dict) -> None:
    os.chdir(config["folder"])  # Ray has folders of its own for its workers
    go_on(callbacks=[ReportMetrics(), RayTrainReportCallback()], prepare=prepare_trainer)


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False)
    TorchTrainer(
        train_on_worker,
        train_loop_config={"folder": os.getcwd()},
        scaling_config=ScalingConfig(num_workers=2),
        run_config=RunConfig(
            name="run", storage_path=os.path.abspath("ray"), failure_config=FailureConfig(max_failures=1)
        ),
    ).fit()
