"""Packages that import all that is in them as soon as one module of theirs is wanted: they are told not to.

`diffusers.models.transformers` imports some eighty networks before the one that is used, and `transformers.models`
looks into every file of its folder. Such a package is made here without its own module, the `__init__.py`: what lies
in it can be imported by itself. Whoever asks the package for a name gets it, because its own module is run then.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any


class _Finder(MetaPathFinder, Loader):
    """Makes outlines of `packages`."""

    def __init__(self) -> None:
        self.packages: set[str] = set()
        self.lock = threading.RLock()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        real = PathFinder.find_spec(fullname, path) if fullname in self.packages else None
        if real is None or real.origin is None or real.submodule_search_locations is None:
            return None
        spec = spec_from_file_location(
            fullname, real.origin, loader=self, submodule_search_locations=list(real.submodule_search_locations)
        )
        assert spec is not None
        spec.loader_state = real.loader  # until it has been used
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Outline(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Later, if at all."""

    def fill(self, outline: ModuleType) -> ModuleType:
        """Runs the package's own module, once; gives what stands in its place, which it may have changed itself."""
        spec = outline.__spec__
        assert spec is not None
        with self.lock:
            loader, spec.loader_state = spec.loader_state, None
            if loader is not None:
                try:
                    loader.exec_module(outline)
                except BaseException:
                    spec.loader_state = loader
                    raise
                above, _, child = spec.name.rpartition(".")
                if above in sys.modules:
                    setattr(sys.modules[above], child, sys.modules.get(spec.name, outline))
        return sys.modules.get(spec.name, outline)


class _Outline(ModuleType):
    """A package whose own module has not run yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # whoever imports it asks for many of them
        real = _finder.fill(self)
        if real is not self:
            return getattr(real, name)
        try:
            return vars(self)[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None


_finder = _Finder()


def outline(*packages: str) -> None:
    """From now on, for this process, these packages run their own modules only when they are asked for a name."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.packages |= set(packages)
