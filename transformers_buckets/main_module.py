"""Runs a script or a module as `python` does: it is `__main__`, and stays it for threads and exit handlers."""

import importlib.util
import io
import os
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType


class NoSuchProgramError(LookupError):
    """There is no script or module of this name."""


@dataclass(frozen=True)
class Program:
    """
    What can be `__main__`.

    Args:
        code (`CodeType`):
            What it does.
        file (`str`):
            Its absolute path.
        loader (`object`):
            What found it.
        spec (`ModuleSpec`, *optional*):
            Which module it is; `None` for a script.
    """

    code: CodeType
    file: str
    loader: object
    spec: ModuleSpec | None = None


def find_script(script: str) -> Program:
    """
    The program in a file, for `python script.py`.

    Raises:
        [`NoSuchProgramError`]: If there is no such file.
    """
    file = os.path.abspath(script)
    if not os.path.isfile(file):
        raise NoSuchProgramError(f"there is no script {script}")
    with io.open_code(file) as source:
        return Program(compile(source.read(), file, "exec"), file, SourceFileLoader("__main__", file))


def find_module(name: str) -> Program:
    """
    The program in a module, or in the `__main__` of a package, for `python -m name`.

    Raises:
        [`NoSuchProgramError`]: If there is no such module.
    """
    if not _safe_path():
        sys.path[0] = os.getcwd()
    spec = _spec(name)
    if spec.submodule_search_locations is not None:
        spec = _spec(f"{name}.__main__")
    return Program(spec.loader.get_code(spec.name), spec.origin, spec.loader, spec)


def run_as_main(program: Program, argv: list[str]) -> None:
    """
    Run a program in the place of the one that runs now.

    Args:
        program ([`Program`]):
            What to run.
        argv (`list[str]`):
            What it finds in `sys.argv`.
    """
    main = ModuleType("__main__")
    vars(main).update(
        __file__=program.file,
        __spec__=program.spec,
        __loader__=program.loader,
        __package__=program.spec.parent if program.spec else None,
        __cached__=None,
    )
    # `runpy` would put the old module back when the code is through, under threads and exit handlers that still need it.
    sys.modules["__main__"] = main
    sys.argv = argv
    if program.spec is None and not _safe_path():
        sys.path[0] = os.path.dirname(os.path.realpath(program.file))
    exec(program.code, vars(main))


def _spec(name: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        if not f"{name}.".startswith(f"{error.name}."):
            raise  # a package above it imports something that is missing
        spec = None
    if spec is None or (spec.loader is None and spec.submodule_search_locations is None):
        raise NoSuchProgramError(f"there is no module {name}")
    return spec


def _safe_path() -> bool:
    return getattr(sys.flags, "safe_path", False)  # not before Python 3.11
