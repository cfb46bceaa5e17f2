"""FBX, written as binary records."""
