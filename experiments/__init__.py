"""Which run, with which settings: the console script, its configuration, reports and benchmarks."""
