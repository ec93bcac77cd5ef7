#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char empty[1];

void buf_init(struct buf *b, size_t max)
{
    b->data = empty;
    b->len = 0;
    b->cap = 0;
    b->max = max;
}

void buf_done(struct buf *b)
{
    if (b->cap > 0)
        free(b->data);
    buf_init(b, 0);
}

void buf_clear(struct buf *b)
{
    b->len = 0;
    if (b->cap > 0)
        b->data[0] = '\0';
}

void buf_reset(struct buf *b)
{
    size_t max = b->max;
    buf_done(b);
    b->max = max;
}

int buf_reserve(struct buf *b, size_t n)
{
    if (n > b->max || b->len > b->max - n)
        return ERR_TOOBIG;
    size_t need = b->len + n; /* and one for the NUL */
    if (need < b->cap)
        return 0;
    if (need > PTRDIFF_MAX - 1)
        return ERR_NOMEM;
    size_t cap = b->cap > 0 ? b->cap : 64;
    while (cap <= need)
        cap += cap;
    if (cap - 1 > b->max)
        cap = b->max + 1;
    char *p = realloc(b->cap > 0 ? b->data : NULL, cap);
    if (p == NULL)
        return ERR_NOMEM;
    b->data = p;
    b->cap = cap;
    b->data[b->len] = '\0';
    return 0;
}

int buf_append(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return 0;
    int rc = buf_reserve(b, n);
    if (rc < 0)
        return rc;
    memcpy(b->data + b->len, p, n);
    b->len += n;
    b->data[b->len] = '\0';
    return 0;
}

int buf_puts(struct buf *b, const char *s)
{
    return buf_append(b, s, strlen(s));
}

int buf_putc(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    int rc = n < 0 ? ERR_INVALID : buf_reserve(b, (size_t)n);
    if (rc == 0) {
        (void)vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return rc;
}

void buf_consume(struct buf *b, size_t n)
{
    BIDE_ASSERT(n <= b->len, "consume %zu of %zu", n, b->len);
    if (n == 0)
        return;
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
    b->data[b->len] = '\0';
}

char *buf_take(struct buf *b, size_t *ret_len)
{
    if (buf_reserve(b, 0) < 0 || b->cap == 0) {
        char *p = calloc(1, 1);
        if (p != NULL && ret_len != NULL)
            *ret_len = 0;
        return p;
    }
    char *p = b->data;
    if (ret_len != NULL)
        *ret_len = b->len;
    size_t max = b->max;
    buf_init(b, max);
    return p;
}
