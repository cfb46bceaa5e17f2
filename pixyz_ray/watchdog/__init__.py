"""The watchdog: a small process beside each worker, which survives what a script does to the worker.

`guard` is the worker's side, `watchdog` the process itself, `page` the shared memory between the two. The watchdog ends
an attempt on the tracker's word, enforces its memory limit, keeps its log within bounds, leaves no process behind, and
tells how a worker died. It runs without site packages and imports nothing of the platform beside this room, which in
turn exports nothing here: `from pixyz_ray.watchdog.guard import guard, Usage`.
"""
