"""Networks by name: what people and searches have published, each a point of a space that the machinery runs.

A module of this folder has `NETWORKS`: names and functions that give a `Point`. Another module here is found by itself.
"""

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from importlib import import_module

from search_spaces.networks.point import Point

__all__ = ["NAMED", "Point"]


class _Named(Mapping[str, Callable[[], Point]]):
    """Read when first asked: importing this package builds nothing."""

    @staticmethod
    @lru_cache(maxsize=1)
    def _all() -> dict[str, Callable[[], Point]]:
        found: dict[str, Callable[[], Point]] = {}
        for module in sorted(info.name for info in pkgutil.iter_modules(__path__) if info.name != "point"):
            networks = import_module(f"{__name__}.{module}").NETWORKS
            if twice := found.keys() & networks.keys():
                raise ValueError(f"two networks are called `{min(twice)}`; the second is in `{module}`")
            found |= networks
        return dict(sorted(found.items()))

    def __getitem__(self, name: str) -> Callable[[], Point]:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


NAMED: Mapping[str, Callable[[], Point]] = _Named()
"""Every network by its name, e.g. `NAMED["mobilenet_v2"]()`."""
