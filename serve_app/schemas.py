"""The shapes of the answers, for the generated API documentation; the engine makes the values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Status = Literal["SENT", "PENDING", "RECEIVED", "STARTED", "RUNNING", "SUCCESS", "FAILURE", "RETRY", "REVOKED"]


class JobState(BaseModel):
    """How a job stands."""

    uuid: str = Field(description="The job's id.")
    name: str = Field(description="Alias given by the caller, else the script's or process's name.")
    status: Status = Field(description="SUCCESS, FAILURE and REVOKED are final.")
    progress: int | None = Field(description="0 to 100, or null while nothing is known.")
    error: str | None = Field(description="Python traceback of a failed script, or a sentence.")


class TimeInfo(BaseModel):
    """When a job was accepted, began and ended, in ISO 8601."""

    request: str
    started: str | None
    stopped: str | None


class Step(BaseModel):
    """One step of a job's progress."""

    duration: float = Field(description="Seconds; -1 until it ends.")
    info: str


class Attempt(BaseModel):
    """One run of a job on a worker."""

    number: int
    queue: str
    node: str | None
    pid: int | None
    started: str | None
    stopped: str | None
    failure: str | None


class JobDetails(JobState):
    """All that is known of a job."""

    time_info: TimeInfo
    steps: list[Step]
    retry: int = Field(description="Runs after the first.")
    result: Any = Field(description="Whatever JSON the script returned.")
    process: str
    entrypoint: str
    queue: str
    time_limit: float
    attempt: int
    attempts: list[Attempt]
    parent_id: str | None = Field(description="Job whose script started this one.")
    kind: Literal["task", "part", "group", "graph"]
    graph: str | None = Field(description="Graph that the job is a node of.")
    notes: list[str] = Field(description="What the platform did differently from what was asked.")


class GraphNode(BaseModel):
    """A job of a graph: the job whose script started it, a task, a part of chunks, or a group."""

    id: str = Field(description="Id of the job; all paths of jobs take it.")
    kind: Literal["job", "task", "part", "group"]
    name: str
    entrypoint: str | None = Field(description="Function that is called; null for a group.")
    queue: str | None = Field(description="Queue that it runs on; null for a group.")
    state: Status
    progress: int | None = Field(description="0 to 100, or null while nothing is known.")
    error: str | None = Field(description="Last line of the error.")
    started: str | None = Field(description="When it began, in ISO 8601.")
    stopped: str | None = Field(description="When it ended, in ISO 8601.")
    duration: float | None = Field(description="Seconds that it ran, so far.")
    retry: int = Field(description="Runs after the first.")
    group: str | None = Field(description="Id of the group that it is a member of.")
    parent_id: str | None = Field(description="Id of the job whose script started it.")


class GraphEdge(BaseModel):
    """What leads from one node to another; a group as the source stands for the list of its results."""

    source: str = Field(description="Id of a node.")
    target: str = Field(description="Id of a node.")
    kind: Literal["starts", "data", "order"] = Field(
        description="starts: the source's script started a graph, of which this is a first node. data: the target's "
        "params are the source's result. order: the target only comes after the source."
    )


class GraphView(BaseModel):
    """A job with all that its script started, and what that started in turn."""

    uuid: str = Field(description="Id of the job.")
    state: Status
    nodes: list[GraphNode] = Field(description="The job itself first.")
    edges: list[GraphEdge]


class TaskMeta(BaseModel):
    """A job in the words of the scheduler's result backend."""

    status: Status
    result: Any
    traceback: str | None
    children: list[Any]
    parent_id: str | None
    task_id: str
    date_done: str | None


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[JobState]
    next: str | None = Field(description="Pass as `after` for the next page; null on the last.")


class ProcessList(BaseModel):
    """Names of the pre-built processes."""

    processes: list[str]


class ProcessDoc(BaseModel):
    """Documentation of one process."""

    doc: str


class OutputList(BaseModel):
    """Relative paths of a job's outputs."""

    outputs: list[str]


class Health(BaseModel):
    """Whether the platform can take jobs."""

    status: Literal["ok", "starting"]
    version: str
    ready: bool


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: int
    message: str
    details: str


class Error(BaseModel):
    """Body of every error."""

    detail: ErrorDetail
