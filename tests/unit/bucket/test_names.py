"""Names of files that come from a bucket: what no system takes, and what only some cannot hold."""

import pytest

from transformers_buckets.bucket.errors import BrokenCheckpointError
from transformers_buckets.bucket.names import check_paths, check_portable


ODD = ["eval_2026-11-26T10:15:00.json", "what?.txt", "a*b", 'say "hi"', "lang:en/adapter_model.safetensors", "a\\b"]


@pytest.mark.parametrize("path", ODD)
def test_what_is_merely_odd_is_taken_and_refused_where_it_cannot_be(path):
    check_paths([path])
    check_portable([path], windows=False, ignores_case=False)
    with pytest.raises(BrokenCheckpointError, match="this system cannot hold a file called"):
        check_portable([path], windows=True)


def test_names_that_differ_by_case_are_refused_where_they_are_the_same():
    names = ["Model.bin", "model.bin"]
    check_paths(names)
    check_portable(names, windows=False, ignores_case=False)
    with pytest.raises(BrokenCheckpointError, match="'Model.bin' and 'model.bin', which differ by case only"):
        check_portable(names, ignores_case=True)


def test_a_file_cannot_be_a_folder_as_well():
    with pytest.raises(BrokenCheckpointError, match="'a' is both a file and a folder"):
        check_paths(["a/b/c", "a"])
