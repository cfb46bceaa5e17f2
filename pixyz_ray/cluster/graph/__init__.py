"""Graphs of tasks on the cluster: taken in, run, looked up, and taken up again after a restart."""
