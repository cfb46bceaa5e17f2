"""Names under which the platform's parts are found in a Ray cluster."""

NAMESPACE = "pixyz"
TRACKER = "pixyz-tracker"
APPLICATION = "pixyz"
WARNING = "warning:"
"""Prefix of the names of those answers about health that are only to be known: jobs can be taken."""
SHARE_ID = "share_id"
"""Name of the answer about health that has the id of the share's marker, for the HTTP service alone."""
