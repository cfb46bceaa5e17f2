"""COLLADA, on pycollada."""
