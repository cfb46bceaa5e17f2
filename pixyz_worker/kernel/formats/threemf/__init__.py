"""3MF, on lib3mf."""
