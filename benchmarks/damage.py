"""Ways in which bytes are damaged: as disks and transfers do it, and by hand, signed again."""

import hashlib
import random

_DIGEST = slice(35, 99)
_NUMBERS = (
    b"-1",
    b"0",
    b"1",
    b"2147483648",
    b"9" * 30,
    b"NaN",
    b"Infinity",
    b"1e999",
    b"null",
    b"true",
    b"[]",
    b'\\"a\\"',
)


def damaged(content: bytes, contents: list[bytes], draw: random.Random) -> bytes:
    """A file as disks and transfers leave it."""
    out, size = bytearray(content), len(content)
    start = draw.randrange(size)
    stop = min(size, start + draw.choice((1, 2, 8, 64, 512, 4096)))
    match draw.randrange(9):
        case 0:
            out[start] ^= 1 << draw.randrange(8)
        case 1:
            out[start] = draw.randrange(256)
        case 2:
            return content[:start]
        case 3:
            del out[start:stop]
        case 4:
            out[start:start] = out[start:stop]
        case 5:
            out[start:stop] = bytes(stop - start)
        case 6:
            other = draw.choice(contents)
            out[start:stop] = other[start:stop]
        case 7:
            out[start:stop] = draw.randbytes(stop - start)
        case _:
            for _ in range(draw.randrange(2, 20)):
                out[draw.randrange(size)] ^= 1 << draw.randrange(8)
    return bytes(out)


def is_signed(content: bytes) -> bool:
    """Whether bytes are an archive, which has a digest of itself."""
    return content[8 : _DIGEST.start] == b'{"__metadata__":{"sha256":"'


def edited(content: bytes, draw: random.Random) -> bytes:
    """A file whose text or arrays somebody changed and signed again."""
    length = int.from_bytes(content[:8], "little")
    text, rest = bytearray(content[8 : 8 + length]), bytearray(content[8 + length :])
    place = draw.randrange(91, len(text))
    match draw.randrange(6):
        case 0:
            text[place] ^= 1 << draw.randrange(8)
        case 1:  # a number becomes another one
            place = _digit_from(text, place)
            end = place
            while end < len(text) and text[end : end + 1] in b"0123456789.e-":
                end += 1
            text[place:end] = draw.choice(_NUMBERS)
        case 2:
            del text[place : place + draw.choice((1, 3, 20, 200))]
        case 3:
            text[place:place] = draw.choice((b"[" * 50_000, b'{\\"a\\":' * 20_000, b"\\\\ud800", b"\xff", b",", b'"'))
        case 4 if rest:
            rest[draw.randrange(len(rest))] ^= 1 << draw.randrange(8)
        case _:
            other = draw.randrange(91, len(text))
            text[place], text[other] = text[other], text[place]
    whole = len(text).to_bytes(8, "little") + bytes(text) + bytes(rest)
    digest = hashlib.sha256(whole[: _DIGEST.start] + whole[_DIGEST.stop :]).hexdigest().encode()
    return whole[: _DIGEST.start] + digest + whole[_DIGEST.stop :]


def _digit_from(text: bytearray, place: int) -> int:
    """The first digit at or after a place that begins a number."""
    while place < len(text) - 1 and not (text[place : place + 1].isdigit() and not text[place - 1 : place].isalnum()):
        place += 1
    return place
