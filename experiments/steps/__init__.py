"""The steps of the main job, a file each: supernet, latency, search, answer."""
