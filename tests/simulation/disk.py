"""Real folders in memory, on which a process can be interrupted before each change, and in the middle of a file."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path


_CHANGES = {"os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.utime"}
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR
_write_bytes, _copyfile = Path.write_bytes, shutil.copyfile


class Disks:
    """
    Where every change is an operation. Interpreters never forget an audit hook, so there is one for all histories.

    Attributes:
        root (`str`):
            The folder of all disks. Elsewhere nothing is an operation.
        operation (`Callable`, *optional*):
            Called before each change.
    """

    root = "/nowhere"
    operation: Callable[[], None] | None = None
    _is_hooked = False

    @classmethod
    def watch(cls, root: Path, operation: Callable[[], None]) -> None:
        """Call something before each change below a folder from now on."""
        cls.root, cls.operation = str(root), operation
        if not cls._is_hooked:
            cls._is_hooked = True
            sys.addaudithook(cls._hook)

    @classmethod
    def stop(cls) -> None:
        """Let everything be as usual."""
        cls.operation = None

    @classmethod
    def _hook(cls, event: str, arguments: tuple) -> None:
        if cls.operation is None:
            return
        if event == "open":
            path, mode, flags = arguments
            writes = set(mode) & set("wax+") if mode is not None else (flags or 0) & _WRITE_FLAGS
            if writes and isinstance(path, str | os.PathLike) and os.fspath(path).startswith(cls.root):
                cls.operation()
        elif event in _CHANGES and cls._is_inside(event, arguments):
            cls.operation()

    @classmethod
    def _is_inside(cls, event: str, arguments: tuple) -> bool:
        path, folder = os.fspath(arguments[0]), arguments[-1]
        if not os.path.isabs(path) and event in ("os.remove", "os.rmdir") and folder != -1:  # in shutil.rmtree
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        return path.startswith(cls.root)


def write_bytes(file: Path, content: bytes) -> int:
    """`Path.write_bytes`, with an operation in the middle: what is killed there leaves half a file."""
    if Disks.operation is None or not str(file).startswith(Disks.root):
        return _write_bytes(file, content)
    with open(file, "wb", buffering=0) as target:
        target.write(content[: len(content) // 2])
        Disks.operation()
        target.write(content[len(content) // 2 :])
    return len(content)


def copyfile(source, target, *, follow_symlinks: bool = True):
    """`shutil.copyfile`, likewise."""
    if Disks.operation is None or not str(target).startswith(Disks.root):
        return _copyfile(source, target, follow_symlinks=follow_symlinks)
    write_bytes(Path(target), Path(source).read_bytes())
    return target
