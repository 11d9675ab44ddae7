import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "sub" / "model.safetensors").write_bytes(bytes(range(256)) * 1000)
    return folder


def test_a_folder_comes_back_as_it_was(api, repo, folder, tmp_path):
    api.upload_folder(repo_id=repo, folder_path=folder)
    snapshot = tmp_path / "snapshot"
    api.snapshot_download(repo, local_dir=snapshot)
    for path in ("config.json", "sub/model.safetensors"):
        assert (snapshot / path).read_bytes() == (folder / path).read_bytes()


def test_large_and_binary_files_go_to_the_xet_storage_and_text_does_not(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    siblings = {file.rfilename: file for file in api.model_info(repo, files_metadata=True).siblings}
    assert siblings["config.json"].lfs is None
    assert siblings["sub/model.safetensors"].lfs.size == 256_000


def test_an_upload_of_what_is_there_makes_no_commit(api, repo, folder):
    first = api.upload_folder(repo_id=repo, folder_path=folder)
    assert api.upload_folder(repo_id=repo, folder_path=folder).oid == first.oid
    assert len(api.list_repo_commits(repo)) == 2


def test_every_revision_stays_readable(api, repo, tmp_path):
    old = api.upload_file(repo_id=repo, path_or_fileobj=b"old", path_in_repo="a.txt", commit_message="one")
    api.upload_file(repo_id=repo, path_or_fileobj=b"new", path_in_repo="a.txt", commit_message="two")
    assert [commit.title for commit in api.list_repo_commits(repo)] == ["two", "one", "initial commit"]
    with open(api.hf_hub_download(repo, "a.txt", cache_dir=tmp_path)) as file:
        assert file.read() == "new"
    with open(api.hf_hub_download(repo, "a.txt", revision=old.oid, cache_dir=tmp_path)) as file:
        assert file.read() == "old"


def test_a_branch_grows_on_its_own(api, repo):
    api.create_branch(repo, branch="dev")
    api.upload_file(repo_id=repo, path_or_fileobj=b"x", path_in_repo="x.txt", revision="dev")
    assert "x.txt" in api.list_repo_files(repo, revision="dev")
    assert "x.txt" not in api.list_repo_files(repo)
    with pytest.raises(HfHubHTTPError, match="already exists"):
        api.create_branch(repo, branch="dev")
    api.delete_branch(repo, branch="dev")
    assert [branch.name for branch in api.list_repo_refs(repo).branches] == ["main"]


def test_delete_patterns_and_folders(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    api.upload_folder(repo_id=repo, folder_path=folder, path_in_repo="second", delete_patterns="*")
    api.create_commit(repo, [CommitOperationDelete("sub/")], commit_message="delete")
    assert api.list_repo_files(repo) == [
        ".gitattributes",
        "config.json",
        "second/config.json",
        "second/sub/model.safetensors",
    ]


def test_a_commit_on_an_outdated_parent_is_refused(api, repo):
    parent = api.model_info(repo).sha
    operations = [CommitOperationAdd("a.txt", b"a")]
    api.create_commit(repo, operations, commit_message="first", parent_commit=parent)
    with pytest.raises(HfHubHTTPError, match="The branch was updated"):
        api.create_commit(repo, [CommitOperationAdd("b.txt", b"b")], commit_message="second", parent_commit=parent)


def test_tree_and_paths_info_know_folders(api, repo, folder):
    api.upload_folder(repo_id=repo, folder_path=folder)
    assert [entry.path for entry in api.list_repo_tree(repo)] == [".gitattributes", "config.json", "sub"]
    assert [entry.path for entry in api.list_repo_tree(repo, "sub")] == ["sub/model.safetensors"]
    assert [entry.path for entry in api.get_paths_info(repo, ["sub", "missing"])] == ["sub"]
    with pytest.raises(EntryNotFoundError):
        list(api.list_repo_tree(repo, "missing"))


def test_what_is_missing_has_its_own_error(api, repo):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info(f"{repo}-missing")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("name-alone")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(repo, revision="missing")
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download(repo, "missing")
    assert not api.repo_exists(f"{repo}-missing")
    assert not api.file_exists(repo, "missing")


def test_create_move_and_delete(api, repo):
    with pytest.raises(HfHubHTTPError, match="already created"):
        api.create_repo(repo)
    assert api.create_repo(repo, exist_ok=True).repo_id == repo
    api.move_repo(repo, f"{repo}-moved")
    api.update_repo_settings(f"{repo}-moved", gated="auto")
    assert api.model_info(f"{repo}-moved").private
    api.update_repo_settings(f"{repo}-moved", private=False)
    assert api.model_info(f"{repo}-moved").private is False
    api.delete_repo(f"{repo}-moved")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(f"{repo}-moved")


def test_a_repo_is_copied_into_a_bucket_without_sending_the_weights_again(hub, api, repo, bucket, folder, download):
    api.upload_folder(repo_id=repo, folder_path=folder)
    hub.clear_requests()
    api.copy_files(f"hf://{repo}/", f"hf://buckets/{bucket}/")
    assert download(bucket, "sub/model.safetensors") == (folder / "sub" / "model.safetensors").read_bytes()
    assert sum(request.received for request in hub.requests("POST /v1/xorbs/")) < 1000


def test_expanded_entries_name_the_commit_that_last_changed_them(api, repo):
    for path in ("a.txt", "folder/b.txt", "c.txt"):
        api.upload_file(repo_id=repo, path_or_fileobj=path.encode(), path_in_repo=path, commit_message=f"add {path}")
    titles = {entry.path: entry.last_commit.title for entry in api.list_repo_tree(repo, expand=True)}
    assert titles == {
        ".gitattributes": "initial commit",
        "a.txt": "add a.txt",
        "folder": "add folder/b.txt",
        "c.txt": "add c.txt",
    }


def test_attributes_that_are_no_text_do_not_count(api, repo):
    api.upload_file(repo_id=repo, path_or_fileobj=b"\0" * 100, path_in_repo=".gitattributes")
    api.upload_file(repo_id=repo, path_or_fileobj=b"text", path_in_repo="model.bin")
    assert api.get_paths_info(repo, ["model.bin"])[0].lfs is None


def test_a_path_that_leaves_the_repo_is_refused(api, repo):
    with pytest.raises(HfHubHTTPError, match="Invalid path"):
        api.upload_file(repo_id=repo, path_or_fileobj=b"evil", path_in_repo="..\\evil.txt")


def test_text_can_be_read_in_ranges(hub, api, repo):
    api.upload_file(repo_id=repo, path_or_fileobj=b"0123456789", path_in_repo="a.txt")
    address, headers = f"{hub.endpoint}/{repo}/resolve/main/a.txt", {"authorization": f"Bearer {hub.token}"}
    for wanted, status, content in (("bytes=2-4", 206, b"234"), ("bytes=-3", 206, b"789"), ("bytes=10-", 416, b"")):
        answer = httpx2.get(address, headers={**headers, "range": wanted})
        assert (answer.status_code, answer.content) == (status, content)
