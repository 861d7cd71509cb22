"""Which networks to judge next: every search is `init`, `ask`, `tell`."""

from nas.search.evolution import Evolution
from nas.search.protocol import Search
from nas.search.random_search import RandomSearch

EXAMPLES: tuple[type[Search], ...] = (Evolution, RandomSearch)
