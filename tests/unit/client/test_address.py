"""Where a client finds the platform and its token."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixyz_ray import home
from pixyz_ray.client import InvalidClientConfig, find_address

LOCAL = "http://127.0.0.1:8001"
AWAY = "https://pixyz.example.org"


def write_config(tmp_path: Path, text: str) -> None:
    """Write the client's configuration file."""
    path = tmp_path / "config" / "pixyz" / "client.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")


def start_platform(url: str) -> None:
    """Leave what `pixyz up` leaves."""
    home.write_platform(
        home.Platform(
            url=url,
            token="platform",
            pid=1,
            started=0.0,
            version="1",
            ray_address="127.0.0.1:6379",
            session="s",
        )
    )


def test_nothing_given_means_the_default_and_no_token() -> None:
    """Given an empty machine, when the address is looked up, then it is the contract's default."""
    address = find_address()
    assert (address.url, address.token, address.source) == (home.DEFAULT_URL, None, "default")
    assert address.is_loopback


def test_each_source_yields_to_the_stronger_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given all sources, when stronger ones are added, then each wins over those before."""
    start_platform("http://127.0.0.1:9000")
    assert (find_address().url, find_address().token) == ("http://127.0.0.1:9000", "platform")
    write_config(tmp_path, f'url = "{AWAY}/"\ntoken = "config"\n')
    assert (find_address().url, find_address().token) == (AWAY, "config")
    monkeypatch.setenv("PIXYZ_URL", "http://other:1")
    monkeypatch.setenv("PIXYZ_TOKEN", "environment")
    assert (find_address().url, find_address().token) == ("http://other:1", "environment")
    assert find_address("http://given:2", "argument").token == "argument"


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (AWAY, None),
        ("http://127.0.0.1:8002", None),
        (LOCAL, "platform"),
        ("http://localhost:8001/", "platform"),
    ],
)
def test_a_stored_token_goes_only_to_its_own_platform(url: str, token: str | None) -> None:
    """Given a platform on this machine, when another URL is named, then its token stays here."""
    start_platform(LOCAL)
    assert find_address(url).token == token


def test_a_token_without_url_in_the_file_serves_any(tmp_path: Path) -> None:
    """Given a file with a token alone, when any URL is named, then the token is for it."""
    write_config(tmp_path, 'token = "config"\n')
    assert find_address(AWAY).token == "config"


@pytest.mark.parametrize("text", ["url = ", "url = 3", 'url = "pixyz.example.org"'])
def test_a_bad_file_is_a_sentence(tmp_path: Path, text: str) -> None:
    """Given a file that makes no sense, when it is read, then the error says what is wrong."""
    write_config(tmp_path, text)
    with pytest.raises(InvalidClientConfig, match=r"TOML|must be a string|not the URL"):
        find_address()


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8001", "http://", "http://x:port"])
def test_a_bad_url_is_a_sentence(url: str) -> None:
    """Given something that is no URL, when it is named, then the error shows a good one."""
    with pytest.raises(InvalidClientConfig, match="It looks like"):
        find_address(url)
