"""What the platform does when its parts die: a chaos run, how soon faults are noticed, and a very long queue."""
