"""Names under which the platform's parts are found in a Ray cluster."""

NAMESPACE = "pixyz"
TRACKER = "pixyz-tracker"
APPLICATION = "pixyz"
