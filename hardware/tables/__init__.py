"""Published measurements, read from where they lie, and looked up as a target's costs."""
