"""What prompts became in the text encoders, kept, so that a prompt that comes again is not read again.

A pipeline's own `encode_prompt` is asked, and what it gave is given again for the same arguments: bit by bit, so that
no pixel differs. Pipelines without one, and arguments that are more than words and numbers, such as a picture, are as
ever. Kept are copies in the machine's memory, where there is more of it than on a card, and only so many.
"""

from __future__ import annotations

import functools
import inspect
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

#: Bytes that are kept at most; those that were not asked for longest go first. A prompt of FLUX.1 takes 4 MB, one of
#: FLUX.2 klein 8.
MOST = 256 * 2**20
#: What a pipeline calls its prompts, and the argument that says whether they are weighed against a negative one.
_PROMPTS, _WEIGHED = ("prompt", "prompt_2", "prompt_3", "prompt_4"), "do_classifier_free_guidance"
#: Of so many it is known what they stood beside.
_MOST_NEGATIVES = 1000


class _NotPlain(Exception):
    """Something that cannot be a key, or cannot be kept."""


class Embeddings:
    """Of one loaded pipeline, and of those that share its parts.

    `state` says what else changes them: which LoRA the text encoders wear, and their precision. A textual inversion
    changes the words: its tokens stand in no other prompt. `reading` is entered while the text encoders are asked.
    """

    def __init__(
        self,
        state: Callable[[], Hashable],
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
        most: int = MOST,
    ) -> None:
        self._state = state
        self._reading = reading
        self._most = most
        self._kept: OrderedDict[Hashable, tuple[tuple[list[torch.device], Any], int]] = OrderedDict()
        self._bytes = 0
        #: How a row for one prompt becomes those for so many: found by comparing both, once for each shape.
        self._ways: dict[Hashable, Any] = {}
        self._rows_differ = False
        #: Negative prompts, with what they stood beside first; and pipelines that do not read them by themselves.
        self._before: dict[Hashable, Hashable] = {}
        self._mixed: set[str] = set()

    def watch(self, pipeline: Any) -> None:
        """From now on, what this pipeline reads is kept."""
        read = getattr(pipeline, "encode_prompt", None)
        if read is None:
            return
        signature = inspect.signature(read)
        cls = type(pipeline).__name__

        # With the signature of what is wrapped: who asks for it, gets that.
        @functools.wraps(read)
        def encode_prompt(*args: Any, **more: Any) -> Any:
            return self._read(cls, read, signature.bind(*args, **more).arguments)

        pipeline.encode_prompt = encode_prompt

    def recall(self, key: Hashable, read: Callable[[], Any]) -> Any:
        """What `read` gave for this key before; else what it gives, which is kept."""
        key = (key, self._state())
        if key in self._kept:
            return self._again(key)
        with self._reading():
            found = read()
        self._keep(key, found)
        return found

    def _again(self, key: Hashable) -> Any:
        self._kept.move_to_end(key)
        devices, found = self._kept[key][0]
        each = iter(devices)
        return _each(found, lambda tensor: tensor.to(next(each), copy=True))

    def _asked(self, cls: str, read: Callable[..., Any], given: Mapping[str, Any]) -> Any:
        """What the pipeline makes of it. A negative prompt that comes again beside other prompts is not read again.

        So where it was seen, with the second of them, that both come out the same, to the last bit, without the other.
        """
        if given.get(_WEIGHED) is not True or cls in self._mixed:
            return read(**_copied(given))
        counts = tuple(len(given[name]) for name in _PROMPTS if isinstance(given.get(name), list))
        rest = {name: value for name, value in given.items() if name not in _PROMPTS}
        negative, whole = (("negative", counts, _key(cls, rest)), self._state()), (_key(cls, given), self._state())
        before = self._before.get(negative)
        if before not in self._kept:
            if len(self._before) >= _MOST_NEGATIVES:
                self._before.clear()
            self._before[negative] = whole
            return read(**_copied(given))
        try:
            alone = read(**_copied({**given, _WEIGHED: False}))
            known = (negative, _shape(alone))
        except Exception:  # noqa: BLE001 - it is not made for that, or gives what cannot be kept
            self._mixed.add(cls)
            return read(**_copied(given))
        if known in self._kept:
            return _without_gaps(alone, self._again(known))
        full = read(**_copied(given))
        lacking = _lacking(alone, full)
        if lacking is None or _way(_of_gaps(alone, self._again(before)), lacking, 1) is None:
            self._mixed.add(cls)
        else:
            self._keep(known, lacking)
        return full

    def _read(self, cls: str, read: Callable[..., Any], given: Mapping[str, Any]) -> Any:
        try:
            key = _key(cls, given)
        except _NotPlain:
            with nullcontext() if _is_read(given) else self._reading():
                return read(**given)
        count, single = _as_one(given)
        if count == 1 or self._rows_differ or (key, self._state()) in self._kept:
            return self.recall(key, lambda: self._asked(cls, read, given))
        is_known = (_key(cls, single), self._state()) in self._kept
        with nullcontext() if is_known else self._reading():
            one = self._read(cls, read, single)
            try:
                shape = (count, _shape(one))
            except _NotPlain:
                return self.recall(key, lambda: self._asked(cls, read, given))
            if shape in self._ways:
                return _repeated(one, self._ways[shape], count)
            # Whether a row comes out the same, to the last bit, beside others is the device's affair.
            full = self.recall(key, lambda: self._asked(cls, read, given))
            way = _way(one, full, count)
            if way is None:
                self._rows_differ = True
            else:
                self._ways[shape] = way
            return full

    def _keep(self, key: Hashable, found: Any) -> None:
        try:
            tensors = _tensors(found)
        except _NotPlain:
            return
        size = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        if not tensors or size > self._most:
            return
        copies = _each(found, lambda tensor: tensor.to("cpu", copy=True))
        self._kept[key] = ([tensor.device for tensor in tensors], copies), size
        self._bytes += size
        while self._bytes > self._most:
            self._bytes -= self._kept.popitem(last=False)[1][1]


def _key(cls: str, given: Mapping[str, Any]) -> Hashable:
    return (cls, tuple((name, _plain(value)) for name, value in given.items()))


def _is_read(given: Mapping[str, Any]) -> bool:
    """Whether no text encoder is asked, because what was read is given in the place of words."""
    return (
        given.get("prompt") is None
        and given.get("prompt_embeds") is not None
        and given.get("negative_prompt_embeds", ...) is not None
    )


def _plain(value: Any) -> Hashable:
    if value is None or isinstance(value, (str, bool, int, float, torch.device, torch.dtype)):
        return (type(value).__name__, value)
    if isinstance(value, (list, tuple)):
        return (type(value).__name__, *map(_plain, value))
    raise _NotPlain


def _copied(given: Mapping[str, Any]) -> dict[str, Any]:
    """Z-Image writes its chat template into the list that it is given."""
    return {name: list(value) if isinstance(value, list) else value for name, value in given.items()}


def _as_one(given: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    """Where all prompts are the same, and so are all negative ones: how many, and the arguments for one of them."""
    lists = {name: value for name, value in given.items() if isinstance(value, list)}
    counts = {len(value) for value in lists.values()}
    if len(counts) != 1 or any(len(set(value)) != 1 or type(value[0]) is not str for value in lists.values()):
        return 1, dict(given)
    return counts.pop(), {**given, **{name: value[:1] for name, value in lists.items()}}


def _each(found: Any, change: Callable[[torch.Tensor], Any]) -> Any:
    if isinstance(found, torch.Tensor):
        return change(found)
    if type(found) in (list, tuple):
        return type(found)(_each(one, change) for one in found)
    if type(found) is dict:
        return {key: _each(one, change) for key, one in found.items()}
    if found is None or isinstance(found, (str, bool, int, float)):
        return found
    raise _NotPlain


def _tensors(found: Any) -> list[torch.Tensor]:
    tensors: list[torch.Tensor] = []
    _each(found, tensors.append)
    return tensors


def _shape(found: Any) -> Hashable:
    if isinstance(found, torch.Tensor):
        return (found.shape, found.dtype)
    if type(found) in (list, tuple):
        return (type(found).__name__, *map(_shape, found))
    if found is None or isinstance(found, (str, bool, int, float)):
        return found
    raise _NotPlain


def _way(one: Any, full: Any, count: int) -> Any:
    """How `full` is made of `one`, exactly; None where it is not.

    "same": it is that; "rows": each row so many times; "list": each element; a tuple: for each part its own.
    """
    if isinstance(one, torch.Tensor):
        if not isinstance(full, torch.Tensor) or one.dtype is not full.dtype:
            return None
        if torch.equal(one, full):
            return "same"
        return "rows" if one.ndim and torch.equal(one.repeat_interleave(count, 0), full) else None
    if type(one) is not type(full):
        return None
    if isinstance(one, list) and one and len(full) == count * len(one):
        is_that = all(_way(one[n // count], each, 1) == "same" for n, each in enumerate(full))
        return "list" if is_that else None
    if isinstance(one, (list, tuple)):
        ways = (
            tuple(_way(a, b, count) for a, b in zip(one, full, strict=True)) if len(one) == len(full) else (None,)
        )
        return None if None in ways else ways
    return "same" if one == full else None


def _lacking(alone: Any, full: Any) -> Any:
    """What `full` has and `alone` lacks; None where that is nothing, or they differ in anything else."""
    if type(alone) is not tuple or type(full) is not tuple or len(alone) != len(full):
        return None
    is_one = all(one is None or _way(one, other, 1) is not None for one, other in zip(alone, full, strict=True))
    lacking = _of_gaps(alone, full)
    return lacking if is_one and any(one is not None for one in lacking) else None


def _of_gaps(alone: tuple[Any, ...], full: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(other if one is None else None for one, other in zip(alone, full, strict=True))


def _without_gaps(alone: tuple[Any, ...], lacking: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(other if one is None else one for one, other in zip(alone, lacking, strict=True))


def _repeated(one: Any, way: Any, count: int) -> Any:
    if way == "rows":
        return one.repeat_interleave(count, 0)
    if way == "list":
        return [each for each in one for _ in range(count)]
    if isinstance(way, tuple):
        return type(one)(_repeated(each, how, count) for each, how in zip(one, way, strict=True))
    return one
