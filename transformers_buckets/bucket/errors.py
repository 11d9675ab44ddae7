"""What can go wrong, by name."""


class BucketError(RuntimeError):
    """Base class of every error this package raises about buckets and the checkpoints in them."""


class BucketAddressError(BucketError, ValueError):
    """A `bucket_id` or a resume address that cannot name a run in a bucket."""


class BucketAccessError(BucketError):
    """The bucket cannot be used: no token, no right to write, no such bucket, the Hub does not answer."""


class CheckpointNotFoundError(BucketError, ValueError):
    """The bucket holds no checkpoint that fits what was asked for."""


class GoneError(CheckpointNotFoundError):
    """What was there a moment ago has been deleted meanwhile."""


class BrokenCheckpointError(BucketError):
    """A checkpoint whose files are missing, torn or corrupt, or whose manifest cannot be believed."""


class TokenFoundError(BucketError, ValueError):
    """A checkpoint that must not leave this machine: a file it cannot do without holds a token for the Hub."""


class BucketPushError(BucketError):
    """
    Training is over, but a checkpoint or the model could not be pushed. It is still on local disk.

    Attributes:
        output ([`~transformers.trainer_utils.TrainOutput`], *optional*):
            What `train()` would have returned.
    """

    output = None


class RunTakenOverError(BucketPushError):
    """Another process writes to the run now. What this one saves stays on local disk."""
