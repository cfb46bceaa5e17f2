"""IFC, on ifcopenshell; read in a process of its own."""
