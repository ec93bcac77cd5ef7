#include "record.h"

#include "hash.h"

static uint32_t checksum(const void *data, size_t len)
{
    const uint8_t *b = data;
    return crc32c(crc32c(0, b, 1), b + RECORD_HEAD_LEN, len - RECORD_HEAD_LEN);
}

void record_begin(struct buf *out, struct pack *p, uint8_t version)
{
    const char head[RECORD_HEAD_LEN] = {(char)version};
    buf_clear(out);
    pack_init(p, out);
    p->error = buf_append(out, head, sizeof head);
}

int record_end(struct buf *out, struct pack *p)
{
    int rc = pack_error(p);
    if (rc < 0)
        return rc;
    uint32_t crc = checksum(out->data, out->len);
    for (int i = 0; i < 4; i++)
        out->data[1 + i] = (char)(crc >> (24 - 8 * i));
    return 0;
}

int record_open(const void *data, size_t len, uint8_t max_version, uint8_t *ret_version, struct unpack *u)
{
    const uint8_t *b = data;
    *u = (struct unpack){0};
    if (len < RECORD_HEAD_LEN + 1)
        return ERR_CORRUPT;
    uint32_t crc = (uint32_t)b[1] << 24 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 8 | b[4];
    if (crc != checksum(data, len) || b[0] == 0)
        return ERR_CORRUPT;
    if (b[0] > max_version)
        return ERR_VERSION;
    *ret_version = b[0];
    return unpack_init(u, b + RECORD_HEAD_LEN, len - RECORD_HEAD_LEN);
}
