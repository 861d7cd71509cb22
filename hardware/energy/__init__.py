"""What boards offer to read energy from."""
