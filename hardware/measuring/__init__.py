"""How times and energies are taken, and where they are kept."""
