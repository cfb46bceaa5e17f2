"""Access to a Ray cluster that somebody else has started: its address, and whether it asks for a token, and for which.

Ray itself tries a wrong token for twenty seconds and then says that it cannot connect. Here its control service (GCS)
is asked directly, first as a stranger, then with the operator's token, so that the answer says what to do.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import grpc
import psutil

from pixyz_ray.reaper import SESSION_MARK
from pixyz_ray.setting_sources import Note
from pixyz_worker.exception import InternalError, PixyzSecurityViolation

_QUESTION = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_PATIENCE_S = 5.0
_FLAG = "--gcs-address="
"""Argument of every raylet."""
_TOKEN_ADVICE = (
    "The token is read from RAY_AUTH_TOKEN, else from the file that RAY_AUTH_TOKEN_PATH names, else from "
    "~/.ray/auth_token: copy there the one that Ray was started with."
)


class Answer(StrEnum):
    """What GCS answers to a question."""

    OK = "ok"
    REFUSED = "refused"
    """The token is missing or wrong."""
    NONE = "none"
    """Nothing answers."""


def cluster_address(address: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the address (`host:port`) of a cluster's GCS, without importing Ray: it reads its token mode at import.

    Args:
        address: as `pixyz up --address` takes it; `auto` for RAY_ADDRESS, else the Ray that runs on this machine.
        environment: variables of this process.

    Raises:
        InternalError: there is none, there are several, or the address has another form.
    """
    if address == "auto":
        given = environment.get("RAY_ADDRESS", "")
        address = given if given not in ("", "auto") else _address_on_this_machine()
    host, colon, port = address.rpartition(":")
    if not host or not colon or not port.isdigit() or "://" in address:
        raise InternalError(
            f"{address!r} is not the address of Ray's head. Write HOST:PORT, usually HOST:6379, or auto."
        )
    try:
        found = socket.gethostbyname(host)
    except OSError as error:
        raise InternalError(f"The machine {host!r} of --address is not known: {error.strerror or error}.") from error
    return f"{found}:{port}"


def _address_on_this_machine() -> str:
    """Return the GCS address that the raylets of this machine were started with."""
    found = set()
    for process in _on_this_network():
        with suppress(psutil.Error):
            found |= {word.removeprefix(_FLAG) for word in process.cmdline() if word.startswith(_FLAG)}
    if len(found) == 1:
        return found.pop()
    if not found:
        raise InternalError(
            "No Ray runs on this machine. Start it with  ray start  or name the address of its head: "
            "pixyz up --address HOST:6379"
        )
    raise InternalError(f"Several Rays run on this machine. Choose one with --address: {', '.join(sorted(found))}")


def _on_this_network() -> Iterator[psutil.Process]:
    """Yield the processes of this machine but those of containers, which have a network of their own."""
    network = Path("/proc/self/ns/net")
    own = network.readlink() if network.is_symlink() else None
    for process in psutil.process_iter():
        # Of another user's process nobody is told; it may be on this network.
        with suppress(OSError):
            if own is not None and Path(f"/proc/{process.pid}/ns/net").readlink() != own:
                continue
        yield process


def access_mode(address: str, *, insecure: bool, environment: Mapping[str, str] = os.environ) -> str:
    """Check that a cluster asks for a token and takes the operator's; return the RAY_AUTH_MODE to connect with.

    Args:
        address: GCS of the cluster, `host:port`.
        insecure: whether a cluster without a token is accepted.
        environment: variables of this process.

    Raises:
        PixyzSecurityViolation: the cluster asks nobody for a token, or does not take the operator's.
        InternalError: nothing answers at that address.
    """
    as_stranger = ask(address, None)
    if as_stranger is Answer.NONE:
        raise InternalError(
            f"No Ray answers at {address}. Start its head, or name another address with  pixyz up --address HOST:PORT"
        )
    if as_stranger is Answer.OK:
        if not insecure:
            raise PixyzSecurityViolation(_open_cluster(address))
        return "disabled"
    token = operator_token(environment)
    if token is None:
        raise PixyzSecurityViolation(f"Ray at {address} asks for a token, and there is none here. {_TOKEN_ADVICE}")
    if ask(address, token) is not Answer.OK:
        raise PixyzSecurityViolation(f"Ray at {address} does not take the token that was found here. {_TOKEN_ADVICE}")
    if environment.get("RAY_AUTH_MODE", "token").lower() != "token":
        raise PixyzSecurityViolation(
            f"Ray at {address} asks for a token, and RAY_AUTH_MODE={environment['RAY_AUTH_MODE']} keeps it from being "
            "sent. Set RAY_AUTH_MODE=token."
        )
    return "token"


def ask(address: str, token: str | None) -> Answer:
    """Return what GCS answers to a question, asked with a token or without one."""
    metadata = [("authorization", f"Bearer {token}")] if token else []
    with grpc.insecure_channel(address) as channel:
        question = channel.unary_unary(_QUESTION, request_serializer=bytes, response_deserializer=bytes)
        try:
            question(b"", timeout=_PATIENCE_S, metadata=metadata, wait_for_ready=True)
        except grpc.RpcError as error:
            refused = error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
            return Answer.REFUSED if refused else Answer.NONE
    return Answer.OK


def operator_token(environment: Mapping[str, str]) -> str | None:
    """Return the token that Ray would send, from the same places; None where there is none."""
    if token := environment.get("RAY_AUTH_TOKEN", "").strip():
        return token
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path(environment.get("HOME", "~")).expanduser() / ".ray" / "auth_token"
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _open_cluster(address: str) -> str:
    port = address.rpartition(":")[2]
    return (
        f"Ray at {address} asks nobody for a token: whoever reaches its ports can run programs on all of its machines. "
        "Start Ray again with a token, the same one on every machine:\n"
        "  ray get-auth-token --generate    # once; then copy ~/.ray/auth_token to each machine\n"
        f"  RAY_AUTH_MODE=token ray start --head --port={port}    # on the head\n"
        f"  RAY_AUTH_MODE=token ray start --address={address}    # on each other machine\n"
        "Where its network is closed to everybody else, it can be used as it is:  pixyz up --address "
        f"{address} --insecure"
    )


def other_ray_notes() -> list[Note]:
    """Return a note where a Ray that `ray start` has started runs on this machine: a platform would not use it."""
    for process in _on_this_network():
        with suppress(psutil.Error):
            if process.name() == "raylet" and SESSION_MARK not in process.environ():
                return [
                    Note(
                        found="Ray runs on this machine already; the platform starts another, for this machine alone.",
                        remedy="For that cluster:  pixyz up --address auto",
                    )
                ]
    return []
