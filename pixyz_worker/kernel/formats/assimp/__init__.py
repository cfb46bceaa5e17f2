"""FBX, 3DS and DXF, read by assimp in a process of its own."""
