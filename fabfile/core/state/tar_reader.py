"""Reads the small files out of a tar archive that a host sent. Pure.

Not by tarfile: it unpacks compressed and sparse archives to any size, follows links within the archive, and in some Python
versions does not end on a negative size. What GNU tar writes for regular files is a header of 512 bytes and the bytes.
"""

from __future__ import annotations

import re

_BLOCK = 512
_REGULAR, _LONG_NAME = (b"0", b"\0"), b"L"  # kinds of entries


def read_files(archive: bytes) -> dict[str, bytes]:
    """The regular files by their absolute path; all other entries are passed over. ValueError: it is cut, or no archive.

    The result is never larger than the archive.
    """
    files: dict[str, bytes] = {}
    at, long_name = 0, ""
    while header := archive[at : at + _BLOCK].rstrip(b"\0"):
        header = header.ljust(_BLOCK, b"\0")
        _check(header)
        size = _octal(header[124:136])
        content = archive[at + _BLOCK : at + _BLOCK + size]
        if len(content) < size:
            raise ValueError("the archive is cut")
        kind = header[156:157]
        if kind == _LONG_NAME:
            long_name = _text(content)
        else:
            if kind in _REGULAR:
                files["/" + (long_name or _name(header)).lstrip("/")] = content
            long_name = ""
        at += _BLOCK + -(-size // _BLOCK) * _BLOCK
    return files


def _check(header: bytes) -> None:
    """The header's sum counts its own eight bytes as blanks."""
    if _octal(header[148:156]) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise ValueError("what follows its facts is no archive")


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not re.fullmatch(rb"[0-7]{0,11}", digits):
        raise ValueError("a number in the archive is none")
    return int(digits or b"0", 8)


def _name(header: bytes) -> str:
    """POSIX archives split a long path; GNU's have other fields in the place of its first part."""
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{_text(header[:100])}" if prefix else _text(header[:100])


def _text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "replace")
