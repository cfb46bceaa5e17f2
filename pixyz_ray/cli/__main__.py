"""`python -m pixyz_ray.cli`, the same as the command `pixyz`."""

from pixyz_ray.cli import main

main()
