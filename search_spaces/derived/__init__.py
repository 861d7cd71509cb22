"""What every space gets from its choices alone: draws, codes, neighbours, enumeration, bounds, draws under limits."""
