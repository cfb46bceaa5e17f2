"""What several formats need: polygons, names of side files, header comments, XML that is safe."""
