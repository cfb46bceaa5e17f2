"""The modules of `pxz` for scripts, where the Pixyz SDK is not installed: thin, in millimetres, over the kernel."""
