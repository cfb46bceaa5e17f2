"""glTF and GLB: documents, arrays, materials; a tree read from one, and written as one."""
