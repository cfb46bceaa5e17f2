#!/usr/bin/env python3
import time
from pixyz_worker.script import *


def main(pc: ProgramContext, params: dict):
    t = params.get("t", 0.1)
    print(f"sleep {t} sec")
    time.sleep(t)
    return t


if __name__ == "__main__":
    main(ProgramContext.from_local(__file__), {"t": float(sys.argv[1])} if len(sys.argv) > 1 else {})
