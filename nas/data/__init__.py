"""Image classification data sets: settings that `load()` into three splits of bytes."""
