"""Files from outside: what they are is told by how they are called, and what is broken is told by row."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path

import pytest

from gateway.body import BadRequest
from gateway.rows import FileProblem, digest_of, is_json_lines
from gateway.uploads import file_in


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL"])
def test_a_file_is_json_lines_by_its_name_wherever_it_comes_in(name: str) -> None:
    assert is_json_lines(name)
    assert is_json_lines(Path("some.csv", name))
    assert file_in(*form(name)) == (b"{}", True)


def test_other_names_say_other_things() -> None:
    assert not is_json_lines("json")
    assert not is_json_lines("a.jsonl.csv")
    assert file_in(*form("A.CSV")) == (b"{}", False)
    with pytest.raises(BadRequest, match="text/csv"):
        file_in(*form("a.xlsx"))


def form(name: str) -> tuple[str, bytes]:
    """A form with one file of that name."""
    head = f'--b\r\ncontent-disposition: form-data; name="file"; filename="{name}"\r\n'
    kind = "content-type: application/octet-stream\r\n\r\n"
    return 'multipart/form-data; boundary="b"', f"{head}{kind}{{}}\r\n--b--\r\n".encode()


def test_what_can_be_read_only_once_is_told() -> None:
    came, went = os.pipe()
    os.close(went)
    with os.fdopen(came, "rb") as pipe, pytest.raises(FileProblem, match="only once"):
        digest_of(pipe)
    assert digest_of(BytesIO(b"a")) == digest_of(BytesIO(b""), b"a") != digest_of(BytesIO(b""))
