"""Text of several lines that reads well however it is shown."""

from __future__ import annotations


class Text(str):
    r"""A str that is shown as it is printed, so that it can be the last line of a cell.

    >>> Text("one\ntwo")
    one
    two
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
