"""Content-Disposition: names of any kind, and never a header that ends early."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.attachment import attachment


def _header(name: str) -> str:
    return attachment(name)["Content-Disposition"]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("output.glb", 'attachment; filename="output.glb"'),
        ("b c (2).txt", 'attachment; filename="b c (2).txt"'),
        ("Gehäuse.glb", "attachment; filename=\"Geh_use.glb\"; filename*=UTF-8''Geh%C3%A4use.glb"),
        ('a"b.txt', "attachment; filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt"),
        ("a\\b", "attachment; filename=\"a_b\"; filename*=UTF-8''a%5Cb"),
        ("50%.txt", "attachment; filename=\"50_.txt\"; filename*=UTF-8''50%25.txt"),
        ("a\r\nSet-Cookie: x", "attachment; filename=\"a__Set-Cookie_ x\"; filename*=UTF-8''a%0D%0ASet-Cookie%3A%20x"),
        ("half \udcff", "attachment; filename=\"half _\"; filename*=UTF-8''half%20%3F"),
    ],
)
def test_names(name: str, header: str) -> None:
    """Given a name, when it is downloaded, then old and new clients each find theirs."""
    assert _header(name) == header


@given(st.text(min_size=1))
def test_any_name(name: str) -> None:
    """Given any text, when it is a file's name, then the header is printable ASCII and gives the name back."""
    header = _header(name)
    assert re.fullmatch(r"attachment; filename=\"[ -!#-\[\]-~]+\"(; filename\*=UTF-8''[!-~]+)?", header)
    _, _, encoded = header.partition("filename*=UTF-8''")
    plain = re.sub("[\ud800-\udfff]", "?", name)
    assert (unquote(encoded) if encoded else header[22:-1]) == plain
