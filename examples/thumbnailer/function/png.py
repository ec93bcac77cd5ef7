"""PNG in and out with the standard library: 8 bits per channel, grey, RGB or RGBA, not interlaced."""
import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 6: 4}  # by colour type


def chunks(data):
    at = len(SIGNATURE)
    while at < len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + 8 + length]
        at += 12 + length


def paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def unfilter(kind, row, above, n):
    """Undo a row's filter, in place; n is the number of bytes of a pixel."""
    for i in range(len(row)):
        left = row[i - n] if i >= n else 0
        up = above[i]
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = up
        elif kind == 3:
            guess = (left + up) // 2
        else:
            guess = paeth(left, up, above[i - n] if i >= n else 0)
        row[i] = (row[i] + guess) & 255


def decode(data):
    """-> width, height, channels, rows."""
    if not data.startswith(SIGNATURE):
        raise ValueError("not a PNG image")
    packed = b""
    for kind, body in chunks(data):
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
    if depth != 8 or colour not in CHANNELS or interlaced:
        raise ValueError("PNG with %d bits, colour type %d%s: not supported" % (depth, colour, ", interlaced" * interlaced))
    n = CHANNELS[colour]
    raw = zlib.decompress(packed)
    rows, above, stride = [], bytearray(width * n), width * n + 1
    for y in range(height):
        row = bytearray(raw[y * stride + 1 : (y + 1) * stride])
        if raw[y * stride] != 0:
            unfilter(raw[y * stride], row, above, n)
        rows.append(row)
        above = row
    return width, height, n, rows


def encode(width, height, n, rows):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    colour = {v: k for k, v in CHANNELS.items()}[n]
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + bytes(r) for r in rows))
    return SIGNATURE + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
