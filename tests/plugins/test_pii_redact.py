"""pii_redact takes out what the regular expressions of its README find, and Luhn's sum confirms."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmPluginExecution
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.hostcalls import HostFunctions

from .helpers import answers, plugin

LOCAL = re.compile(r"[A-Za-z0-9._%+-]+\Z")
DOMAIN = re.compile(r"@(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
GROUPS = re.compile(r"[2-6][0-9]*(?:[ -][0-9]+)*")
INTERNATIONAL = re.compile(r"\+[1-9][0-9]*(?:[ .()-]{1,2}[0-9]+)*")
NATIONAL = re.compile(
    r"(?:1[ .-]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[ .-])[2-9][0-9]{2}[ .-][0-9]{4}(?![0-9A-Za-z])"
)


def luhn(digits: str) -> bool:
    values = [int(digit) * (1 + i % 2) for i, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in values) % 10 == 0


def spans(text: str):
    """Yield what is to go: its kind, where it begins and where it ends."""
    done = at = 0
    while at < len(text):
        found = find(text, done, at)
        if found is not None:
            yield found
            done = at = found[2]
        elif "0" <= text[at] <= "9":
            at = re.compile(r"[0-9]+").match(text, at).end()  # type: ignore[union-attr]
        else:
            at += 1


def find(text: str, done: int, at: int) -> tuple[str, int, int] | None:
    before = text[at - 1] if at > done else ""
    if text[at] == "@":
        local, domain = LOCAL.search(text, done, at), DOMAIN.match(text, at)
        return ("email", local.start(), domain.end()) if local and domain else None
    if (groups := GROUPS.match(text, at)) and not re.match("[0-9]", before):
        ends = [m.end() for m in re.finditer("[0-9]+", groups[0])]
        for end in reversed(ends):
            digits = re.sub("[ -]", "", groups[0][:end])
            if 13 <= len(digits) <= 19 and luhn(digits):
                return "card", at, at + end
    if re.match("[0-9A-Za-z+]", before):
        return None
    if (phone := INTERNATIONAL.match(text, at)) and 7 <= len(re.sub("[^0-9]", "", phone[0])) <= 15:
        return "phone", at, phone.end()
    if text[at] in "(0123456789" and (phone := NATIONAL.match(text, at)):
        return "phone", at, phone.end()
    return None


def redacted(text: str | None) -> str | None:
    if text is None:
        return None
    out, done = "", 0
    for kind, start, end in spans(text):
        out += text[done:start] + f"[{kind.upper()}]"
        done = end
    return out + text[done:]


PIECES = st.sampled_from(
    [
        *(
            "ann@example.com",
            "a.b+c%d-e_f@mail.example.co.uk",
            "x@y",
            "@",
            "a@b.c",
            "a@b.com9",
            "a@-.io",
            "a@@b.com",
            ".@b.cd",
        ),
        *("4111 1111 1111 1111", "4111111111111111", "4111-1111-1111-1112", "378282246310005", "6011 0009 9013 9424"),
        *(
            "5555555555554444",
            "30569309025904",
            "4222222222222",
            "41111111111111111111",
            "1234567812345670",
            "4111 1111  1111 1111",
        ),
        *(
            "+44 20 7946 0958",
            "+1 (212) 555-0100",
            "+49.30.901820",
            "+0123456789",
            "+12",
            "+1234567890123456",
            "++4912345678",
        ),
        *(
            "(212) 555-0100",
            "212-555-0100",
            "212.555.0100",
            "1 212 555 0100",
            "1-212-555-01000",
            "112-555-0100",
            "(212)555 0100x",
        ),
        *(" ", ", ", "call ", "é", "😀", "x", "9", "-", "+", "(", ".", "\n"),
    ]
)
TEXTS = st.lists(PIECES | st.text("0123456789+-(). @ab", max_size=12), max_size=6).map("".join)


@given(st.lists(st.none() | TEXTS, max_size=10))
@example(["a@b.co.1", "4111 1111 1111 1111@x.com", "+44 20 7946 0958a@b.cd", "1" * 40, "tel:(212) 555-0100", "" * 3])
def test_what_is_personal_goes_and_the_rest_stays(texts: list[str | None]) -> None:
    frame = pl.DataFrame({"text": texts}, schema={"text": pl.String})
    assert answers("pii_redact", frame)["text"].to_list() == [redacted(text) for text in texts]


def test_several_columns_keep_their_names() -> None:
    frame = pl.DataFrame({"a": ["me@example.com", None], "b": ["no", "+49 30 901820"]})
    assert answers("pii_redact", frame).to_dict(as_series=False) == {"a": ["[EMAIL]", None], "b": ["no", "[PHONE]"]}


def test_settings_say_what_is_written_instead_and_what_is_left_alone() -> None:
    frame = pl.DataFrame({"text": ["me@example.com 4111111111111111 +49 30 901820"]})
    found = answers("pii_redact", frame, email="", card=False, phone="(…)")
    assert found["text"].to_list() == [" 4111111111111111 (…)"]


def test_what_was_found_is_counted() -> None:
    counted: dict[str, int] = {}
    host = HostFunctions("pii_redact", count=lambda name, by: counted.update({name: counted.get(name, 0) + by}))
    session = Session(plugin("pii_redact"), host=host)
    session.call(pl.DataFrame({"text": ["a@b.cd, e@f.gh", "4111111111111111"]}))
    session.close()
    assert counted == {"pii_redact.emails": 2, "pii_redact.cards": 1}


def test_numbers_are_refused_in_its_own_words() -> None:
    with pytest.raises(WasmPluginExecution, match="column n has the Arrow format l and must be text"):
        answers("pii_redact", pl.DataFrame({"n": [4111111111111111]}))
