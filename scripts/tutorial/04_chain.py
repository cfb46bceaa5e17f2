#!/usr/bin/env python3
from pixyz_worker.script import *
from pixyz_worker.tasks import pixyz_execute
import time
from celery import chain


def my_sleep(pc: ProgramContext, params: dict):
    pc.progress_next("inception inside should not working" + str(params))
    print("task params: ", params)
    time.sleep(params["time"])
    params["time"] = params["time"] / 10
    return params


def main(pc: ProgramContext, params: dict):
    # The first task has params of its own. The second one has none, therefore pc=: it gets what the first returned,
    # just as it is, since the context is raw.
    c = chain(
        pixyz_execute.s({"time": 2, "id": 2}, pc.clone().update(entrypoint="my_sleep", raw=True)),
        pixyz_execute.s(pc=pc.clone().update(entrypoint="my_sleep", raw=True)),
    ).apply_async()
    # c.parent.save()
    print("chain return" + str(c) + str(type(c)))
    print(c.children)
    return c.as_tuple()


if __name__ == "__main__":
    print(main(ProgramContext.from_local(__file__), {}))
