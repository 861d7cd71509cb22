"""Plain data out of a pickle by reading its opcodes: nothing is imported and nothing in it is ever called."""

import math
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4"}
STRINGS = {
    "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
}  # fmt: skip
# The names by which numpy's arrays and Python 3's bytes say what they are. They are compared, never looked up.
RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
NDARRAY, DTYPE, ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
KNOWN = RECONSTRUCT | {NDARRAY, DTYPE, ENCODE}


@dataclass(kw_only=True)
class ByteArray:
    """A numpy array of uint8 in C order, as its pickle describes it."""

    shape: tuple[int, ...] = ()
    data: bytes = b""


@dataclass(frozen=True)
class _Global:
    name: str


@dataclass(frozen=True)
class _DType:
    code: str


def read_plain(pickled: bytes) -> Any:
    """What a pickle holds, as long as that is dicts by text, lists, tuples, text, whole numbers and `ByteArray`.

    Python 2's text and bytes both come out as text, one character a byte.

    Raises:
      ValueError: when it is cut off, or holds or asks for anything else: such a file is refused, not run.
    """
    try:
        return _read(pickled)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError("its opcodes do not fit together") from error


def _read(pickled: bytes) -> Any:
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        start = marks.pop()
        items = stack[start:]
        del stack[start:]
        return items

    opcodes: Iterator[tuple[Any, Any, Any]] = pickletools.genops(pickled)
    for opcode, arg, position in opcodes:
        name = opcode.name
        if name in NUMBERS or name in STRINGS:
            stack.append(arg)
        elif name in CONSTANTS:
            stack.append(CONSTANTS[name])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_TUPLE":
            stack.append(())
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [stack.pop() for _ in range(int(name[-1]))]
            stack.append(tuple(reversed(items)))
        elif name in ("APPEND", "APPENDS"):
            items = since_mark() if name == "APPENDS" else [stack.pop()]
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = since_mark() if name == "SETITEMS" else [stack.pop(), stack.pop()][::-1]
            stack[-1].update((_text(key), value) for key, value in zip(items[::2], items[1::2], strict=True))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if arg is None else arg] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[arg])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            wanted = arg if name == "GLOBAL" else " ".join([stack.pop(), stack.pop()][::-1])
            if wanted not in KNOWN:
                raise ValueError(f"it asks for `{wanted.replace(' ', '.')[:80]}`, which no batch of pictures needs")
            stack.append(_Global(wanted))
        elif name == "REDUCE":
            args = stack.pop()
            stack.append(_described(stack.pop(), args))
        elif name == "BUILD":
            state = stack.pop()
            _fill(stack[-1], state)
        elif name == "STOP":
            return stack.pop()
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"its opcode {name} at byte {position} has no place in a batch of pictures")
    raise ValueError("it ends without STOP")


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("latin1")
    if not isinstance(value, str):
        raise TypeError("dict keys are text")
    return value


def _described(called: _Global, args: tuple[Any, ...]) -> Any:
    """What a known call would have made."""
    if called.name in RECONSTRUCT and args[0] == _Global(NDARRAY):
        return ByteArray()
    if called.name == DTYPE:
        return _DType(_text(args[0]))
    if called.name == ENCODE and args[1:] in (("latin1",), ("latin-1",)):
        return args[0].encode("latin1")
    raise ValueError(f"it calls `{called.name.replace(' ', '.')}` in a way that no batch of pictures needs")


def _fill(target: Any, state: Any) -> None:
    """Gives an array its shape and bytes; what a dtype adds (byte order, alignment) says nothing about uint8."""
    if isinstance(target, _DType):
        return
    if not isinstance(target, ByteArray):
        raise TypeError("only arrays and dtypes are built")
    _version, shape, dtype, fortran_order, data = state
    if dtype != _DType("u1") or fortran_order:
        raise ValueError("it holds an array other than uint8 in C order")
    if not all(type(length) is int for length in shape):
        raise TypeError("a shape is whole numbers")
    target.shape = shape
    target.data = data if isinstance(data, bytes) else data.encode("latin1")
    if math.prod(shape) != len(target.data):
        raise ValueError(f"it holds {len(target.data)} bytes for an array of {math.prod(shape)}")
