"""A program in the place of `__main__`: as with plain Python."""

import subprocess
import sys

import pytest


OURS = """
import sys
from transformers_buckets.main_module import *

if sys.argv[1] == "-m":
    program = find_module(sys.argv[2])
    run_as_main(program, [program.file, *sys.argv[3:]])
else:
    run_as_main(find_script(sys.argv[1]), sys.argv[1:])
"""
# Pickles a class of `__main__` in a thread that outlives it and in an exit handler.
AFTERLIFE = """
import atexit, pickle, threading

class Thing:
    pass

def pickled(when):
    print(when, type(pickle.loads(pickle.dumps(Thing()))).__name__, flush=True)

def later():
    threading.main_thread().join()
    pickled("thread")

atexit.register(pickled, "exit")
thread = threading.Thread(target=later)
thread.start()
"""
WHO_AM_I = """
import sys
main = sys.modules["__main__"]
print(__name__, __package__, __spec__ and __spec__.name, sys.argv, sys.path[0], __file__, vars(main) is globals())
"""


def python(*arguments, cwd) -> list[str]:
    process = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


@pytest.mark.parametrize("path", ["tool.py", "package/__main__.py", "package/tool.py", "folder/tool/__main__.py"])
@pytest.mark.parametrize("way", ["script", "module"])
def test_it_finds_what_it_would_find_with_plain_python(tmp_path, path, way):
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(WHO_AM_I)
    if path.startswith("package"):
        (file.parent / "__init__.py").touch()
    name = path.removesuffix(".py").removesuffix("/__main__").replace("/", ".")
    arguments = [path, "-a", "b"] if way == "script" else ["-m", name, "-a", "b"]

    assert python("-c", OURS, *arguments, cwd=tmp_path) == python(*arguments, cwd=tmp_path)


def test_it_is_in_place_for_threads_and_exit_handlers(tmp_path):
    (tmp_path / "script.py").write_text(AFTERLIFE)

    assert sorted(python("-c", OURS, "script.py", cwd=tmp_path)) == ["exit Thing", "thread Thing"]
