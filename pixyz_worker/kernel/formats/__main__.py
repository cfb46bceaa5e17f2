"""`python -m pixyz_worker.kernel.formats` prints docs/formats.md."""

from pixyz_worker.kernel.formats.page import page

print(page(), end="")
