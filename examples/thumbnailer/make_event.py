#!/usr/bin/env python3
"""make_event.py WIDTH HEIGHT: prints an event with an image of that size, a gradient. Its rows are filtered as those of
photographs are (Paeth), so that reading it costs what reading a photograph costs."""
import base64
import json
import struct
import sys
import zlib


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def main():
    width, height = int(sys.argv[1]), int(sys.argv[2])
    first = b"\x01" + b"\x01\0\x02" * width
    other = b"\x04" + b"\0\x01\0" + b"\0\0\0" * (width - 1)
    image = (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
             + chunk(b"IDAT", zlib.compress(first + other * (height - 1))) + chunk(b"IEND", b""))
    print(json.dumps({"image": base64.b64encode(image).decode(), "width": 64}))


main()
