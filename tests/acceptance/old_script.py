"""A job's script as users of Celery write them: each entrypoint exercises one thing that they rely on.

Each returns a plain value, the same on a workstation and on the platform.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pixyz_worker.exception import MaxRetriesExceededError, TaskRevokedError
from pixyz_worker.script import ProgramContext, chain, chord, group, pixyz_execute, pixyz_schedule, subtask_async

PATIENCE_S = 60


def wait_for(path: str) -> None:
    """Return once a file is there."""
    deadline = time.monotonic() + PATIENCE_S
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody wrote {path}")
        time.sleep(0.02)


# --- Tasks -----------------------------------------------------------------------------------------------------------


def ident(pc: ProgramContext, params: Any) -> Any:
    """Return the params."""
    return params


def names(pc: ProgramContext, params: Any) -> Any:
    """Return the names of the params."""
    return sorted(params)


def own(pc: ProgramContext, params: Any) -> Any:
    """Return the own keys of the context that the params name, with their types."""
    return {key: [type(pc[key]).__name__, repr(pc[key])] for key in params["keys"]}


def kinds(pc: ProgramContext, params: Any) -> Any:
    """Return the types of the params' values."""
    return {key: [type(value).__name__, str(value)] for key, value in params.items()}


def content(pc: ProgramContext, params: Any) -> Any:
    """Return the input: its content, the names beside it, and whether all ways to it agree."""
    path = Path(pc.get_input_file())
    same = pc["input_file"] == str(path) and Path(pc.get_input_dir()) in path.parents
    return [path.read_text(), sorted(each.name for each in Path(pc.get_input_dir()).iterdir()), same]


def has_input(pc: ProgramContext, params: Any) -> Any:
    """Return the input's name, or the name of the error."""
    try:
        return Path(pc.get_input_file()).name
    except Exception as error:
        return type(error).__name__


def queue(pc: ProgramContext, params: Any) -> Any:
    """Return the queue."""
    return pc["queue"]


def facts(pc: ProgramContext, params: Any) -> Any:
    """Return what the context says of the task."""
    task = pc["task"]
    return [task.request.id == pc["task_id"] == task.id, task.request.retries, task.name, pc["retry"]]


def note(pc: ProgramContext, params: Any) -> Any:
    """Append the time and the params to a file."""
    with Path(pc["file"]).open("a") as file:
        file.write(f"{time.time()} {params!r}\n")
    return params


def boom(pc: ProgramContext, params: Any) -> Any:
    """Fail."""
    raise ValueError("bad part")


def flaky(pc: ProgramContext, params: Any) -> Any:
    """Ask for a retry until the third attempt."""
    task = pc["task"]
    if task.request.retries < 2:
        raise task.retry(countdown=0.05)
    return task.request.retries


def hopeless(pc: ProgramContext, params: Any) -> Any:
    """Ask for a retry more often than it may."""
    error = ValueError("still bad") if params.get("exc") else None
    pc["task"].retry(countdown=0, max_retries=1, exc=error)


def showing(pc: ProgramContext, params: Any) -> Any:
    """Show a state, and wait until somebody has seen it."""
    pc["task"].update_state(state="CONVERTING", meta={"done": 3})
    Path(params["shown"]).touch()
    wait_for(params["seen"])
    return "done"


# --- Params ----------------------------------------------------------------------------------------------------------


def raw(pc: ProgramContext, entrypoint: str, **context: Any) -> ProgramContext:
    """Return the context of a raw task."""
    return pc.clone(entrypoint=entrypoint, raw=True, **context)


def merging(pc: ProgramContext, params: Any) -> Any:
    """Start tasks in every way that there is; return which params each of them sees."""
    params["where"] = "main"
    see = raw(pc, "names")
    listed = raw(pc, "ident", params={"quality": 9})
    chained = chain(pixyz_execute.s({"a": 1}, raw(pc, "ident")), pixyz_execute.s(pc=see))
    return {
        "own": pixyz_execute.s({"own": 1}, see).apply_async().get(),
        "none": pixyz_execute.s(pc=see).apply_async().get(),
        "empty": pixyz_execute.delay({}, see).get(),
        "list": pixyz_execute.delay([1, 2], raw(pc, "ident")).get(),
        "scalar": pixyz_execute.delay(5, raw(pc, "ident")).get(),
        "null": pixyz_execute.delay(None, raw(pc, "ident")).get(),
        "over": pixyz_execute.delay({"quality": 4}, raw(pc, "ident")).get()["quality"],
        "cloned": pixyz_execute.delay({}, listed).get()["quality"],
        "chain": chained().get(),
        "group": group(pixyz_execute.s({"n": n}, see) for n in range(2))().get(),
        "chord": chord([pixyz_execute.s({}, see)], pixyz_execute.s(pc=raw(pc, "ident")))().get(),
        "chunks": pixyz_execute.chunks([({"n": n}, see) for n in range(2)], 2)().get(),
        "map": pixyz_execute.s(pc=see).map([{"n": 1}, {"m": 1}])().get(),
        "starmap": pixyz_execute.starmap([({"n": 1}, see)])().get(),
        "in place": pixyz_execute({"own": 1}, see),
        "execute": see.execute({"own": 1}).get(),
        "subtask": subtask_async(pc, "names", {"own": 1}, raw=True).get(),
        "plain dict": pixyz_execute.delay({"own": 1}, {"entrypoint": "names", "raw": True}).get(),
        "deep": pixyz_execute.delay({"x": {"b": 1}}, raw(pc, "ident", params={"x": {"a": 1}})).get()["x"],
    }


def own_keys(pc: ProgramContext, params: Any) -> Any:
    """Hand values of any kind to tasks, by the context and by the params."""
    values = {"mine": "hello", "number": 3, "nothing": None, "table": {"a": [1, 2]}, "no": False}
    odd = {"when": datetime(2026, 1, 2, 3), "raw_bytes": b"\x00\xff", "chosen": {1}, "pair": (1, 2)}
    keys = {"keys": sorted(values | odd)}
    first = raw(pc, "own", **values, **odd)
    again = chain(pixyz_execute.s(keys, first), pixyz_execute.si(keys, first.clone(mine="other")))
    return {
        "task": pixyz_execute.delay(keys, first).get(),
        "chain": again().get()["mine"],
        "chunks": pixyz_execute.chunks([(keys, first)], 1)().get()[0][0]["when"],
        "params": pixyz_execute.delay({**values, **odd}, raw(pc, "kinds")).get(),
        "not raw": pixyz_execute.delay(odd, raw(pc, "kinds").clone(raw=False)).get()["result"]["when"],
    }


# --- Input -----------------------------------------------------------------------------------------------------------


def inputs(pc: ProgramContext, params: Any) -> Any:
    """Give tasks inputs of their own, in every way that there is."""
    for n in range(3):
        Path(pc.get_output_dir(f"parts/part{n}.txt")).parent.mkdir(exist_ok=True)
        Path(pc.get_output_dir(f"parts/part{n}.txt")).write_text(str(n))
    one = pc.get_output_dir("parts/part1.txt")
    by_key = raw(pc, "content")
    by_key["data"] = one
    parts = [pixyz_execute.s({}, raw(pc, "content", data=pc.get_output_dir(f"parts/part{n}.txt"))) for n in range(3)]
    return {
        "group": [text for text, _, _ in group(parts)().get()],
        "beside": pixyz_execute.delay({}, raw(pc, "content", data=one)).get(),
        "relative": pixyz_execute.delay({}, raw(pc, "content", data="parts/part2.txt")).get()[0],
        "path": pixyz_execute.delay({}, raw(pc, "content", data=Path(one))).get()[0],
        "by key": pixyz_execute.delay({}, by_key).get()[0],
        "input_file": pixyz_execute.delay({}, raw(pc, "content", input_file=one)).get()[0],
        "compute_only": pixyz_execute.delay({}, raw(pc, "has_input", data=one, compute_only=True)).get(),
        "chain": chain(pixyz_execute.s({}, by_key), pixyz_execute.si({}, raw(pc, "content", data=one)))().get()[0],
        "of the job": pixyz_execute.delay({}, raw(pc, "has_input")).get(),
        "missing": pixyz_execute.delay({}, raw(pc, "has_input", data="no such file")).get(),
        "own value": pixyz_execute.delay({}, raw(pc, "has_input", data={"a": 1})).get(),
        "none": pixyz_execute.delay({}, raw(pc, "has_input", data=None)).get(),
        "job": [pc["data"] and Path(pc["data"]).name, pc.get("input_file") and Path(pc["input_file"]).name],
    }


def archive(pc: ProgramContext, params: Any) -> Any:
    """Look at an input that is an archive, here and in tasks."""
    other = raw(pc, "content", root_file=params["other"])
    return {
        "members": sorted(each.name for each in Path(pc.get_input_dir()).iterdir()),
        "root": Path(pc["input_file"]).name,
        "data": Path(pc["data"]).name,
        "here": content(pc, {}),
        "task": pixyz_execute.delay({}, raw(pc, "content")).get(),
        "other root": pixyz_execute.delay({}, other).get()[0],
        "compute_only": pixyz_execute.delay({}, raw(pc, "has_input", compute_only=True)).get(),
    }


def twice(pc: ProgramContext, params: Any) -> Any:
    """Lose the root file of the input at the first attempt, and look at the input at the second."""
    if pc["retry"] == 0:
        Path(pc["input_file"]).unlink()
        raise pc["task"].retry(countdown=0)
    return content(pc, params)


def in_place(pc: ProgramContext, params: Any) -> Any:
    """Run a task in place whose input is an archive."""
    return pixyz_execute({}, raw(pc, "content"))


# --- Celery ----------------------------------------------------------------------------------------------------------


def queues(pc: ProgramContext, params: Any) -> Any:
    """Say in every way on which queue a task runs."""
    statement = pixyz_execute.s({}, raw(pc, "queue"))
    statement.set(queue="zip")
    return {
        "default": pixyz_execute.delay({}, raw(pc, "queue")).get() if not pc.is_local() else "gpu",
        "statement": statement.apply_async().get(),
        "context": pixyz_execute.delay({}, raw(pc, "queue", queue="control")).get(),
        "signature": pixyz_execute.s({}, raw(pc, "queue", queue="control")).set(queue="zip").delay().get(),
        "grandchild": pixyz_execute.delay({}, raw(pc, "grandchild", queue="control")).get(),
    }


def grandchild(pc: ProgramContext, params: Any) -> Any:
    """Start a task whose context has no queue of its own: it does not run on this one's."""
    return pixyz_execute.delay({}, raw(pc, "queue")).get() if not pc.is_local() else "gpu"


def later(pc: ProgramContext, params: Any) -> Any:
    """Start tasks later; return how long each waited, in whole seconds."""
    began = time.time()
    target = {name: pc.get_output_dir(f"{name}.txt") for name in ("countdown", "eta", "first", "second")}
    context = {name: raw(pc, "note", file=path) for name, path in target.items()}
    pixyz_execute.apply_async(({}, context["countdown"]), countdown=1).get(timeout=PATIENCE_S)
    pixyz_execute.s({}, context["eta"]).apply_async(eta=datetime.now(UTC) + timedelta(seconds=1)).get(
        timeout=PATIENCE_S
    )
    steps = chain(pixyz_execute.si({}, context["first"]), pixyz_execute.si({}, context["second"]).set(countdown=1))
    steps().get(timeout=PATIENCE_S)
    times = {name: float(Path(path).read_text().split()[0]) for name, path in target.items()}
    return [
        times["countdown"] - began >= 1,
        times["eta"] - times["countdown"] >= 1,
        times["second"] - times["first"] >= 1,
    ]


def expiring(pc: ProgramContext, params: Any) -> Any:
    """Start tasks that expire before they begin; what follows them does not run."""
    past = datetime.now(UTC).replace(tzinfo=None) - timedelta(seconds=1)
    alone = pixyz_execute.apply_async(({}, raw(pc, "ident")), countdown=30, expires=0.2)
    first = pixyz_execute.s({}, raw(pc, "ident")).set(expires=past)
    end = chain(first, pixyz_execute.s(pc=raw(pc, "ident")))()
    in_time = pixyz_execute.apply_async(({"a": 1}, raw(pc, "ident")), expires=60).get(timeout=PATIENCE_S)
    error = alone.get(timeout=PATIENCE_S, propagate=False)
    end.get(timeout=PATIENCE_S, propagate=False)
    return [isinstance(error, TaskRevokedError), alone.state, end.state, end.parent.state, in_time["a"]]


def callbacks(pc: ProgramContext, params: Any) -> Any:
    """Link callbacks to tasks and compositions; return what each of them got."""
    files = {name: pc.get_output_dir(f"{name}.txt") for name in ("well", "badly", "chain", "fixed", "many", "idle")}
    to = {name: pixyz_execute.s(pc=raw(pc, "note", file=path, params=None)) for name, path in files.items()}
    ok, bad = raw(pc, "ident"), raw(pc, "boom", params=None)
    one = pixyz_execute.apply_async((7, ok), link=to["well"], link_error=to["idle"])
    two = pixyz_execute.s({}, bad).on_error(to["badly"]).apply_async(link=to["idle"])
    three = chain(pixyz_execute.s(1, ok), pixyz_execute.s(pc=ok))
    three.link(to["chain"])
    three = three.apply_async()
    four = pixyz_execute.s({}, bad)
    four.link_error(pixyz_execute.si("as it was", to["fixed"].pc))
    four = four.delay()
    five = group(pixyz_execute.s(n, ok) for n in range(2)) | pixyz_execute.s(pc=ok)
    five = five.apply_async(link=[to["many"], chain(pixyz_execute.s(pc=ok), to["many"])])
    results = [each.get(timeout=PATIENCE_S, propagate=False) for each in (one, two, three, four, five)]
    children = [child for each in (one, two, three, four, five) for child in each.children]
    ends = [[child.get(timeout=PATIENCE_S, propagate=False), child.state][1] for child in children]
    for name in ("well", "badly", "chain", "fixed", "many"):
        wait_for(files[name])
    deadline = time.monotonic() + PATIENCE_S
    while len(Path(files["many"]).read_text().splitlines()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    got = {
        name: sorted(line.partition(" ")[2] for line in Path(path).read_text().splitlines())
        if Path(path).exists()
        else None
        for name, path in files.items()
    }
    got["badly"] = got["badly"] == [repr(two.id)]
    return {"results": [repr(each) for each in results], "got": got, "ends": sorted(ends)}


def alarms(pc: ProgramContext, params: Any) -> Any:
    """Link error callbacks to compositions; return how often each was called."""
    ok, bad = raw(pc, "ident"), raw(pc, "boom", params=None)
    out: dict[str, int] = {}

    def counted(name: str, make: Any) -> None:
        path = Path(pc.get_output_dir(f"{name}.txt"))
        handle = make(pixyz_execute.s(pc=raw(pc, "note", file=str(path), params=None)))
        handle.get(timeout=PATIENCE_S, propagate=False)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            states = [child.state for each in tasks(handle) for child in each.children if child != handle]
            if set(states) <= {"SUCCESS", "FAILURE", "REVOKED"} or time.monotonic() > deadline:
                break
            time.sleep(0.02)
        out[name] = len(path.read_text().splitlines()) if path.exists() else 0

    def s(context: ProgramContext) -> Any:
        return pixyz_execute.s(pc=context)

    first = pixyz_execute.s({}, bad)
    members = [pixyz_execute.s(1, ok), pixyz_execute.s({}, bad)]
    counted("chain", lambda to: chain(first.clone(), s(ok), s(ok), s(ok)).on_error(to).apply_async())
    counted("not run", lambda to: chain(first.clone(), s(ok).on_error(to), s(ok)).apply_async())
    counted("chord", lambda to: chord([each.clone() for each in members], s(ok)).on_error(to).apply_async())
    counted("option", lambda to: chain(first.clone(), s(ok)).apply_async(link_error=to))
    counted("callbacks", lambda to: chain(members[0].set(link=s(bad)), s(ok)).on_error(to).apply_async())
    return out


def tasks(handle: Any) -> Any:
    """Return the handles of all tasks of a graph."""
    from pixyz_worker.result import task_handles

    return task_handles(handle)


def revoked(pc: ProgramContext, params: Any) -> Any:
    """Catch the end of a revoked task by Celery's name; ask for an id that nobody knows."""
    unknown = pc.AsyncResult("99999999-0000-4000-8000-000000000000")
    unknown.revoke()
    out = {"unknown": [unknown.state, unknown.children]}
    handle = pixyz_execute.apply_async(({}, raw(pc, "ident")), countdown=60, expires=0.2)
    try:
        handle.get(PATIENCE_S, True, 0.1)
    except TaskRevokedError as error:
        out["caught"] = type(error).__name__
    return out


def side_by_side(pc: ProgramContext, params: Any) -> Any:
    """Start members of a group after the same countdown; return whether they waited together."""
    path = Path(pc.get_output_dir("times.txt"))
    member = pixyz_execute.s({}, raw(pc, "note", file=str(path)))
    group(member.clone() for _ in range(2)).apply_async(countdown=1).get(timeout=PATIENCE_S)
    times = sorted(float(line.split()[0]) for line in path.read_text().splitlines())
    return times[1] - times[0] < 0.9


def odd_keys(pc: ProgramContext, params: Any) -> Any:
    """Give own keys the names of arguments."""
    return pixyz_execute.delay({"keys": ["self", "cls", "args"]}, raw(pc, "own", self=1, cls=2, args=3)).get()


def retries(pc: ProgramContext, params: Any) -> Any:
    """Ask for retries."""
    flaky = pixyz_execute.delay({}, raw(pc, "flaky"))
    out = {"flaky": flaky.get(timeout=PATIENCE_S), "record": pc.clone(entrypoint="flaky")}
    out["record"] = pixyz_execute.delay({}, out["record"]).get(timeout=PATIENCE_S)["retry"]
    hopeless = pixyz_execute.delay({}, raw(pc, "hopeless")).get(timeout=PATIENCE_S, propagate=False)
    own = pixyz_execute.delay({"exc": True}, raw(pc, "hopeless")).get(timeout=PATIENCE_S, propagate=False)
    return {**out, "hopeless": isinstance(hopeless, MaxRetriesExceededError), "own": repr(own)}


def handles(pc: ProgramContext, params: Any) -> Any:
    """Ask handles what Celery's have."""
    from celery.result import ResultSet

    one = pixyz_execute.delay({"a": 1}, raw(pc, "ident", params=None))
    both = group(pixyz_execute.s(n, raw(pc, "ident")) for n in (1, 2))()
    seen: list[Any] = []
    values = [one.get(callback=lambda id, value: seen.append([id == one.id, value]))]
    values.append(both.get(callback=lambda id, value: seen.append([id in both.as_list(), value])))
    done = one.date_done
    found = ResultSet([one])
    found.add(both[0])
    found.add(both[0])
    nested = chain(pixyz_execute.s(1, raw(pc, "ident")), pixyz_execute.s(pc=raw(pc, "ident")))()
    nested.get()
    failed = group(pixyz_execute.s({}, raw(pc, "boom")), pixyz_execute.s(1, raw(pc, "ident")))()
    failed.get(propagate=False)
    out = {
        "values": values,
        "seen": seen,
        "info": one.info,
        "naive": done.tzinfo is None and abs((datetime.now(UTC).replace(tzinfo=None) - done).total_seconds()) < 60,
        "set": [len(found), found.join(), found.join_native(), found.waiting(), found.ready(), found.successful()],
        "native": [meta["status"] for _, meta in both.iter_native()],
        "iterated": sorted(both.iterate()),
        "children": [type(one.children).__name__, len(nested.parent.children), nested.parent.children[0] == nested],
        "collected": [value for _, value in nested.parent.collect()],
        "failed": [failed.failed(), failed.waiting(), failed.successful(), failed.completed_count()],
    }
    one.forget()
    out["applied"] = pixyz_execute.s(3, raw(pc, "ident")).apply().get()
    applied = pixyz_execute.apply(({}, raw(pc, "boom")))
    return {**out, "bad": [applied.state, repr(applied.result)]}


def signatures(pc: ProgramContext, params: Any) -> Any:
    """Read signatures as Celery's are read, and nest groups."""
    context = raw(pc, "ident")
    one = pixyz_execute.s(1, context)
    two = one.clone()
    two.set(queue="zip")
    frozen = pixyz_execute.s(2, context)
    id = frozen.freeze().id
    return {
        "read": [one["task"], one.task, one.args == (1, context), one.kwargs, one["options"], one.get("none", 5)],
        "by name": [pixyz_execute.s(pc=context).args, pixyz_execute.s(pc=context).kwargs == {"pc": context}],
        "clone": [one.options, two.options, two.args == one.args],
        "frozen": [frozen.id == id, frozen.apply_async().id == id],
        "nested": group(group(one), pixyz_execute.s(2, context), group(group(one)))().get(),
        "in a chain": group(chain(group(one, one)), one)().get(),
        "facts": pixyz_execute.delay({}, raw(pc, "facts")).get(),
        "immutable": chain(one, pixyz_execute.s(9, context).set(immutable=True))().get(),
        "immutable group": chain(one, group(pixyz_execute.s(8, context)).set(immutable=True))().get(),
    }


REFUSED: list[Any] = [
    {"routing_key": "x"},
    {"soft_time_limit": 3},
    {"headers": {}},
    {"quueue": "cpu"},
    {"task_id": "mine"},
    {"countdown": "soon"},
    {"eta": 5},
    {"expires": "never"},
    {"link": "a task"},
    {"keep": True},
]


def refusals(pc: ProgramContext, params: Any) -> Any:
    """Give options that cannot be; return what is said of each."""
    said = []
    for options in REFUSED:
        for start in (pixyz_execute.s({}, raw(pc, "ident")).set, lambda **o: pixyz_execute.apply_async(({}, pc), **o)):
            try:
                start(**options)
                said.append("taken")
            except Exception as error:
                said.append(f"{type(error).__name__}: {error}")
    try:
        group(pixyz_execute.s({}, raw(pc, "ident"))).apply_async(link=pixyz_execute.s(pc=pc))
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")
    return said


@pixyz_schedule(wait=True)
def awaited(pc: ProgramContext, params: Any) -> Any:
    """Return the handle of a graph with callbacks: the result is that of the graph."""
    to = pixyz_execute.s(pc=raw(pc, "note", file=pc.get_output_dir("note.txt"), params=None))
    return chain(pixyz_execute.s(1, raw(pc, "ident")), pixyz_execute.s(pc=raw(pc, "ident"))).apply_async(link=to)


def long_chain(pc: ProgramContext, params: Any) -> Any:
    """Start a chain that is too long for its ids to be nested in JSON; return what the job's handle says of it."""
    context = raw(pc, "ident", params=None)
    end = chain(pixyz_execute.s(1, context), *[pixyz_execute.s(pc=context)] * 120)()
    end.get(timeout=PATIENCE_S)
    own = pc.AsyncResult(pc["task_id"]).children
    return [own[-1].id == end.id, own[-1].get(timeout=PATIENCE_S), len(list(end.parent.children))]
