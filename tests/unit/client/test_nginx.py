"""`pixyz nginx`: the configuration that it prints."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from pixyz_ray.cli.app import cli
from pixyz_ray.nginx import join_address, nginx_configuration
from pixyz_worker.exception import InvalidBackendParameter

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")


def test_servers_and_address() -> None:
    """Given machines, one of them twice, when the configuration is made, then each is in it once."""
    text = nginx_configuration(["10.0.0.1:8001", "[fe80::1]:8001", "10.0.0.1:8001"], "0.0.0.0:80")
    assert text.count("server 10.0.0.1:8001 ") == 1
    assert "server [fe80::1]:8001 " in text
    assert "listen 0.0.0.0:80;" in text
    assert "non_idempotent" not in text


@pytest.mark.parametrize("bad", ["", "a", "a:0", "a:70000", "a;b:80", "a b:80", "fe80::1:80", "[x]:80", "-a:80"])
def test_bad_address(bad: str) -> None:
    """Given an address that is none, then it is refused: it must not become part of the configuration."""
    with pytest.raises(InvalidBackendParameter, match="HOST:PORT"):
        nginx_configuration([bad], "80")
    with pytest.raises(InvalidBackendParameter, match="HOST:PORT"):
        nginx_configuration(["a:80"], bad)


def test_no_machine() -> None:
    """Given no machine, then the error says how to name them."""
    with pytest.raises(InvalidBackendParameter, match="--servers"):
        nginx_configuration([], "80")


def test_join_address() -> None:
    """Given addresses of both kinds, then that of IPv6 gets its brackets."""
    assert join_address("10.0.0.1", 80) == "10.0.0.1:80"
    assert join_address("fe80::1", 80) == "[fe80::1]:80"


def test_command_writes_a_file(tmp_path: Path) -> None:
    """Given --output, when the command ends, then the file is there, and nginx accepts it."""
    path = tmp_path / "nginx.conf"
    done = CliRunner().invoke(
        cli, ["nginx", "--servers", "10.0.0.1:8001, 10.0.0.2:8001", "--listen", "8080", "--output", str(path)]
    )
    assert done.exit_code == 0, done.output
    assert "lists 2 machines" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["nginx.conf"]
    if NGINX is None:
        pytest.skip("nginx is not installed (package nginx-light)")
    options = f"pid {tmp_path}/pid; error_log {tmp_path}/error.log;"
    tested = subprocess.run([NGINX, "-t", "-c", str(path), "-g", options], capture_output=True, text=True)
    assert "syntax is ok" in tested.stderr, tested.stderr
