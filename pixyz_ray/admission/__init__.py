"""Admission: which of the jobs that wait may be given to Ray next. Pure Python, no I/O; its clock is an argument."""

from pixyz_ray.admission.admission import Admission
from pixyz_ray.admission.limits import Limits, Needs, QueueFull, SubmitterLimit
from pixyz_ray.admission.standing import Waiting
from pixyz_ray.admission.stats import PoolStats, QueueStats, SubmitterStats

__all__ = [
    "Admission",
    "Limits",
    "Needs",
    "PoolStats",
    "QueueFull",
    "QueueStats",
    "SubmitterLimit",
    "SubmitterStats",
    "Waiting",
]
