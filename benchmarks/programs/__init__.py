"""Programs that a benchmark starts: each measures one thing and prints one JSON line."""
