"""Pre-built processes: scripts like any other, found by name. Nothing imports them."""
