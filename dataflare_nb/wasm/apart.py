"""Say that a call of a udf stands apart from expressions, where one is made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import WrongType, trimmed, user_line

_SIGNS = {
    **{f"__{name}__": sign for name, sign in {"neg": "-", "pos": "+", "invert": "~"}.items()},
    **{f"__{name}__": sign for name, sign in {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}.items()},
    **{
        f"__{side}{name}__": sign
        for name, sign in {
            **{"add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**"},
            **{"and": "&", "or": "|", "xor": "^"},
        }.items()
        for side in ("", "r")
    },
}


class Apart:
    """A base for what looks like an expression and is a stage."""

    __slots__ = ()

    @trimmed
    def __bool__(self) -> bool:
        self._refuse("and, or, not and if", "filter by it alone, before the other conditions")

    if not TYPE_CHECKING:

        @trimmed
        def __getattr__(self, name: str) -> Any:
            if name.startswith("_"):
                raise AttributeError(name)
            self._refuse(f".{name}", "")

    def _refuse(self, what: str, way: str) -> NoReturn:
        way = way or "name it first, with_columns(x=...), and go on with pl.col('x'); or use .expr(...) of the function"
        raise WrongType(f"{self!r} at {user_line()} is a stage, no expression, and does not take {what}; {way}")


def _refusal(sign: str) -> Any:
    @trimmed
    def refuse(self: Apart, *_: Any) -> NoReturn:
        self._refuse(f"`{sign}`", "")

    return refuse


for _name, _sign in _SIGNS.items():
    setattr(Apart, _name, _refusal(_sign))
