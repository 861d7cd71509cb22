"""What every space gets from its choices alone: draws, codes, neighbours, bounds, and draws under limits of cost."""
