"""The shapes of the answers, for the generated API documentation; the engine makes the values."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

Status = Literal["SENT", "PENDING", "RECEIVED", "STARTED", "RUNNING", "SUCCESS", "FAILURE", "RETRY", "REVOKED"]


class JobState(BaseModel):
    """How a job stands."""

    uuid: str = Field(description="The job's id.")
    name: str | None = Field(description="Alias given by the caller; null without one.")
    status: Status = Field(description="SUCCESS, FAILURE and REVOKED are final.")
    progress: int | None = Field(description="0 to 100, or null while nothing is known.")
    error: str | None = Field(description="Python traceback of a failed script, or a sentence.")


class Waiting(BaseModel):
    """Why a job has not begun."""

    position: int | None = Field(description="1 for the next of its queue; null before its time has come.")
    reason: str = Field(description="What it waits for, in words.")
    expected_start: str | None = Field(description="When it should begin, judged by those before it, in ISO 8601.")


class ListedJob(JobState):
    """A job of a list."""

    label: str = Field(description="The alias, else the name of the process or script, for people to read.")
    process: str = Field(description="Pre-built process, or `custom`.")
    script: str = Field(description="File name of the script.")
    waiting: Waiting | None = Field(
        default=None, description="Only when asked with why=true, and for a job that has not begun."
    )


class TimeInfo(BaseModel):
    """When a job was accepted, began and ended, in ISO 8601."""

    request: str
    started: str | None
    stopped: str | None


class Step(BaseModel):
    """One step of a job's progress."""

    duration: float = Field(description="Seconds; -1 until it ends.")
    info: str
    count: int | None = Field(
        None, description="Steps that are shown as this one; only of those in the middle of many."
    )


class Attempt(BaseModel):
    """One run of a job on a worker."""

    number: int
    queue: str
    node: str | None
    pid: int | None
    started: str | None
    stopped: str | None
    failure: str | None = Field(description="Class of its failure, such as user_error, timeout or out_of_memory.")
    error: str | None = Field(description="What happened and what to do, as a sentence.")
    log: str | None = Field(description="Last lines of the log.")
    peak_rss: int | None = Field(description="Most memory of all its processes together, in bytes.")
    peak_uss: int | None = Field(description="Most of it that was theirs alone, in bytes.")
    peak_gpu_memory: int | None = Field(description="Most of its processes on one GPU, in bytes; null if unknown.")
    cpu_time: float | None = Field(description="CPU time of all its processes, in seconds.")
    signal: int | None = Field(description="Signal that ended its process.")
    exit_code: int | None = Field(description="Code that its process left with.")
    uncounted: bool = Field(
        description="Whether the platform itself ended or refused it: it does not count as a retry."
    )


class JobDetails(JobState):
    """All that is known of a job."""

    time_info: TimeInfo
    steps: list[Step]
    retry: int = Field(description="Runs after the first, without uncounted ones.")
    result: Any = Field(description="Whatever JSON the script returned.")
    label: str = Field(description="The alias, else the name of the process or script, for people to read.")
    process: str = Field(description="Pre-built process, or `custom`.")
    script: str = Field(description="File name of the script.")
    entrypoint: str
    queue: str
    time_limit: float = Field(
        description="Seconds that the current attempt may take; a retry on another queue has that queue's."
    )
    attempt: int
    attempts: list[Attempt]
    parent_id: str | None = Field(description="Job whose script started this one.")
    kind: Literal["task", "part", "group", "graph"]
    graph: str | None = Field(description="Graph that the job is a node of.")
    notes: list[str] = Field(description="What the platform did differently from what was asked.")
    priority: int = Field(description="0 to 9; 9 goes first.")
    submitter: str = Field(description="Name of the token that sent it.")
    pools: dict[str, int] = Field(description="Seats that it holds while it runs, by pool.")
    retries: int | None = Field(description="How often it may be tried again; null for what its queue says.")
    retry_on: list[str] | None = Field(description="Classes of failure after which it is; null for the usual ones.")
    isolation: Literal["warm", "fresh"] = Field(description="fresh: each attempt has a process of its own.")
    memory_limit: int | None = Field(description="Bytes that an attempt may use; null for what its queue says.")
    gpu: Literal["require", "prefer"] | None = Field(
        description="require: waits for a GPU; prefer: runs on CPU where there is none; null for what its queue says."
    )
    gpu_memory: int | None = Field(description="Bytes that it needs on a GPU; null for what its queue says.")
    keep: bool | float | None = Field(description="true: never removed; a number: seconds after its end.")
    pinned: bool = Field(description="Whether it is kept until the pin is taken away.")
    waiting: Waiting | None = Field(description="Why it has not begun; null once it has.")


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
    retry: int = Field(description="Runs after the first, without uncounted ones.")
    group: str | None = Field(description="Id of the group that it is a member of.")
    parent_id: str | None = Field(description="Id of the job whose script started it.")


class GraphEdge(BaseModel):
    """What leads from one node to another; a group as the source stands for the list of its results."""

    source: str = Field(description="Id of a node.")
    target: str = Field(description="Id of a node.")
    kind: Literal["starts", "data", "order", "failure"] = Field(
        description="starts: the source's script started a graph, of which this is a first node. data: the target's "
        "params are the source's result. order: the target only comes after the source. failure: the target runs if "
        "the source fails."
    )


class GraphView(BaseModel):
    """A job with all that its script started, and what that started in turn."""

    uuid: str = Field(description="Id of the job.")
    state: Status
    nodes: list[GraphNode] = Field(description="The job itself first.")
    edges: list[GraphEdge]


class TaskRecord(BaseModel):
    """What is known of a job so far."""

    progress: int | None = Field(description="0 to 100, or null while nothing is known.")
    steps: list[Step]
    time_info: TimeInfo
    result: Any = Field(description="Whatever JSON the script returned; null until it has.")


class TaskMeta(BaseModel):
    """A job in the words of the scheduler's result backend."""

    status: Status
    result: TaskRecord = Field(description="Filled in while the job runs, too.")
    traceback: str | None
    children: list[Any]
    parent_id: str | None
    task_id: str
    date_done: str | None


class JobPage(BaseModel):
    """Jobs, newest first."""

    jobs: list[ListedJob]
    next: str | None = Field(
        description="Pass as `after` for the next page; null on the last, and always without `limit`."
    )


class ProcessList(BaseModel):
    """Names of the pre-built processes."""

    processes: list[str]


class Parameter(BaseModel):
    """A parameter of a process."""

    name: str = Field(description="Key of the params; `*` for any other key.")
    type: str = Field(description="What it may be, in words.")
    default: Any = Field(description="Value when it is not given; null for none, or for one that depends on others.")
    doc: str


class ProcessDoc(BaseModel):
    """Documentation of one process."""

    doc: str
    parameters: list[Parameter] | None = Field(description="null when the process does not declare its parameters.")


class OutputList(BaseModel):
    """Relative paths of a job's outputs."""

    outputs: list[str]


class Queue(BaseModel):
    """How a queue stands."""

    name: str
    purpose: str
    waiting: int = Field(description="Jobs that have not started, those that Ray has been given among them.")
    dispatched: int = Field(description="Those of them that Ray has been given: they wait for a free machine.")
    running: int = Field(description="Jobs whose script runs.")
    concurrency: int | None = Field(description="Jobs that may run at a time; null for as many as there is room for.")
    places: int = Field(description="Jobs that are handed to Ray at most, begun or not.")
    oldest_wait: float | None = Field(description="Seconds that the first has waited.")
    mean_run: float | None = Field(description="Seconds that a run took lately, on average.")
    started_last_minute: int


class Pool(BaseModel):
    """How a pool of seats stands."""

    name: str
    seats: int
    held: int
    waiting: int = Field(description="Jobs that wait for a seat.")


class Submitter(BaseModel):
    """How the jobs of one token stand."""

    name: str
    waiting: int
    running: int
    share: float = Field(description="Weight among those whose jobs wait.")


class Cluster(BaseModel):
    """What there is to run on."""

    CPU: float
    GPU: float
    nodes: int


class Queues(BaseModel):
    """How queues, pools and submitters stand."""

    queues: list[Queue]
    pools: list[Pool]
    submitters: list[Submitter]
    queued: int = Field(description="Jobs that wait and that Ray has not been given; max_queued is about these.")
    max_queued: int = Field(description="Jobs that may wait; one more is refused with 429.")
    cluster: Cluster


class Setting(BaseModel):
    """A setting in force."""

    name: str = Field(description="Its name in the environment and in the configuration file.")
    value: str | None = Field(description="The value in words; null without one, and for secrets.")
    source: str = Field(description="`default`, `in the environment`, `in FILE, line 3` or `on the command line`.")
    is_set: bool = Field(description="Whether it has another value than the default.")
    fingerprint: str | None = Field(
        description="Keyed digest of a secret that is set, for comparison on the platform's own machine."
    )


class Config(BaseModel):
    """The settings in force."""

    version: str
    settings: list[Setting]


class Amount(BaseModel):
    """How much a machine has of something, and how much of it is in use."""

    total: float
    used: float | None = Field(description="null where it is not known.")


class Gpu(BaseModel):
    """A GPU."""

    model: str
    memory: int = Field(description="Bytes.")


class Gpus(Amount):
    """GPUs of a machine, as Ray counts them."""

    cards: list[Gpu] = Field(description="Those that the driver names.")


class Disk(BaseModel):
    """The disk of a folder, in bytes."""

    path: str
    total: int
    free: int


class NodeShare(BaseModel):
    """How a machine sees the share."""

    ok: bool | None = Field(description="null while the machine has not answered.")
    disk: Disk | None


class NodeWorkers(BaseModel):
    """Worker processes of a machine."""

    idle: int = Field(description="Warm ones that wait for a job.")
    busy: int = Field(description="Those that run one.")


class Drain(BaseModel):
    """That no attempt may begin on a machine."""

    since: str | None = Field(description="ISO 8601.")
    deadline: str | None = Field(description="When attempts that still run are ended; null for never.")


class Node(BaseModel):
    """A machine of the cluster."""

    id: str = Field(description="Ray's id of it; another one after each start of Ray.")
    name: str = Field(description="Host name.")
    address: str
    state: Literal["joining", "ready", "draining", "drained", "unfit", "dead"]
    reason: str | None = Field(description="Why it gets no jobs, and what to do.")
    head: bool = Field(description="Whether the tracker runs there.")
    cpus: Amount
    gpus: Gpus
    memory: Amount | None = Field(description="Bytes.")
    share: NodeShare
    spill_disk: Disk | None = Field(description="Where Ray puts objects that memory has no room for.")
    pixyz: str | None = Field(description="Version of the platform that is installed there.")
    python: str | None
    ray: str | None
    workers: NodeWorkers | None
    running: int = Field(description="Jobs whose attempt runs there.")
    jobs: list[str] = Field(description="Their ids, at most 50.")
    labels: dict[str, str]
    joined: str | None = Field(description="When it was first seen, in ISO 8601.")
    left: str | None = Field(description="When it was found dead, in ISO 8601.")
    probed: float | None = Field(description="Seconds since it was last looked at.")
    drain: Drain | None


class DrainedNode(Node):
    """A machine on which no more attempts begin."""

    notes: list[str] = Field(description="Queues that no machine serves now.")


class Nodes(BaseModel):
    """The machines of the cluster; dead ones are listed for ten minutes."""

    nodes: list[Node]


class Life(BaseModel):
    """That the process answers."""

    status: Literal["ok"]
    version: str
    live: Literal[True]


class LostLife(BaseModel):
    """That the platform cannot come back by itself."""

    status: Literal["lost"]
    version: str
    live: Literal[False]
    problem: str = Field(description="What is wrong, and what to do.")


class Health(BaseModel):
    """Whether the platform can take jobs."""

    status: Literal["ok", "starting", "degraded"] = Field(
        description="starting: the tracker does not answer yet. degraded: it does, but something else is missing."
    )
    version: str
    live: bool = Field(description="Whether the process answers.")
    ready: bool = Field(description="Whether jobs can be taken.")
    checks: dict[str, str] = Field(
        description="tracker, store, share: `ok`, or what is wrong, for a caller with a token."
    )
    warnings: list[str] = Field(
        description="What is wrong with parts without which jobs are taken, such as one of several machines; for a "
        "caller with a token."
    )


class Received(BaseModel):
    """That a webhook has arrived."""

    status: Literal["ok"]


class ErrorDetail(BaseModel):
    """What went wrong."""

    code: int
    message: str
    details: str


class Error(BaseModel):
    """Body of every error."""

    detail: ErrorDetail
