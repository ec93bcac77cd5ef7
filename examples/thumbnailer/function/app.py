"""Makes a small image of the PNG image in the event: {"image": BASE64, "width": PIXELS}."""
import base64

import png


def shrink(width, height, n, rows, to_width):
    """Each pixel of the result is the mean of the block it stands for."""
    to_width = min(to_width, width)
    to_height = max(1, height * to_width // width)
    out = []
    for y in range(to_height):
        block = rows[y * height // to_height : max((y + 1) * height // to_height, y * height // to_height + 1)]
        row = bytearray()
        for x in range(to_width):
            left, right = x * width // to_width * n, (x + 1) * width // to_width * n
            for c in range(n):
                values = [sum(r[left + c : right : n]) for r in block]
                row.append(sum(values) // (len(block) * ((right - left) // n)))
        out.append(row)
    return to_width, to_height, out


def handler(event, context):
    width, height, n, rows = png.decode(base64.b64decode(event["image"]))
    print("image of %d x %d" % (width, height))
    small_width, small_height, small = shrink(width, height, n, rows, event.get("width", 64))
    image = png.encode(small_width, small_height, n, small)
    return {"width": small_width, "height": small_height, "image": base64.b64encode(image).decode()}
