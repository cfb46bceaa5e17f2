"""Work on the geometry of a scene: one module for each kind, on arrays and OpenCASCADE."""
