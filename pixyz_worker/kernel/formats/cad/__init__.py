"""STEP, IGES and BRep: exact surfaces through OpenCASCADE, triangles through cascadio."""
