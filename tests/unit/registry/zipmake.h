/* Zip files with every field under the test's control, honest or not. */
#ifndef TESTS_REGISTRY_ZIPMAKE_H
#define TESTS_REGISTRY_ZIPMAKE_H

#include <zlib.h>

#include "base/buf.h"
#include "testutil.h"

enum { ZM_UNIX = 3 << 8, ZM_MAX = 64 * 1024 * 1024 };

struct zm_entry {
    const char *name;
    size_t name_len; /* 0: strlen(name) */
    const void *data;
    size_t len;
    uint32_t mode;     /* Unix mode; 0: none recorded */
    uint16_t flags;    /* general purpose bits */
    uint16_t method;   /* 0 stored; other values are only claimed, the data is what is given */
    uint32_t size;     /* declared unzipped size; 0: len */
    uint32_t crc;      /* 0: of data */
    const char *local; /* name in the local header, NULL: the same */
    uint32_t offset;   /* claimed offset of the local header, 0: the true one */
};

struct zm {
    struct buf body, dir;
    unsigned n;
    int claim_n; /* entries claimed by the end record; -1: the truth */
};

static TEST_UNUSED void zm_num(struct buf *b, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        assert_int_equal(buf_putc(b, (char)(v >> 8 * i & 0xff)), 0);
}

static TEST_UNUSED void zm_init(struct zm *z)
{
    buf_init(&z->body, ZM_MAX);
    buf_init(&z->dir, ZM_MAX);
    z->n = 0;
    z->claim_n = -1;
}

static TEST_UNUSED void zm_done(struct zm *z)
{
    buf_done(&z->body);
    buf_done(&z->dir);
}

static TEST_UNUSED void zm_add(struct zm *z, const struct zm_entry *en)
{
    size_t name_len = en->name_len ? en->name_len : strlen(en->name);
    const char *local = en->local ? en->local : en->name;
    size_t local_len = en->local ? strlen(en->local) : name_len;
    uint32_t crc = en->crc ? en->crc : (uint32_t)crc32(0, en->data, (uInt)en->len);
    uint32_t size = en->size ? en->size : (uint32_t)en->len;
    uint32_t at = (uint32_t)z->body.len;
    struct buf *b = &z->body;
    zm_num(b, 0x04034b50, 4);
    zm_num(b, 20, 2);
    zm_num(b, en->flags, 2);
    zm_num(b, en->method, 2);
    zm_num(b, 0x5a210000, 4); /* time and date */
    zm_num(b, crc, 4);
    zm_num(b, (uint32_t)en->len, 4);
    zm_num(b, size, 4);
    zm_num(b, (uint32_t)local_len, 2);
    zm_num(b, 0, 2);
    assert_int_equal(buf_append(b, local, local_len), 0);
    assert_int_equal(buf_append(b, en->data, en->len), 0);
    b = &z->dir;
    zm_num(b, 0x02014b50, 4);
    zm_num(b, (en->mode ? ZM_UNIX : 0) | 20, 2);
    zm_num(b, 20, 2);
    zm_num(b, en->flags, 2);
    zm_num(b, en->method, 2);
    zm_num(b, 0x5a210000, 4);
    zm_num(b, crc, 4);
    zm_num(b, (uint32_t)en->len, 4);
    zm_num(b, size, 4);
    zm_num(b, (uint32_t)name_len, 2);
    zm_num(b, 0, 2);
    zm_num(b, 0, 2);
    zm_num(b, 0, 2);
    zm_num(b, 0, 2);
    zm_num(b, en->mode << 16, 4);
    zm_num(b, en->offset ? en->offset : at, 4);
    assert_int_equal(buf_append(b, en->name, name_len), 0);
    z->n++;
}

/* A plain file. */
static TEST_UNUSED void zm_file(struct zm *z, const char *name, const char *text)
{
    zm_add(z, &(struct zm_entry){.name = name, .data = text, .len = strlen(text), .mode = 0100644});
}

/* Close the archive; the bytes are in z->body. */
static TEST_UNUSED void zm_end(struct zm *z)
{
    uint32_t start = (uint32_t)z->body.len;
    uint32_t n = z->claim_n >= 0 ? (uint32_t)z->claim_n : z->n;
    assert_int_equal(buf_append(&z->body, z->dir.data, z->dir.len), 0);
    zm_num(&z->body, 0x06054b50, 4);
    zm_num(&z->body, 0, 4);
    zm_num(&z->body, n, 2);
    zm_num(&z->body, n, 2);
    zm_num(&z->body, (uint32_t)z->dir.len, 4);
    zm_num(&z->body, start, 4);
    zm_num(&z->body, 0, 2);
}

#endif
