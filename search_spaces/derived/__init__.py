"""What every space gets from its choices alone: draws, codes, neighbours, enumeration, bounds, and draws under limits of cost."""
