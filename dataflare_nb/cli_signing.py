"""The command line for signatures of plugins: `dataflare plugin keygen | trust | sign | verify`."""

from __future__ import annotations

import argparse
import datetime as dt
import getpass
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from .errors import WasmUntrusted
from .wasm import signing
from .wasm.environment import trust_folder

OK, FAILED = 0, 1
Command: TypeAlias = Callable[..., argparse.ArgumentParser]


def add_to(plugins: Any, command: Command) -> None:
    """Add the sub-commands; `command` makes one of a name, a function and its words."""
    store = f"the trust store, {trust_folder()} (DATAFLARE_TRUST is another)"

    keygen = command(
        plugins,
        "keygen",
        _keygen,
        "make a key to sign plugins with",
        "Make an Ed25519 key: KEY is written for you alone, the public key beside it as KEY.pub. Give the latter to "
        'those who are to trust your plugins. Needs the "sign" extra, as do sign and verify.',
    )
    keygen.add_argument(
        "key", type=Path, metavar="KEY", help="the file of the private key, which must not be there yet"
    )
    _add_password(keygen, "lock the key with a password, which is asked for")

    trust = command(
        plugins,
        "trust",
        _trust,
        "trust plugins that are signed with a key, or list whom you trust",
        f"Put a public key into {store}. Without one the keys that are there are listed.",
    )
    trust.add_argument("public", nargs="?", type=Path, metavar="KEY.pub", help="the public key of somebody you trust")
    trust.add_argument("--name", help="what to call it (default: the name of the file)")

    sign = command(
        plugins,
        "sign",
        _sign,
        "sign a plugin: its module and all that its plugin.json says",
        "Write a signature into plugin.json. It holds for the module's sum, the config, the policy and the rest of the "
        "description; whatever is changed afterwards breaks it.",
    )
    sign.add_argument("plugin", type=Path, metavar="PATH", help="a plugin.json, or the folder it is in")
    sign.add_argument("--key", type=Path, required=True, help="your private key, as keygen makes it")
    sign.add_argument(
        "--expires", type=_day, metavar="YYYY-MM-DD", help="the last day on which it holds (default: none)"
    )
    _add_password(sign, "the key is locked; ask for its password")

    verify = command(
        plugins,
        "verify",
        _verify,
        "say whose signature a plugin carries, if you trust them",
        f"Verify signatures with the keys in {store}. Exit code 1 if one is missing, broken, expired or of a key that "
        "is not there.",
    )
    verify.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="plugin.json files, or the folders they are in"
    )


def _keygen(asked: argparse.Namespace) -> int:
    public = signing.generate_key(asked.key, password=_password(asked, again=True))
    print(f"{asked.key}: your private key; keep it to yourself")
    print(f"{public}: the public key; those who trust you run `dataflare plugin trust {public.name}`")
    return OK


def _trust(asked: argparse.Namespace) -> int:
    if asked.public is None:
        for key, (name, _) in signing.trusted_keys().items():
            print(f"{name:20} {key}")
        return OK
    place = signing.trust_key(asked.public, name=asked.name)
    print(f"{place.stem} is trusted; to end that, delete {place}")
    return OK


def _sign(asked: argparse.Namespace) -> int:
    signature = signing.sign(asked.plugin, asked.key, password=_password(asked), expires=asked.expires)
    until = f" until {signature.expires}" if signature.expires else ""
    print(f"{asked.plugin}: signed with the key {signature.key}{until}")
    return OK


def _verify(asked: argparse.Namespace) -> int:
    failed = False
    for path in asked.paths:
        try:
            signer = signing.verify(path)
        except WasmUntrusted as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
            continue
        until = f", until {signer.expires}" if signer.expires else ""
        print(f"{path}: signed by {signer.name} on {signer.signed}{until}")
    return FAILED if failed else OK


def _add_password(parser: argparse.ArgumentParser, words: str) -> None:
    parser.add_argument("--password", action="store_true", help=words)


def _password(asked: argparse.Namespace, *, again: bool = False) -> str | None:
    if not asked.password:
        return None
    given = getpass.getpass("Password of the key: ")
    if again and getpass.getpass("Once more: ") != given:
        raise SystemExit("dataflare: the two are not the same; nothing was made")
    return given


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a day such as 2030-12-31") from None
