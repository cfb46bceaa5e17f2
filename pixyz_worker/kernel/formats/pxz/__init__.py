"""Our own `.pxz`: a scene as an Arrow file that is mapped into memory."""
