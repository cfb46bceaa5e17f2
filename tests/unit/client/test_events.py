"""Following a job over connections that break."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.responses import PlainTextResponse

from pixyz_ray.client import Client, LogEvent, PlatformUnreachable, ServerBusy, StatusEvent, StepEvent
from pixyz_worker.exception import PixyzTimeout, PixyzWebError


@pytest.fixture
def path(server_kit: Any) -> str:
    """Path of the job's stream."""
    return f"/jobs/{server_kit.UUID}/events"


@pytest.fixture
def story(server_kit: Any, peer: Any) -> list[Any]:
    """A job with two steps and a log line."""
    kit = server_kit
    peer.events = [
        kit.status("RUNNING", 0),
        kit.step(0, "Step 1", 0),
        kit.log("hello\n"),
        kit.step(0, "Step 1", 0, 0.1),
        kit.step(1, "Step 2", 50),
        kit.status("SUCCESS", 100),
    ]
    return peer.events


def test_events_are_typed_and_end_with_the_job(client: Client, story: list[Any], server_kit: Any) -> None:
    """Given a job's story, when it is followed, then each event is a value and the last one terminal."""
    events = list(client.events(server_kit.UUID))
    assert [type(event) for event in events] == [
        StatusEvent,
        StepEvent,
        LogEvent,
        StepEvent,
        StepEvent,
        StatusEvent,
    ]
    assert [event.id for event in events] == ["1", "2", "3", "4", "5", "6"]
    assert isinstance(events[-1], StatusEvent)
    assert events[-1].terminal


def test_broken_connections_lose_and_repeat_nothing(
    client: Client, peer: Any, story: list[Any], path: str, server_kit: Any
) -> None:
    """Given a connection that breaks twice, when the job is followed, then each event comes once."""
    peer.cut[path] = [2, 1]
    events = list(client.events(server_kit.UUID))
    assert [event.id for event in events] == ["1", "2", "3", "4", "5", "6"]
    places = [request.headers.get("last-event-id") for request in peer.asked(path)]
    assert places == [None, "2", "3"]


@pytest.mark.parametrize("code", [502, 503])
def test_a_restarting_server_is_waited_for(
    client: Client, peer: Any, story: list[Any], path: str, server_kit: Any, code: int
) -> None:
    """Given a server that is not ready, when the job is followed, then it is asked again."""
    peer.answers[path] = [server_kit.refusal(code, "restarting")] * 2
    assert len(list(client.events(server_kit.UUID))) == 6
    assert len(peer.asked(path)) == 3


def test_nothing_left_to_say_ends_the_stream(client: Client, peer: Any, path: str, server_kit: Any) -> None:
    """Given a stream that ends without a terminal status, when it answers 204, then that is the end."""
    peer.events = [server_kit.log("bye\n")]
    assert [type(event) for event in client.events(server_kit.UUID)] == [LogEvent]
    assert len(peer.asked(path)) == 2


def test_unknown_events_are_skipped(client: Client, peer: Any, server_kit: Any) -> None:
    """Given an event of a newer server, when the job is followed, then it is passed over."""
    peer.events = [("weather", {"sun": True}), server_kit.status("REVOKED")]
    assert [event.id for event in client.events(server_kit.UUID)] == ["2"]


def test_patience_ends(peer: Any, path: str, server_kit: Any) -> None:
    """Given a server that stays away, when patience is over, then its last answer is the error."""
    peer.answers[path] = [server_kit.refusal(503, "the engine is not ready") for _ in range(50)]
    with (
        Client(peer.url, server_kit.TOKEN, patience=0.3) as client,
        pytest.raises(ServerBusy, match="not ready"),
    ):
        list(client.events(server_kit.UUID))


def test_nobody_there_is_a_sentence(closed_url: str, server_kit: Any) -> None:
    """Given a closed port, when patience is over, then the error says how to start a platform."""
    with Client(closed_url, patience=0.2) as client, pytest.raises(PlatformUnreachable, match="pixyz up"):
        list(client.events(server_kit.UUID))


def test_a_page_of_something_else_is_no_stream(peer: Any, path: str, server_kit: Any) -> None:
    """Given a proxy's page with status 200, when patience is over, then following fails."""
    peer.answers[path] = [PlainTextResponse("maintenance") for _ in range(50)]
    with Client(peer.url, server_kit.TOKEN, patience=0.2) as client, pytest.raises(PlatformUnreachable):
        list(client.events(server_kit.UUID))


def test_a_refusal_is_not_tried_again(peer: Any, path: str, server_kit: Any) -> None:
    """Given a wrong token, when a job is followed, then it is asked once."""
    with Client(peer.url, "wrong") as client, pytest.raises(PixyzWebError, match="token"):
        list(client.events(server_kit.UUID))
    assert len(peer.asked(path)) == 1


def test_a_deadline_ends_the_wait(client: Client, peer: Any, path: str, server_kit: Any) -> None:
    """Given a job that goes on, when the time is over, then the wait ends with a timeout."""
    peer.events = [server_kit.status("RUNNING")] * 30
    peer.cut[path] = [1] * 30
    with pytest.raises(PixyzTimeout, match="goes on"):
        client.wait(server_kit.UUID, timeout=0.2)


def test_wait_returns_the_last_state(client: Client, peer: Any, server_kit: Any) -> None:
    """Given a job that fails, when it is waited for, then its state has the error."""
    peer.events = [server_kit.status("FAILURE", 0, "ValueError: no")]
    assert client.wait(server_kit.UUID) == peer.events[0][1]
