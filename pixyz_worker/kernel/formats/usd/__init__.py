"""USD in its four forms, on usd-core; read in a process of its own."""
