"""Layers and weights written as the files that runtimes take."""
