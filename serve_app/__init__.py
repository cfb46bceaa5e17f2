"""The HTTP service of the platform, on Ray Serve."""
