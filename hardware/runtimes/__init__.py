"""What runs networks, or says what they would take: each prepares an artifact, and most run it."""
