"""What follows from a network's layers alone: kernels, memory, bytes; and the costs that all of edgenas speaks of."""
