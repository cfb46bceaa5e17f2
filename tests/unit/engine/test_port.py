"""The address and port of the HTTP service."""

from __future__ import annotations

import pytest

from pixyz_ray.port import local_url, service_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8001"),
        ("0.0.0.0", "http://127.0.0.1:8001"),
        ("::", "http://[::1]:8001"),
        ("fd00::5", "http://[fd00::5]:8001"),
        ("render-1", "http://render-1:8001"),
    ],
)
def test_local_url(host: str, url: str) -> None:
    """Given an address to listen on, when this machine's clients are told the URL, then they can reach it."""
    assert local_url(host, 8001) == url


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("0.0.0.0", "http://10.0.0.5:8001"),
        ("127.0.0.1", "http://127.0.0.1:8001"),
        ("head", "http://head:8001"),
        ("::1", "http://[::1]:8001"),
    ],
)
def test_url_for_other_machines(host: str, expected: str) -> None:
    """Given an address to listen on, when it is announced, then it is one that other machines can use."""
    assert service_url(host, 8001, "10.0.0.5") == expected
