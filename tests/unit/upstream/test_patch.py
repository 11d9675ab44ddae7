"""Edits find their place by syntax, and say so when they cannot."""

import pytest

from upstream.edits import EDITS, Edit
from upstream.patch import AnchorError, patched


SOURCE = '''class A:
    """
    Some words.

    > More
    """

    def run(self):
        # About the call.
        call(1,
             2)
        with ctx:
            pass
'''


def edit(scope="A.run", anchor="call(", **texts) -> Edit:
    return Edit("a.py", scope, anchor, **texts)


def test_before_goes_above_the_comment_and_after_below_the_last_line():
    text = patched(SOURCE, [edit(before="first()", after="last()")])

    assert text.splitlines()[7:13] == [
        "    def run(self):",
        "        first()",
        "        # About the call.",
        "        call(1,",
        "             2)",
        "        last()",
    ]


def test_what_is_replaced_is_the_anchor_alone():
    text = patched("def f():\n    if a:\n        b()\n", [edit("f", "if a:", replace="if c:\n    d()\nelif a:")])

    assert text == "def f():\n    if c:\n        d()\n    elif a:\n        b()\n"


def test_lines_of_a_docstring():
    text = patched(SOURCE, [edit("A.__doc__", "> More", before="New.\n\0")])

    assert text.splitlines()[3:6] == ["", "    New.", ""]


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        (dict(anchor="gone("), "A.run: the anchor 'gone(' is missing"),
        (dict(scope="A.walk"), "A.walk: the anchor 'call(' is missing"),
        (dict(scope="A", anchor="call("), None),
    ],
)
def test_a_missing_anchor_names_file_and_scope(where, problem):
    if problem is None:
        assert patched(SOURCE, [edit(**where, after="last()")])
        return
    with pytest.raises(AnchorError, match="a.py") as error:
        patched(SOURCE, [edit(**where, after="last()")])
    assert problem in str(error.value)


def test_an_anchor_that_is_found_twice_is_none():
    with pytest.raises(AnchorError, match="a.py, f: the anchor 'b\\(' is found 2 times"):
        patched("def f():\n    b()\n    b()\n", [edit("f", "b(", after="c()")])


def test_anchors_are_short():
    assert max(len(edit.anchor) for edit in EDITS) <= 80
    with pytest.raises(ValueError, match="80"):
        edit(anchor="x" * 81)
