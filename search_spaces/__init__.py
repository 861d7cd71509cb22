"""What may be built, and out of which layers: choices, elastic networks and the layers they come down to."""
