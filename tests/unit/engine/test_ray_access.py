"""What a Ray cluster answers to strangers and to the operator's token, from a gRPC server with Ray's rule."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from pixyz_ray.cluster.ray_access import access_mode, cluster_address, operator_token
from pixyz_worker.exception import InternalError, PixyzSecurityViolation

TOKEN = "a" * 64


class Gcs(grpc.GenericRpcHandler):
    """Answers every call whose metadata has the token; any call where there is none."""

    def __init__(self, token: str | None) -> None:
        self._token = token

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a call."""

        def answer(_request: bytes, context: Any) -> bytes:
            given = dict(context.invocation_metadata()).get("authorization")
            if self._token is not None and given != f"Bearer {self._token}":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "InvalidAuthToken")
            return b""

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def gcs(token: str | None) -> Iterator[str]:
    """Run a server and yield its address."""
    server = grpc.server(ThreadPoolExecutor(2), handlers=[Gcs(token)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()


def test_cluster_with_a_token() -> None:
    """Given a cluster with a token, when it is joined, then only that token will do, and messages say where it is."""
    with gcs(TOKEN) as address:
        assert access_mode(address, insecure=False, environment={"RAY_AUTH_TOKEN": TOKEN}) == "token"
        with pytest.raises(PixyzSecurityViolation, match="there is none here"):
            access_mode(address, insecure=True, environment={"HOME": "/nowhere"})
        with pytest.raises(PixyzSecurityViolation, match="does not take the token"):
            access_mode(address, insecure=True, environment={"RAY_AUTH_TOKEN": "b" * 64})
        with pytest.raises(PixyzSecurityViolation, match="Set RAY_AUTH_MODE=token"):
            access_mode(address, insecure=False, environment={"RAY_AUTH_TOKEN": TOKEN, "RAY_AUTH_MODE": "disabled"})


def test_cluster_without_a_token() -> None:
    """Given an open cluster, when it is joined, then only on purpose; the refusal has the commands to start it with."""
    with gcs(None) as address:
        assert access_mode(address, insecure=True, environment={}) == "disabled"
        with pytest.raises(PixyzSecurityViolation) as refused:
            access_mode(address, insecure=False, environment={"RAY_AUTH_TOKEN": TOKEN})
    message = str(refused.value)
    assert f"RAY_AUTH_MODE=token ray start --address={address}" in message
    assert "ray get-auth-token --generate" in message
    assert "--insecure" in message


def test_token_is_found_where_ray_finds_it(tmp_path: Path) -> None:
    """Given the places that Ray looks at, when several have one, then the variable wins, then the named file."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("default\n")
    (tmp_path / "named").write_text("named\n")
    default = {"HOME": str(tmp_path)}
    named = {**default, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "named")}
    assert operator_token({"HOME": str(tmp_path / "absent")}) is None
    assert operator_token(default) == "default"
    assert operator_token(named) == "named"
    assert operator_token({**named, "RAY_AUTH_TOKEN": "given"}) == "given"


@pytest.mark.parametrize("address", ["http://head:8265", "head", "head:port", ":6379"])
def test_address_of_another_form(address: str) -> None:
    """Given an address that is not GCS's, when it is used, then the message says what is."""
    with pytest.raises(InternalError, match="HOST:PORT"):
        cluster_address(address)


def test_address_of_the_environment_and_of_a_name() -> None:
    """Given `auto` under RAY_ADDRESS, or a name, when it is resolved, then the address has numbers."""
    assert cluster_address("auto", {"RAY_ADDRESS": "127.0.0.1:6379"}) == "127.0.0.1:6379"
    assert cluster_address("localhost:6379", {}) == "127.0.0.1:6379"
    with pytest.raises(InternalError, match="is not known"):
        cluster_address("no-such-machine.invalid:6379", {})
