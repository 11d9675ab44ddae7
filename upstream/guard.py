"""What transformers can do without is imported only if it is there, in the way of transformers."""

import ast


_GUARD = "if is_accelerate_available():\n"


def guarded(source: str) -> str:
    """
    A module that can be imported without accelerate.

    Args:
        source (`str`):
            The module.
    """
    lines, tree = source.splitlines(keepends=True), ast.parse(source)
    imports = [
        node
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "accelerate"
    ]
    if not imports:
        return source
    for node in imports[1:]:
        lines[node.lineno - 1] = f"    {lines[node.lineno - 1]}"
    first = imports[0].lineno - 1
    lines[first] = f"from transformers.utils import is_accelerate_available\n\n{_GUARD}    {lines[first]}"
    return "".join(lines)
