"""A module is put together from definitions, and nothing it needs is forgotten."""

import pytest

from upstream.assemble import AssemblyError, assembled


@pytest.fixture
def package(tmp_path):
    (tmp_path / "a.py").write_text(
        "import os\n\nfrom accelerate import PartialState\n\n# Why.\nLIMIT = 3\n\n\nclass A:\n    @property\n"
        "    def one(self):\n        return os.sep\n\n    def two(self):\n        return LIMIT, PartialState\n"
    )
    (tmp_path / "face.py").write_text(
        '"""All of it."""\n\nfrom transformers_buckets.a import A\n\n\ndef f():\n    return A()\n'
    )
    return tmp_path


def text_of(package, names, left_out=None) -> str:
    return assembled(package, [("a.py", names)], left_out or {}, package / "face.py")


def test_definitions_come_with_their_comments_and_what_they_import(package):
    text = text_of(package, ["LIMIT", "A"])

    assert text.startswith('"""All of it."""\n\nfrom __future__ import annotations\n')
    assert "import os\n" in text
    assert "# Why.\nLIMIT = 3\n" in text
    assert "transformers_buckets" not in text
    assert text.index("class A") < text.index("def f")
    assert "if is_accelerate_available():\n    from accelerate import PartialState\n" in text


def test_a_method_can_stay_behind_with_what_it_alone_imports(package):
    text = text_of(package, ["LIMIT", "A"], {"A": ("one",)})

    assert "def one" not in text
    assert "@property" not in text
    assert "import os" not in text


@pytest.mark.parametrize(
    ("names", "problem"), [(["A"], "needs LIMIT"), (["LIMIT"], "f of .* needs A"), (["B"], "has no B")]
)
def test_what_is_forgotten_is_named(package, names, problem):
    with pytest.raises(AssemblyError, match=problem):
        text_of(package, names)
