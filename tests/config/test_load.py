"""YAML: numbers as people write them, lines for everything, and nothing dangerous."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibml.common.errors import ConfigError
from ibml.common.yaml import documents


def value(text: str) -> object:
    return documents.parse(f"key: {text}", "f.yaml").data["key"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-4", 1e-4),
        ("1.0e-4", 1e-4),
        ("2E5", 2e5),
        ("-.5", -0.5),
        ("3", 3),
        ("-3", -3),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("~", None),
        ("", None),
        ("'1e-4'", "1e-4"),
        ("+ BIO", "+ BIO"),
        ("[1, a, 2.5]", [1, "a", 2.5]),
    ],
)
def test_scalars(text: str, expected: object) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_keys_stay_text() -> None:
    assert documents.parse("{0.5: a, no: b, 3: c}", "f").data == {"0.5": "a", "no": "b", "3": "c"}


def test_every_value_knows_its_line() -> None:
    document = documents.parse("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n", "f.yaml")
    assert str(document.source(("a", "c", 1, "y"))) == "f.yaml:5: a.c[1].y"
    assert document.source(("a", "b")).line == 2
    assert document.source(("a", "nothing")).line == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", r"f.yaml:2: 'a' is given twice, first in line 1"),
        ("a: !!python/object/apply:os.system [echo]", r"f.yaml"),
        ("a: !custom x", r"tag '!custom' is not allowed"),
        ("a: [1, 2", r"f.yaml:1: is not YAML"),
        ("a: {b: 1\nc: 2", r"is not YAML"),
        ("- a\n- b\n", r"f.yaml:1: must be a mapping"),
        ("", r"is empty"),
        ("a: 1\n---\nb: 2\n", r"is not YAML"),
        ("? [a, b]\n: 1\n", r"a key must be text"),
        ("a: " + "9" * 5000, r"not a number that can be used"),
        ("a: " + "[" * 20000, r"nested too deeply"),
        ("a: *nobody", r"is not YAML"),
        ("a: \x00", r"is not YAML"),
        ("a: 0x" + "f" * 5000, r"f.yaml:1: a: '0xf+' is not a number that can be used"),
        ("a: 9223372036854775808", r"not a number that can be used"),
        ("a: &x [*x]", r"nested too deeply"),
        ("a: &x {b: *x}", r"nested too deeply"),
        ('a: "\\e[31m"', r"f.yaml:1: a: '\\x1b\[31m' has characters that cannot be shown"),
        ('"\\x9b": 1', r"cannot be shown"),
        ("a: x\u202ey", r"cannot be shown"),
        ('a: "\\ud800"', r"cannot be shown"),
    ],
)
def test_what_is_refused_says_where(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        documents.parse(text, "f.yaml")


def test_anchors_cannot_blow_up_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        documents.parse("\n".join(lines), "f.yaml")


@pytest.mark.slow
def test_long_lists_are_refused_before_they_are_in_memory() -> None:
    with pytest.raises(ConfigError, match=r"f.yaml:1: has more than 100,000 values"):
        documents.parse(f"a: [{'x,' * 110_000} and this is never read}}", "f.yaml")


def test_a_merge_key_takes_over_what_the_mapping_does_not_say_itself() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b\n  y: 2\n  z: 2\nc:\n  z: 3\n  <<: [*a, *b]\n  w: 3\n"
    document = documents.parse(text, "f")
    assert document.data["c"] == {"z": 3, "x": 1, "y": 1, "w": 3}
    assert list(document.data["c"]) == ["z", "x", "y", "w"], (
        "merged keys stand where the merge key does"
    )
    assert [document.lines[("c", key)] for key in "zxyw"] == [6, 1, 1, 8], (
        "each at the line where it is written"
    )
    assert document.written[("c", "x")] == "1"


def test_merges_nest_and_leave_the_merged_mapping_as_it_is() -> None:
    text = "a: &a {deep: {x: 1}}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, deep: {z: 3}}\n"
    data = documents.parse(text, "f").data
    assert data["a"] == {"deep": {"x": 1}}
    assert data["c"] == {"deep": {"z": 3}, "y": 2}


def test_a_quoted_merge_key_is_a_key_like_any_other() -> None:
    assert documents.parse("a: {'<<': 1, x: <<}", "f").data == {"a": {"<<": 1, "x": "<<"}}
    assert documents.parse(documents.dump({"<<": {"x": 1}}), "f").data == {"<<": {"x": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb:\n  <<: 3\n", r"f.yaml:3: b: '<<' takes a mapping or a list of mappings"),
        ("a: &a [1]\nb:\n  <<: *a\n", r"f.yaml:3: b: '<<' takes a mapping"),
        ("b:\n  <<:\n", r"f.yaml:2: b: '<<' takes a mapping"),
        (
            "a: &a {x: 1}\nb:\n  <<: *a\n  <<: *a\n",
            r"f.yaml:4: b: '<<' is given twice, first in line 3",
        ),
        ("a: &a {<<: *a}\n", r"nested too deeply"),
        ("a: &a {x: !y 1}\nb: {<<: *a}\n", r"tag '!y' is not allowed"),
    ],
)
def test_a_merge_that_makes_no_sense_is_refused_at_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        documents.parse(text, "f.yaml")


def test_merges_cannot_blow_up_memory() -> None:
    lines = ["a0: &a0 {" + ", ".join(f"k{i}: 1" for i in range(10)) + "}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 9)]
    with pytest.raises(ConfigError, match="more than 100,000 values"):
        documents.parse("\n".join(lines), "f.yaml")


def test_files_that_are_too_large_or_no_text_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * 1_000_001)
    with pytest.raises(ConfigError, match="at most 1,000,000"):
        documents.read(large)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"a: 1\nb: \xff\xfe")
    with pytest.raises(ConfigError, match=r"binary.yaml:2: is not UTF-8"):
        documents.read(binary)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        documents.read(tmp_path / "none.yaml")


BIDI = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False)
    | st.text(
        st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters=BIDI),
        max_size=12,
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcXYZ_. +", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1), plain, min_size=1, max_size=4))
def test_what_is_written_is_read_back(data: dict[str, object]) -> None:
    assert documents.parse(documents.dump(data), "f").data == data


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        documents.parse(text, "f")
