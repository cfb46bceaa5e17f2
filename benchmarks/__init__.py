"""Measures the platform against bare Ray, Serve and uvicorn in one run. See docs/performance.md."""
