"""X3D, read from its XML."""
