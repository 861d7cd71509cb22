"""Layers read from a network itself, by walking its jaxpr."""
