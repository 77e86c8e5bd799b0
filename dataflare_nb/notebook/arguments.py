"""The line of a magic: options as on a command line, whose mistakes are told without a traceback."""

from __future__ import annotations

import argparse
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from IPython.core.error import UsageError

from ..errors import DataflareError


class HelpShown(Exception):  # noqa: N818 - says what happened
    """The help was asked for and printed; there is nothing more to do."""


class Arguments(argparse.ArgumentParser):
    """A parser that neither exits nor writes to stderr."""

    def read(self, line: str) -> argparse.Namespace:
        """Return the options of a line."""
        try:
            return self.parse_args(shlex.split(line))
        except ValueError as error:
            self.error(str(error))

    def error(self, message: str) -> NoReturn:
        more = "%wasm" if self.prog == "%%wasm" else "%flare help"
        raise UsageError(f"{self.prog}: {message}\n{self.format_usage().strip()}\n{more} tells more")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise HelpShown


def mapping(option: str, text: str | None, names: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an option says: the name of a dict in the notebook, or JSON."""
    if text is None:
        return {}
    found = names.get(text)
    if isinstance(found, Mapping):
        return dict(found)
    try:
        found = json.loads(text)
    except ValueError:
        raise UsageError(
            f"{option} {text}: this is neither a dict of the notebook nor JSON, as '{{\"factor\": 2}}' in quotes"
        ) from None
    if not isinstance(found, dict):
        raise UsageError(f"{option} {text}: this is {type(found).__name__}, and a JSON object is needed")
    return found


def brief(error: DataflareError) -> DataflareError:
    """Let the shell show what an error says, without the frames of this package."""

    def shown() -> Sequence[str]:
        return [f"{type(error).__name__}: {error}"]

    error._render_traceback_ = shown  # type: ignore[attr-defined]
    return error
