"""Programs by others that ours is measured and tested against: `make peers` installs them, the product needs none."""
