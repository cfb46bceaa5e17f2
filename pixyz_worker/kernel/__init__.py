"""The open 3D kernel: scenes, formats and the names of the Pixyz SDK, on libraries that load when used."""
