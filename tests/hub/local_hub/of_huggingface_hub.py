"""huggingface_hub's own tests, those of the installed version, against a local Hub.

    python -m tests.hub.local_hub.of_huggingface_hub [arguments of pytest]

Its sources come from PyPI. They hold the tests, but not the fixtures that the tests share: these are here.
"""

import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import huggingface_hub

from transformers_buckets.local_hub import LocalHub


FILES = """
test_buckets test_buckets_hf_file_system test_copy_files test_buckets_cli test_snapshot_download test_upload_pipeline
""".split()

FIXTURES = """
import pytest
from huggingface_hub import HfApi

from .testing_constants import ENDPOINT_STAGING, TOKEN
from .testing_utils import repo_name

RepoFactory = object


@pytest.fixture(scope="session")
def api():
    return HfApi(endpoint=ENDPOINT_STAGING, token=TOKEN)


@pytest.fixture
def repo_factory(api):
    return lambda repo_type="model", **settings: api.create_repo(repo_name(), repo_type=repo_type, **settings)
"""


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder, LocalHub(Path(folder, "hub"), namespace="__DUMMY_HUB_USER__") as hub:
        sources = unpacked_sources(Path(folder))
        tests = sources / "tests"
        (tests / "__init__.py").touch()
        (tests / "conftest.py").write_text(FIXTURES)
        with open(tests / "testing_constants.py", "a") as constants:
            constants.write(f"ENDPOINT_STAGING, TOKEN = {hub.endpoint!r}, {hub.token!r}\n")
            for user, organization in {"OTHER": "DVUser", "ENTERPRISE": "EnterpriseOrgPrivate"}.items():
                token = hub.create_token(user.lower(), {user.lower(): "write", organization: "write"})
                constants.write(f"{user}_USER, {user}_TOKEN = {user.lower()!r}, {token!r}\n")
        files = [str(Path("tests", f"{name}.py")) for name in FILES]
        # In place of their settings, which print a line for each test. The token comes with each call.
        command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=-p no:cacheprovider", *files, *arguments]
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(Path(folder, "home"))}
        environment.pop("HF_TOKEN", None)
        return subprocess.run(command, cwd=sources, env=environment).returncode


def unpacked_sources(folder: Path) -> Path:
    name = f"huggingface_hub-{huggingface_hub.__version__}"
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "huggingface_hub"]
    subprocess.run([*pip, "--dest", str(folder), name.replace("-", "==")], check=True)
    with tarfile.open(folder / f"{name}.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / name


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
