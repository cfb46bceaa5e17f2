"""Formats of one mesh or one cloud of points, and OBJ."""
