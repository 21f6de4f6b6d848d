"""Text files are UTF-8 whatever the locale is: also for those who use ibml from Python."""

from __future__ import annotations

import ast
import re

from tests.conftest import ROOT

TEXT_MODE = re.compile(r"[rwax]\+?t?")


def lacks_encoding(call: ast.Call) -> bool:
    """Return whether a call opens a file or pipe as text in the locale's encoding."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg: getattr(keyword.value, "value", None) for keyword in call.keywords}
    values = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    modes = [value for value in values if isinstance(value, str) and TEXT_MODE.fullmatch(value)]
    opens = name == "open" and (bool(modes) or not call.args)
    as_text = opens or name in ("read_text", "write_text") or given.get("text") is True
    return as_text and not given.keys() & {"encoding", "mode"}


def test_every_text_file_has_its_encoding() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / "ibml").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and lacks_encoding(node)
    ]
    assert found == []
