#!/usr/bin/env python3
import time
from pixyz_worker.script import *


def main(pc: ProgramContext, params: dict):
    pc.progress_set_total(2)  # Define 2 steps
    pc.progress_next("Step 1: Doing something")
    time.sleep(0.1)
    pc.progress_next("Step 2: Doing something else")
    time.sleep(0.2)


if __name__ == "__main__":
    main(ProgramContext.from_local(__file__), {})
