"""What pull request 1 takes from the package: definitions, by file. `face.py` holds the rest."""

# Methods that stay in the package.
LEFT_OUT = {"FileRecord": ("is_empty",), "Manifest": ("size", "comes_after")}

PARTS = (
    (
        "bucket/errors.py",
        (
            "BucketError",
            "BucketAddressError",
            "BrokenCheckpointError",
            "BucketPushError",
        ),
    ),
    ("bucket/mask.py", ("_SECRETS", "masked")),
    (
        "bucket/address.py",
        (
            "SCHEME",
            "BEST",
            "CHECKPOINT_NAME",
            "_FORMS",
            "BucketAddress",
            "is_bucket_address",
            "step_of",
        ),
    ),
    ("run_of_flags.py", ("bucket_address",)),
    ("bucket/names.py", ("check_paths", "_folders")),
    (
        "bucket/manifest.py",
        (
            "MANIFEST_NAME",
            "FORMAT",
            "_READABLE",
            "FileRecord",
            "PushId",
            "Place",
            "Manifest",
            "_record",
            "_place",
            "_push_id",
        ),
    ),
    ("bucket/contents.py", ("TRAINER_STATE_NAME",)),
    (
        "bucket/files.py",
        (
            "WORK_FOLDER",
            "SENTINEL_NAME",
            "_OURS",
            "list_files",
            "_walk_all",
            "hash_files",
            "measure",
            "read_manifest",
            "local_checkpoints",
            "write_manifest",
        ),
    ),
    ("bucket/inventory.py", ("_wrong_state",)),
    ("saving/outbox.py", ("_SMALL", "_take")),
    ("ranks.py", ("T", "_HEARTBEAT", "together")),
    ("ending.py", ("until_landed",)),
)
