/* Dead letters to a file and from one: dlq export, dlq import. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lines.h"
#include "show.h"

enum { SEND_BYTES = 4 << 20, SEND_LINES = 500 };

/* --- export ------------------------------------------------------------------------------------------------------- */

struct totals {
    long long letters, unreadable;
    char cursor[32];
};

/* Write a page but its last line, which says how many letters there were and where the next page starts. False after a
 * message. */
static bool write_page(const struct reply *r, FILE *out, struct totals *sum)
{
    const char *p = r->body.data;
    size_t len = r->body.len;
    json_t *last = NULL;
    if (len > 0 && p[len - 1] == '\n') {
        const char *from = len > 1 ? memrchr(p, '\n', len - 1) : NULL;
        from = from != NULL ? from + 1 : p;
        last = json_loadb(from, (size_t)(p + len - from), 0, NULL);
        len = (size_t)(from - p);
    }
    if (!json_is_integer(json_object_get(last, "letters"))) {
        json_decref(last);
        (void)call_fail("the daemon's answer was cut off");
        return false;
    }
    sum->letters += show_int(last, "letters");
    sum->unreadable += show_int(last, "unreadable");
    (void)snprintf(sum->cursor, sizeof sum->cursor, "%s", show_str(last, "cursor"));
    json_decref(last);
    if (fwrite(p, 1, len, out) == len)
        return true;
    (void)call_fail("cannot be written: %s", strerror(errno));
    return false;
}

static bool export_pages(struct call *c, FILE *out, struct totals *sum)
{
    do {
        char path[1024] = "/bide/v1/dlq/export";
        struct reply r;
        show_query(path, sizeof path, "function", call_opt(c, "function"));
        show_query(path, sizeof path, "condition", call_opt(c, "condition"));
        show_query(path, sizeof path, "replayed", call_flag(c, "replayed") ? "1" : NULL);
        (void)show_times(c, path, sizeof path); /* checked before */
        show_query(path, sizeof path, "cursor", sum->cursor[0] != '\0' ? sum->cursor : NULL);
        bool ok = show_raw(c, "GET", path, &r) && write_page(&r, out, sum);
        reply_done(&r);
        if (!ok)
            return false;
    } while (sum->cursor[0] != '\0');
    return true;
}

/* A file that was there before is only replaced by a whole one. */
static int finish_file(FILE *out, const char *part, const char *name, bool ok)
{
    bool flushed = fflush(out) == 0 && fsync(fileno(out)) == 0;
    if (fclose(out) != 0)
        flushed = false;
    if (ok && flushed && rename(part, name) == 0)
        return EXIT_DONE;
    if (ok)
        (void)call_fail("%s: %s", name, strerror(errno));
    (void)unlink(part);
    return EXIT_FAILED;
}

int cmd_dlq_export(struct call *c)
{
    const char *name = c->n_args > 0 && strcmp(c->args[0], "-") != 0 ? c->args[0] : NULL;
    struct totals sum = {0};
    char part[4096], times[256] = "";
    FILE *out = stdout;
    if (!show_times(c, times, sizeof times))
        return EXIT_USAGE;
    if (name != NULL) {
        (void)snprintf(part, sizeof part, "%s.part", name);
        out = fopen(part, "wbe");
        if (out == NULL)
            return call_fail("%s: %s", part, strerror(errno));
    }
    bool ok = export_pages(c, out, &sum);
    int status = ok ? EXIT_DONE : EXIT_FAILED;
    if (name != NULL)
        status = finish_file(out, part, name, ok);
    if (status == EXIT_DONE)
        (void)fprintf(stderr, "%lld exported\n", sum.letters);
    if (sum.unreadable > 0)
        return call_fail("%lld could not be read and are not in it; `bide verify` tells more", sum.unreadable);
    return status;
}

/* --- import ------------------------------------------------------------------------------------------------------- */

struct sending {
    struct buf body;
    uint64_t at[SEND_LINES]; /* number of each line in the file */
    size_t n;
    long long imported, known, faults;
    bool full;
};

static uint64_t number_of(const struct sending *s, long long line)
{
    return line > 0 && (size_t)line <= s->n ? s->at[line - 1] : 0;
}

/* What has gathered goes to the daemon. False after a message: nothing more is to be sent. */
static bool send(struct call *c, struct sending *s, const char *name)
{
    struct reply r;
    struct err e = {0};
    struct client *cl = call_client(c);
    if (s->n == 0)
        return true;
    if (cl == NULL)
        return false;
    reply_init(&r);
    int rc = client_call(cl, "POST", "/bide/v1/dlq/import", NULL, s->body.data, s->body.len, &r, &e);
    json_t *v = rc == 0 && r.status == 200 ? json_loadb(r.body.data, r.body.len, 0, NULL) : NULL;
    if (v == NULL)
        (void)call_fail("%s, lines %llu to %llu, of which none is in: %s", name, (unsigned long long)s->at[0],
                        (unsigned long long)s->at[s->n - 1], rc < 0 ? e.text : reply_why(&r));
    reply_done(&r);
    if (v == NULL)
        return false;
    s->imported += show_int(v, "imported");
    s->known += show_int(v, "known");
    s->faults += show_int(v, "n_faults");
    size_t i;
    const json_t *f;
    json_array_foreach(json_object_get(v, "faults"), i, f)(void)
        fprintf(stderr, "bide: %s, line %llu: %s\n", name, (unsigned long long)number_of(s, show_int(f, "line")),
                show_text(show_str(f, "why"), 300));
    if (json_is_integer(json_object_get(v, "full_at_line"))) {
        s->full = true;
        (void)call_fail("%s, line %llu: no room for it among the dead letters; make some with `bide dlq rm` or raise "
                        "dlq.max_bytes, and import again",
                        name, (unsigned long long)number_of(s, show_int(v, "full_at_line")));
    }
    json_decref(v);
    buf_clear(&s->body);
    s->n = 0;
    return !s->full;
}

static bool add(struct call *c, struct sending *s, const struct lines *in)
{
    if ((s->n == SEND_LINES || (s->n > 0 && s->body.len + in->line.len > SEND_BYTES)) && !send(c, s, in->name))
        return false;
    if (buf_append(&s->body, in->line.p, in->line.len) < 0 || buf_putc(&s->body, '\n') < 0) {
        (void)call_fail("%s, line %llu: out of memory", in->name, (unsigned long long)in->number);
        return false;
    }
    s->at[s->n++] = in->number;
    return true;
}

/* Every line of the file; bad ones are named, the others go on. False: it ended early, and was said. */
static bool send_all(struct call *c, struct sending *s, struct lines *in)
{
    for (;;) {
        struct err e = {0};
        int rc = lines_next(in, &e);
        if (rc == ERR_AGAIN) {
            struct pollfd p = {.fd = in->fd, .events = POLLIN};
            (void)poll(&p, 1, -1);
        } else if (rc == ERR_INVALID) {
            (void)call_fail("%s", e.text);
            s->faults++;
        } else if (rc < 0) {
            (void)call_fail("%s", e.text);
            (void)send(c, s, in->name);
            return false;
        } else if (rc == 0) {
            return send(c, s, in->name);
        } else if (!add(c, s, in)) {
            return false;
        }
    }
}

int cmd_dlq_import(struct call *c)
{
    struct lines in;
    struct err e = {0};
    if (c->n_args == 0 && isatty(STDIN_FILENO))
        return call_usage(c, "which file? - is standard input");
    struct sending *s = calloc(1, sizeof *s);
    if (s == NULL)
        return call_fail("out of memory");
    if (lines_open(&in, c->n_args > 0 ? c->args[0] : "-", &e) < 0) {
        free(s);
        return call_fail("%s", e.text);
    }
    buf_init(&s->body, 2 * SEND_BYTES + (16 << 20));
    bool ok = send_all(c, s, &in);
    lines_close(&in);
    if (c->json) {
        json_t *o = json_pack("{s:I,s:I,s:I}", "imported", (json_int_t)s->imported, "known", (json_int_t)s->known,
                              "faults", (json_int_t)s->faults);
        show_json(o);
        json_decref(o);
    } else {
        (void)printf("%lld imported, %lld known already, %lld faulty\n", s->imported, s->known, s->faults);
    }
    ok = ok && s->faults == 0;
    buf_done(&s->body);
    free(s);
    return ok ? EXIT_DONE : EXIT_FAILED;
}
