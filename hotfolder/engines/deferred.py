"""Packages that other libraries import in vain: they come when something of them is used, and not before.

diffusers imports peft to ask whether a layer is one of peft's, and torch's compiler to leave some functions out of
what it compiles; transformers and torchvision do likewise. Where no LoRA is used and nothing is compiled, that is a
third of what a worker imports. So these packages are stood in for. Of a package that is not loaded, nothing is an
instance, and what its decorators change does not matter: both answers are right without it. Anything else brings the
package itself, and from then on every stand-in passes on to it.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, UnionType
from typing import Any

from hotfolder.engines.outlined import outline


def _unchanged(function: Any = None, *args: Any, **kwargs: Any) -> Any:
    """As a decorator, with arguments of its own or without."""
    return (lambda found: found) if function is None else function


def _no() -> bool:
    return False


def _itself(condition: Any, *args: Any, **kwargs: Any) -> Any:
    """Of a condition that is known already; another one is for the package to decide, here and below."""
    return condition if isinstance(condition, bool) else NotImplemented


def _all(*conditions: Any) -> Any:
    return all(conditions) if all(isinstance(each, bool) for each in conditions) else NotImplemented


def _any(*conditions: Any) -> Any:
    return any(conditions) if all(isinstance(each, bool) for each in conditions) else NotImplemented


def _are_equal(one: Any, other: Any) -> Any:
    """Of two sizes, or shapes."""
    are_shapes = isinstance(one, (tuple, list)) and isinstance(other, (tuple, list))
    parts = [tuple(each) if are_shapes else (each,) for each in (one, other)]
    is_known = all(isinstance(part, int) for each in parts for part in each)
    return parts[0] == parts[1] if is_known else NotImplemented


def _is_symbol(size: Any) -> Any:
    return False if isinstance(size, int) else NotImplemented


_SYMBOLS = "torch.fx.experimental.symbolic_shapes"
#: What is there before a package comes that looks at it more closely than all others. sympy is for sizes that are not
#: known yet.
_BEFORE = {
    "torch._dynamo": (_SYMBOLS, "torch.export"),
    "torch.export": (_SYMBOLS,),
    _SYMBOLS: ("sympy",),
}
#: What these answer while nothing is compiled; asked of the module that is named, or of one below it.
_WITHOUT: dict[str, Callable[..., Any]] = {
    f"{_SYMBOLS}.expect_true": _itself,
    f"{_SYMBOLS}.guard_or_false": _itself,
    f"{_SYMBOLS}.guard_or_true": _itself,
    f"{_SYMBOLS}.guard_size_oblivious": _itself,
    f"{_SYMBOLS}.is_nested_int": _is_symbol,
    f"{_SYMBOLS}.statically_known_true": _itself,
    f"{_SYMBOLS}.sym_and": _all,
    f"{_SYMBOLS}.sym_eq": _are_equal,
    f"{_SYMBOLS}.sym_or": _any,
    "torch._dynamo.allow_in_graph": _unchanged,
    "torch._dynamo.assume_constant_result": _unchanged,
    "torch._dynamo.disable": _unchanged,
    "torch._dynamo.is_compiling": _no,
}


class _Finder(MetaPathFinder, Loader):
    """Gives stand-ins for the modules of `packages`, those that are really there."""

    def __init__(self) -> None:
        self.packages: set[str] = set()
        self.lock = threading.RLock()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.package_of(fullname) is None:
            return None
        real = PathFinder.find_spec(fullname, path)
        if real is None:
            return None
        spec = ModuleSpec(fullname, self, origin=real.origin)
        spec.submodule_search_locations = list(real.submodule_search_locations or ())
        return spec

    def package_of(self, module: str) -> str | None:
        """The deferred package that it belongs to, while that is not loaded."""
        return next((name for name in self.packages if f"{module}.".startswith(f"{name}.")), None)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """There is nothing in it."""

    def bring(self, module: str) -> None:
        """The package itself, in the place of its stand-ins."""
        with self.lock:
            package = self.package_of(module)
            for name in _BEFORE.get(package or "", ()):
                self.bring(name)
            if package is None or package not in self.packages:  # not deferred, or brought by one of these
                return
            self.packages.remove(package)
            for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
                del sys.modules[name]
            above, _, child = package.rpartition(".")
            if (parent := sys.modules.get(above)) is not None:
                vars(parent).pop(child, None)
            importlib.import_module(package)


class _StandIn(ModuleType):
    """A module of which only names have been asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # whoever imports it asks for many of them
        found = _Later(self.__name__, name)
        return found if _finder.package_of(self.__name__) else found.real()


class _Later:
    """Something in a module: `path` is its name there, and what has been asked of it."""

    def __init__(self, module: str, path: str) -> None:
        object.__setattr__(self, "_module", module)
        object.__setattr__(self, "_path", path)

    def real(self) -> Any:
        _finder.bring(self._module)
        found: Any = importlib.import_module(self._module)
        for name in self._path.split("."):
            found = getattr(found, name)
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not _finder.package_of(self._module):
            return getattr(self.real(), name)
        return _Later(self._module, f"{self._path}.{name}")

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.real(), name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        without = _WITHOUT.get(f"{self._module}.{self._path}")
        if without is not None and _finder.package_of(self._module):
            answer = without(*args, **kwargs)
            if answer is not NotImplemented:
                return answer
        return self.real()(*args, **kwargs)

    def __or__(self, other: Any) -> Any:
        """In annotations, mostly: nobody looks at those."""
        is_annotation = other is None or isinstance(other, (type, UnionType, _Later))
        return Any if is_annotation else self.real() | other

    def __ror__(self, other: Any) -> Any:
        return self | other if other is None or isinstance(other, (type, UnionType)) else other | self.real()

    def __getitem__(self, key: Any) -> Any:
        return self.real()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.real())

    def __instancecheck__(self, instance: object) -> bool:
        return not _finder.package_of(self._module) and isinstance(instance, self.real())

    def __subclasscheck__(self, subclass: type) -> bool:
        return not _finder.package_of(self._module) and issubclass(subclass, self.real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.real(),)


_finder = _Finder()


def defer(*packages: str) -> None:
    """From now on, for this process, imports of these packages get stand-ins; not of those that are loaded already."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    _finder.packages |= {name for name in packages if name not in sys.modules}


def defer_unused(*, compiles: bool) -> None:
    """What a worker mostly does without: LoRA, training on many machines, networks of other pipelines and of
    torchvision, its pictures to train on; and, unless it `compiles`, the compiler with what belongs to it."""
    defer(
        "peft",
        "torch.distributed.checkpoint",
        "torch.distributed.fsdp",
        "torchvision.datasets",
        "torchvision.models",
    )
    if not compiles:
        defer("sympy", "torch._dynamo", "torch.export", _SYMBOLS)
    outline(
        *(f"diffusers.models.{kind}" for kind in ("autoencoders", "transformers", "unets")), "transformers.models"
    )
