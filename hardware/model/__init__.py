"""What a network should take on a device that is not here."""
