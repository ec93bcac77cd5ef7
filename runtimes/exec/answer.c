#include "answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "jscan.h"
#include "signame.h"

enum {
    DEPTH_MAX = 2048, /* what the API accepts of a payload too */
    LINES_MAX = 10,   /* of stderr in an error object */
    MESSAGE_MAX = 800,
};

/* --- text --------------------------------------------------------------------------------------------------------- */

void text_add(struct text *t, const char *p, size_t n)
{
    t->over = t->over || t->len + n > RUN_RESULT_MAX;
    if (t->over)
        return;
    if (t->len + n >= t->cap) {
        t->cap = t->cap == 0 ? 1024 : t->cap;
        while (t->cap <= t->len + n)
            t->cap *= 2;
        t->p = realloc(t->p, t->cap);
        if (t->p == NULL) {
            dprintf(STDERR_FILENO, "bootstrap: out of memory\n");
            _exit(1);
        }
    }
    if (n > 0)
        memcpy(t->p + t->len, p, n);
    t->len += n;
    t->p[t->len] = '\0';
}

void text_printf(struct text *t, const char *fmt, ...)
{
    char piece[MESSAGE_MAX + 256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, ap);
    va_end(ap);
    text_add(t, piece, (size_t)n < sizeof piece ? (size_t)n : sizeof piece - 1);
}

void text_done(struct text *t)
{
    free(t->p);
    memset(t, 0, sizeof *t);
}

/* Bytes of the UTF-8 character at p, 0 when there is none: no overlong forms, no surrogates, nothing past U+10FFFF. */
static size_t utf8_len(const char *text, size_t n)
{
    const unsigned char *p = (const unsigned char *)text;
    unsigned char low = 0x80, high = 0xBF;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    if (len < 2)
        return len;
    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    if (n < len || p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    return len;
}

static bool is_utf8(const char *p, size_t n)
{
    size_t len;
    for (size_t i = 0; i < n; i += len) {
        len = utf8_len(p + i, n - i);
        if (len == 0)
            return false;
    }
    return true;
}

void text_add_string(struct text *t, const char *p, size_t n)
{
    text_add(t, "\"", 1);
    for (size_t i = 0; i < n && !t->over;) {
        size_t plain = 0, len = 0;
        while (i + plain < n && (unsigned char)p[i + plain] >= 0x20 && p[i + plain] != '"' && p[i + plain] != '\\' &&
               (len = utf8_len(p + i + plain, n - i - plain)) > 0)
            plain += len;
        text_add(t, p + i, plain);
        i += plain;
        if (i == n)
            break;
        char c = p[i++];
        if (c == '"' || c == '\\')
            text_printf(t, "\\%c", c);
        else if (c == '\n')
            text_add(t, "\\n", 2);
        else if (c == '\t')
            text_add(t, "\\t", 2);
        else if ((unsigned char)c < 0x20)
            text_printf(t, "\\u%04x", (unsigned)c);
        else
            text_add(t, "\xEF\xBF\xBD", 3);
    }
    text_add(t, "\"", 1);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */

void answer_error(struct text *body, const char *type, const char *message)
{
    text_printf(body, "{\"errorType\":\"%s\",\"errorMessage\":", type);
    text_add_string(body, message, strlen(message));
    text_add(body, "}", 1);
}

struct line {
    const char *p;
    size_t len;
};

/* The last lines that say something, in order. */
static size_t last_lines(const char *p, size_t n, struct line out[LINES_MAX])
{
    size_t found = 0;
    while (n > 0 && found < LINES_MAX) {
        const char *nl = memrchr(p, '\n', n);
        size_t at = nl != NULL ? (size_t)(nl - p) + 1 : 0, len = n - at;
        while (len > 0 && (p[at + len - 1] == '\r' || p[at + len - 1] == ' '))
            len--;
        if (len > 0)
            out[LINES_MAX - ++found] = (struct line){p + at, len};
        n = at > 0 ? at - 1 : 0;
    }
    memmove(out, out + LINES_MAX - found, found * sizeof out[0]);
    return found;
}

static const char *failed(struct text *body, const struct run *r)
{
    static const char type[] = "Runtime.ExitError";
    struct line lines[LINES_MAX];
    size_t n = last_lines(r->tail, r->tail_len, lines);
    char message[MESSAGE_MAX];
    int sig = WIFSIGNALED(r->status) ? WTERMSIG(r->status) : 0, len;
    if (sig == 0)
        len = snprintf(message, sizeof message, "exit status %d", WEXITSTATUS(r->status));
    else if (signal_words(sig) != NULL)
        len = snprintf(message, sizeof message, "signal: %s", signal_words(sig));
    else
        len = snprintf(message, sizeof message, "signal: signal %d", sig);
    if (n > 0)
        (void)snprintf(message + len, sizeof message - (size_t)len, ": %.*s", (int)lines[n - 1].len, lines[n - 1].p);
    text_printf(body, "{\"errorType\":\"%s\",\"errorMessage\":", type);
    text_add_string(body, message, strlen(message));
    text_add(body, ",\"stderr\":[", 11);
    for (size_t i = 0; i < n; i++) {
        text_add(body, ",", i > 0);
        text_add_string(body, lines[i].p, lines[i].len);
    }
    text_add(body, "]}", 2);
    return type;
}

static const char *too_large(struct text *body)
{
    static const char type[] = "Function.ResponseSizeTooLarge";
    text_done(body);
    text_printf(body,
                "{\"errorMessage\":\"Response payload size exceeded maximum allowed payload size (%d bytes).\","
                "\"errorType\":\"%s\"}",
                RUN_RESULT_MAX, type);
    return type;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

/* JSON goes out as it is, nothing is null, other text becomes a string without its last newlines, as $(...) gives it.
 */
static void result(struct text *body, const char *p, size_t n)
{
    while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r'))
        n--;
    if (n == 0)
        text_add(body, "null", 4);
    else if (is_utf8(p, n) && jscan_valid(p, n, DEPTH_MAX))
        text_add(body, p, n);
    else
        text_add_string(body, p, n);
}

const char *answer_make(struct text *body, const struct run *r, const char *handler)
{
    static const char type[] = "Runtime.InvalidEntrypoint";
    if (r->exec_errno != 0) {
        char message[MESSAGE_MAX];
        (void)snprintf(message, sizeof message, "%s cannot be executed: %s", handler, strerror(r->exec_errno));
        answer_error(body, type, message);
        return type;
    }
    if (r->status != 0)
        return failed(body, r);
    if (!r->too_large)
        result(body, r->out, r->out_len);
    return r->too_large || body->over ? too_large(body) : NULL;
}
