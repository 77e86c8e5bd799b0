"""A plugin sees the folders its policy grants, as granted, and no way leads out of them."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from dataflare_nb.errors import WasmConfiguration
from dataflare_nb.wasm import Session

from .asking import answers, ask, asking, call, data, i64, peek

ACCES, BADF, EXIST, FAULT, INVAL, ISDIR, LOOP = 2, 8, 20, 21, 28, 31, 32
NAMETOOLONG, NOENT, NOTDIR, NOTSUP, PERM, ROFS, MFILE, DQUOT = 37, 44, 54, 58, 63, 69, 33, 19
READ, WRITE = 1 << 1, 1 << 6
CREATE, AS_FOLDER, EXCLUSIVE, TRUNCATE = 1, 2, 4, 8
NAMES = [
    "path_open",
    "fd_read",
    "fd_pread",
    "fd_write",
    "fd_pwrite",
    "fd_close",
    "fd_seek",
    "fd_tell",
    "fd_fdstat_get",
    "fd_filestat_get",
    "fd_readdir",
    "fd_prestat_get",
    "fd_prestat_dir_name",
    "fd_filestat_set_size",
    "path_filestat_get",
    "path_create_directory",
    "path_remove_directory",
    "path_unlink_file",
    "path_rename",
    "path_symlink",
    "path_link",
    "path_readlink",
    "fd_fdstat_set_flags",
    "fd_allocate",
    "fd_renumber",
    "fd_sync",
]
# Where things lie in the guest's memory: the new descriptor, a count, two vectors, what is read, paths.
FD, COUNT, VECTOR, WHERE, PATH, OTHER = 64, 72, 80, 4096, 1024, 2048
PAD = 8


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "data"
    (inside / "sub" / "deep").mkdir(parents=True)
    (inside / "in.txt").write_text("hello, world")
    (inside / "sub" / "two.txt").write_text("two")
    (tmp_path / "secret.txt").write_text("secret")
    (inside / "out").symlink_to("../secret.txt")
    (inside / "absolute").symlink_to(tmp_path / "secret.txt")
    (inside / "up").symlink_to("..")
    (inside / "near").symlink_to("sub/two.txt")
    (inside / "round").symlink_to("round")
    (inside / "sub" / "climb").symlink_to("../../secret.txt")
    (inside / "sub" / "in").symlink_to("../in.txt")
    return inside


def granting(writable: bool = False) -> dict[str, Any]:
    return {"allow_file_system": True, "allowed_paths": ["data:rw" if writable else "data"]}


def texts(path: str | bytes, other: str | bytes = b"") -> str:
    return data(PATH, path) + (data(OTHER, other) if other else "") + data(VECTOR, struct.pack("<II", WHERE, 64))


def opened(path: str | bytes, rights: int = READ, how: int = 0, *, fd: int = 3, follow: int = 1, flags: int = 0) -> str:
    length = len(path.encode() if isinstance(path, str) else path)
    return call("path_open", fd, follow, PATH, length, how, i64(rights), i64(0), flags, FD)


NEW = f"(i32.load (i32.const {FD}))"
GOT = f"(i32.load (i32.const {COUNT}))"


def tell(*questions: str, path: str | bytes = "in.txt", other: str | bytes = b"", writable: bool = False) -> list[int]:
    return ask(*questions, imports=NAMES, extra=texts(path, other), policy=granting(writable))


def code_of(path: str | bytes, rights: int = READ, how: int = 0, **parts: Any) -> int:
    writable = parts.pop("writable", False)
    return tell(opened(path, rights, how, **parts), path=path, writable=writable)[0]


READING = call("fd_read", NEW, VECTOR, 1, COUNT)


def read(path: str | bytes, length: int = 12) -> bytes:
    told = tell(opened(path), READING, GOT, *peek(WHERE, length), path=path)
    assert told[:2] == [0, 0]
    return bytes(told[3 : 3 + told[2]])


# ---- reading ----


def test_a_file_may_be_older_than_time(folder: Path):
    os.utime(folder / "in.txt", (-86400, -86400))
    questions = [call("path_filestat_get", 3, 1, PATH, 6, WHERE), *peek(WHERE + 48, 8)]
    assert tell(*questions, path="in.txt") == [0] + [0] * 8


def test_a_granted_folder_is_found_under_its_name(folder: Path):
    questions = [call("fd_prestat_get", 3, WHERE), f"(i32.load (i32.const {WHERE + 4}))"]
    questions += [call("fd_prestat_dir_name", 3, WHERE, 16), *peek(WHERE, 5), call("fd_prestat_get", 4, WHERE)]
    questions += [call("fd_prestat_dir_name", 3, WHERE, 4), call("fd_close", 3)]
    told = tell(*questions)
    assert told[:3] == [0, 5, 0]
    assert bytes(told[3:8]) == b"/data"
    assert told[8:] == [BADF, NAMETOOLONG, NOTSUP]


@pytest.mark.parametrize("path", ["in.txt", "./in.txt", "sub/../in.txt", "sub/deep/../../in.txt", "sub//./in"])
def test_a_file_is_read(folder: Path, path: str):
    assert read(path) == b"hello, world"


def test_a_link_that_stays_inside_is_followed_unless_it_is_not_to_be(folder: Path):
    assert read("near") == b"two"
    assert code_of("near", follow=0) == LOOP


def test_reading_goes_on_where_it_was_and_can_be_moved(folder: Path):
    questions = [opened("in.txt"), call("fd_seek", NEW, i64(7), 0, COUNT), READING, GOT, *peek(WHERE, 5)]
    questions += [READING, GOT, call("fd_tell", NEW, COUNT), GOT, call("fd_seek", NEW, i64(-5), 2, COUNT), GOT]
    questions += [call("fd_seek", NEW, i64(-1), 0, COUNT), call("fd_seek", NEW, i64(0), 9, COUNT)]
    told = tell(*questions)
    assert told[:4] == [0, 0, 0, 5]
    assert bytes(told[4:9]) == b"world"
    assert told[9:] == [0, 0, 0, 12, 0, 7, INVAL, INVAL]


def test_reading_at_a_place_moves_nothing(folder: Path):
    questions = [opened("in.txt"), call("fd_pread", NEW, VECTOR, 1, i64(7), COUNT), GOT, READING, GOT]
    questions += [call("fd_pread", NEW, VECTOR, 1, i64(-1), COUNT), call("fd_pread", NEW, VECTOR, 1, i64(2**62), COUNT)]
    assert tell(*questions)[:6] == [0, 0, 5, 0, 12, INVAL]


def test_a_folder_is_listed_in_order(folder: Path):
    questions = [call("fd_readdir", 3, WHERE, 1024, i64(0), COUNT), GOT, *peek(WHERE, 300)]
    told = tell(*questions)
    assert told[0] == 0
    raw, names = bytes(told[2:]), []
    at = 0
    while at + 24 <= told[1]:
        following, _, length, kind = struct.unpack_from("<QQIB", raw, at)
        names.append((raw[at + 24 : at + 24 + length].decode(), kind))
        at += 24 + length
        assert following == len(names)
    kinds = {".": 3, "..": 3, "absolute": 7, "in.txt": 4, "near": 7, "out": 7, "round": 7, "sub": 3, "up": 7}
    assert names == list(kinds.items())


def test_a_listing_goes_on_at_a_cookie_and_is_cut_at_the_room(folder: Path):
    questions = [call("fd_readdir", 3, WHERE, 10, i64(0), COUNT), GOT]
    questions += [call("fd_readdir", 3, WHERE, 1024, i64(8), COUNT), GOT, *peek(WHERE + 24, 2)]
    questions += [
        call("fd_readdir", 3, WHERE, 1024, i64(99), COUNT),
        GOT,
        call("fd_readdir", 3, WHERE, -1, i64(0), COUNT),
    ]
    told = tell(*questions)
    assert told == [0, 10, 0, 26, *b"up", 0, 0, FAULT]


def test_a_file_says_its_size_and_kind(folder: Path):
    questions = [call("path_filestat_get", 3, 1, PATH, 6, WHERE), *peek(WHERE + 16, 1), *peek(WHERE + 32, 1)]
    questions += [opened("in.txt"), call("fd_filestat_get", NEW, WHERE), *peek(WHERE + 16, 1), *peek(WHERE + 32, 1)]
    questions += [call("fd_filestat_get", 1, WHERE), *peek(WHERE + 16, 1), call("fd_fdstat_get", NEW, WHERE)]
    questions += [*peek(WHERE, 1), f"(i32.and (i32.load (i32.const {WHERE + 8})) (i32.const {WRITE}))"]
    assert tell(*questions) == [0, 4, 12, 0, 0, 4, 12, 0, 2, 0, 4, 0]


# ---- no way out ----


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("../secret.txt", PERM),
        ("..", PERM),
        ("sub/../../secret.txt", PERM),
        ("sub/deep/../../../secret.txt", PERM),
        ("/etc/passwd", PERM),
        ("/", PERM),
        ("out", PERM),
        ("absolute", PERM),
        ("up/secret.txt", PERM),
        ("up", PERM),
        ("sub/climb", PERM),
        ("round", LOOP),
        ("none", NOENT),
        ("none/in.txt", NOENT),
        ("in.txt/x", NOTDIR),
        ("in.txt/", NOTDIR),
        ("", INVAL),
        ("in.txt\0", INVAL),
        (b"\xff\xfe", INVAL),
        ("x/" * 300, NOENT),
        ("./" * 2000 + "in.txt", 0),
        ("sub/../" * 200 + "in.txt", NAMETOOLONG),
        ("y" * 300, NAMETOOLONG),
        ("x" * 5000, NAMETOOLONG),
    ],
)
@pytest.mark.parametrize("writable", [False, True])
def test_no_path_leads_out(folder: Path, path: str | bytes, code: int, writable: bool):
    assert code_of(path, writable=writable) == code


def test_a_subfolder_is_a_wall_too(folder: Path):
    questions = [opened("sub", how=AS_FOLDER), call("path_open", NEW, 1, OTHER, 9, 0, i64(READ), i64(0), 0, COUNT)]
    assert tell(*questions, path="sub", other="../in.txt") == [0, PERM]


def test_a_folder_replaced_by_a_link_does_not_lead_out(folder: Path):
    made = asking(opened("sub/two.txt"), imports=NAMES, extra=texts("sub/two.txt"), policy=granting(True))
    session = Session(made)
    assert answers(session, 1) == [0]
    (folder / "sub").rename(folder / "was")
    (folder / "sub").symlink_to("..")
    (folder.parent / "two.txt").write_text("secret")
    assert answers(session, 1) == [PERM]
    session.close()


@pytest.mark.parametrize("target", ["/proc/self", "sub", None])
def test_a_granted_folder_that_is_replaced_afterwards_is_not_followed(folder: Path, target: str | None):
    session = Session(asking(opened("in.txt"), imports=NAMES, extra=data(PATH, b"in.txt"), policy=granting()))
    (folder / "sub").rename(folder.parent / "sub")
    folder.rename(folder.parent / "elsewhere")
    if target is not None:
        folder.symlink_to(target)
    with pytest.raises(WasmConfiguration, match=r"its policy grants .*/data, which is no longer what it was when"):
        answers(session, 1)
    session.close()


def test_what_is_no_plain_file_is_not_opened_and_nothing_waits(folder: Path, tmp_path: Path):
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "sock"))
        start = time.monotonic()
        for rights in (READ, READ | WRITE):
            assert code_of("pipe", rights, writable=True) == PERM
            assert code_of("sock", rights, writable=True) == PERM
        assert time.monotonic() - start < 5


def test_descriptors_are_those_of_the_guest_alone(folder: Path):
    questions = [call("fd_read", fd, VECTOR, 1, COUNT) for fd in (3, 4, 5, 99, -1)]
    assert tell(*questions) == [ISDIR, BADF, BADF, BADF, BADF]
    assert tell(opened("in.txt", fd=0), opened("in.txt", fd=9)) == [NOTDIR, BADF]


def test_a_guest_cannot_open_files_without_end(folder: Path):
    many = f"""(block (result i32) (loop $l (br_if $l (i32.eqz {opened("in.txt")}))) {opened("in.txt")})"""
    assert tell(many) == [MFILE]
    assert held(folder) <= 64
    assert tell(opened("in.txt"), call("fd_close", NEW), call("fd_close", NEW)) == [0, 0, BADF]


def held(folder: Path) -> int:
    """Return how many descriptors of this process lead into a folder."""
    places = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.exists(place) and os.readlink(place).startswith(str(folder)) for place in places)


def test_files_are_closed_with_their_guest(folder: Path):
    session = Session(asking(opened("in.txt"), imports=NAMES, extra=texts("in.txt"), policy=granting()))
    assert held(folder) == 0
    for count in (2, 3):
        assert answers(session, 1) == [0]
        assert held(folder) == count
    session.pool.interrupt()
    session.close()
    assert held(folder) == 0


# ---- writing ----

DENIED: Sequence[tuple[str, str]] = [
    ("open to write", opened("in.txt", READ | WRITE)),
    ("open to append", opened("in.txt", WRITE, flags=1)),
    ("create", opened("in.txt", READ, CREATE)),
    ("truncate", opened("in.txt", READ, TRUNCATE)),
    ("make a folder", call("path_create_directory", 3, PATH, 6)),
    ("remove a folder", call("path_remove_directory", 3, PATH, 6)),
    ("remove a file", call("path_unlink_file", 3, PATH, 6)),
    ("rename", call("path_rename", 3, PATH, 6, 3, PATH, 6)),
]


@pytest.mark.parametrize("question", [q for _, q in DENIED], ids=[name for name, _ in DENIED])
def test_what_is_granted_for_reading_is_not_written(folder: Path, question: str):
    assert tell(question) == [ROFS]
    assert (folder / "in.txt").read_text() == "hello, world"


def test_a_file_opened_for_reading_is_not_written(folder: Path):
    writes = [call("fd_write", NEW, VECTOR, 1, COUNT), call("fd_pwrite", NEW, VECTOR, 1, i64(0), COUNT)]
    writes += [call("fd_filestat_set_size", NEW, i64(0))]
    for writable in (False, True):
        assert tell(opened("in.txt"), *writes, writable=writable) == [0, BADF, BADF, BADF]
    assert (folder / "in.txt").read_text() == "hello, world"


def test_a_file_is_written_where_that_is_granted(folder: Path):
    questions = [opened("new.txt", WRITE, CREATE | EXCLUSIVE), call("fd_write", NEW, VECTOR, 1, COUNT), GOT]
    questions += [call("fd_pwrite", NEW, VECTOR, 1, i64(60), COUNT), call("fd_read", NEW, VECTOR, 1, COUNT)]
    questions += [call("fd_filestat_set_size", NEW, i64(70)), call("fd_sync", NEW), call("fd_close", NEW)]
    questions += [opened("new.txt", WRITE, CREATE | EXCLUSIVE)]
    assert tell(*questions, path="new.txt", writable=True) == [0, 0, 64, 0, BADF, 0, 0, 0, EXIST]
    assert (folder / "new.txt").stat().st_size == 70
    assert (folder / "new.txt").stat().st_mode & 0o133 == 0


def test_appending_goes_to_the_end(folder: Path):
    questions = [opened("in.txt", WRITE, flags=1), call("fd_write", NEW, VECTOR, 1, COUNT)]
    assert tell(*questions, writable=True) == [0, 0]
    assert (folder / "in.txt").read_bytes() == b"hello, world" + bytes(64)


def test_folders_are_made_renamed_and_removed(folder: Path):
    rename = call("path_rename", 3, PATH, 3, 3, OTHER, 5)
    assert tell(call("path_create_directory", 3, PATH, 4), path="new/", writable=True) == [0]
    assert tell(rename, path="new", other="sub/n", writable=True) == [0]
    assert (folder / "sub" / "n").is_dir()
    assert tell(call("path_remove_directory", 3, PATH, 5), path="sub/n", writable=True) == [0]
    assert tell(call("path_unlink_file", 3, PATH, 4), path="near", writable=True) == [0]
    assert not (folder / "near").is_symlink()
    assert (folder / "sub" / "two.txt").exists()


@pytest.mark.parametrize("target", ["../new", "up/new", "/tmp/new", "sub/../../new"])
def test_nothing_is_made_or_moved_outside(folder: Path, target: str):
    length = len(target)
    questions = [call("path_create_directory", 3, OTHER, length), call("path_rename", 3, PATH, 6, 3, OTHER, length)]
    questions += [call("path_open", 3, 1, OTHER, length, CREATE, i64(WRITE), i64(0), 0, FD)]
    questions += [call("path_unlink_file", 3, OTHER, length)]
    assert tell(*questions, other=target, writable=True) == [PERM] * 4
    assert sorted(path.name for path in folder.parent.iterdir()) == ["data", "secret.txt"]


def test_links_cannot_be_made_or_looked_through(folder: Path):
    questions = [call("path_symlink", PATH, 6, 3, OTHER, 3), call("path_link", 3, 0, PATH, 6, 3, OTHER, 3)]
    questions += [call("path_readlink", 3, PATH, 6, WHERE, 64, COUNT), call("fd_allocate", 3, i64(0), i64(1))]
    assert tell(*questions, other="new", writable=True) == [NOTSUP] * 4
    assert not (folder / "new").exists()


def test_a_disk_cannot_be_filled_in_one_call(folder: Path):
    open_ = opened("big", WRITE, CREATE)
    assert tell(open_, call("fd_filestat_set_size", NEW, i64(1 << 40)), path="big", writable=True) == [0, DQUOT]
    far = call("fd_pwrite", NEW, VECTOR, 1, i64(1 << 40), COUNT)
    assert tell(open_, far, path="big", writable=True) == [0, DQUOT]
    flood = (
        f"(block (result i32) (loop $l (br_if $l (i32.eqz {call('fd_write', NEW, VECTOR, 1, COUNT)}))) (i32.const 1))"
    )
    policy = granting(True) | {"max_memory": "1MiB"}
    vector = texts("big") + data(VECTOR, struct.pack("<II", 0, 100_000))
    assert ask(open_, flood, imports=NAMES, extra=vector, policy=policy) == [0, 1]
    assert (folder / "big").stat().st_size <= 1 << 20


def test_a_folder_cannot_be_filled_in_one_call(folder: Path):
    make, number = call("path_create_directory", 3, PATH, 3), "(i32.load (i32.const 8))"
    letters = [f"(i32.rem_u (i32.div_u {number} (i32.const {26**i})) (i32.const 26))" for i in range(3)]
    spell = " ".join(
        f"(i32.store8 (i32.const {PATH + i}) (i32.add (i32.const 97) {letter}))" for i, letter in enumerate(letters)
    )
    flood = f"""(block (result i32) (loop $l {spell}
        (i32.store (i32.const 8) (i32.add {number} (i32.const 1))) (br_if $l (i32.eqz {make}))) {make})"""
    assert tell(flood, path="aaa", writable=True) == [DQUOT]
    assert len(list(folder.iterdir())) <= 1024 + 10


# ---- memory ----


@pytest.mark.parametrize(
    "question",
    [
        call("path_open", 3, 1, -4, 8, 0, i64(READ), i64(0), 0, FD),
        call("path_open", 3, 1, PATH, 6, 0, i64(READ), i64(0), 0, -2),
        call("fd_prestat_get", 3, 131_070),
        call("fd_prestat_dir_name", 3, 131_070, 64),
        call("path_filestat_get", 3, 1, PATH, 6, 131_060),
        call("fd_readdir", 3, 131_070, 64, i64(0), COUNT),
        call("fd_readdir", 3, WHERE, 64, i64(0), 131_070),
    ],
)
def test_nothing_is_read_or_written_outside_the_memory(folder: Path, question: str):
    assert tell(question) == [FAULT]


@pytest.mark.parametrize(
    ("where", "size", "code"), [(131_070, 8, FAULT), (0xFFFFFFFF, 2, FAULT), (0, 1 << 31, FAULT), (0, 131_072, 0)]
)
def test_a_vector_outside_the_memory_is_found_out(folder: Path, where: int, size: int, code: int):
    extra = texts("in.txt") + data(VECTOR, struct.pack("<II", where, size))
    # A vector over the whole memory is sound; what is read there goes over the answer's own place.
    told = ask(opened("in.txt"), READING, imports=NAMES, extra=extra, policy=granting())
    assert told == [0, code]
