"""Routes: HTTP on one side, the engine on the other."""
