"""Scripts that the acceptance tests submit."""

from __future__ import annotations

NOTHING = "def main(pc, params):\n    pass\n"

ECHO = "def main(pc, params):\n    return params\n"

RETURN = "import json\ndef main(pc, params):\n    return json.loads(params['json'])\n"

WAIT_AT_GATE = """
import os, time
from pathlib import Path

def wait_at(gate):
    deadline = time.monotonic() + 30
    while not Path(gate).exists():
        if time.monotonic() > deadline:
            raise TimeoutError("nobody opened the gate")
        time.sleep(0.01)
"""
"""Not a script of its own: put before one, it gives `wait_at(path)`, which returns once that file is there."""

GATED = (
    WAIT_AT_GATE
    + """
def main(pc, params):
    wait_at(params["gate"])
    return "through"
"""
)

TWO_STEPS = (
    WAIT_AT_GATE
    + """
def main(pc, params):
    pc.progress_set_total(2)
    pc.progress_next("one")
    wait_at(params["gate"] + ".1")
    pc.progress_next("two")
    print("in the middle", flush=True)
    wait_at(params["gate"])
    return {"steps": 2}
"""
)

FILES = """
from pathlib import Path

def main(pc, params):
    for name, text in params.items():
        path = Path(pc.get_output_dir(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
"""

CONTEXT = """
def main(pc, params):
    keys = ("entrypoint", "queue", "compute_only", "root_file", "raw", "data", "retry", "is_local", "tmp")
    seen = {key: pc.get(key) for key in keys}
    seen["input"] = open(pc.get_input_file()).read() if pc.get("input_file") else None
    return seen

def other(pc, params):
    return "other"
"""
