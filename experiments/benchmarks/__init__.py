"""Performance claims, each a program run on demand that prints a table and, with `--json`, one JSON object."""
