/* Verbs that only look: env, status, functions, events, verify; and clock. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdutil.h"
#include "base/num.h"
#include "detail.h"
#include "offline.h"
#include "show.h"

/* --- env ---------------------------------------------------------------------------------------------------------- */

static bool read_line_file(const char *data, const char *name, char *out, size_t cap)
{
    char path[4096];
    struct buf b;
    buf_init(&b, cap - 1);
    (void)snprintf(path, sizeof path, "%s/%s", data, name);
    bool ok = file_read(AT_FDCWD, path, &b) == 0 && b.len > 0;
    if (ok) {
        memcpy(out, b.data, b.len + 1);
        out[strcspn(out, "\r\n")] = '\0';
    }
    buf_done(&b);
    return ok;
}

static bool credential(const char *text, const char *key, char *out, size_t cap)
{
    const char *at = strstr(text, key);
    const char *eq = at != NULL ? strchr(at, '=') : NULL;
    if (eq == NULL)
        return false;
    eq += 1 + strspn(eq + 1, " \t");
    size_t n = strcspn(eq, " \t\r\n");
    if (n == 0 || n >= cap)
        return false;
    memcpy(out, eq, n);
    out[n] = '\0';
    return true;
}

/* "aws-cli/2.15.3 Python/..." -> is AWS_ENDPOINT_URL_LAMBDA honoured? (2.13 and 1.29.80 on.) */
static void warn_old_cli(void)
{
    FILE *p = popen("aws --version 2>&1", "r");
    char line[256] = "";
    int major = 0, minor = 0, patch = 0;
    if (p == NULL)
        return;
    if (fgets(line, sizeof line, p) != NULL && sscanf(line, "aws-cli/%d.%d.%d", &major, &minor, &patch) == 3) {
        bool old =
            major < 1 || (major == 1 && (minor < 29 || (minor == 29 && patch < 80))) || (major == 2 && minor < 13);
        if (old)
            (void)fprintf(
                stderr,
                "bide: the installed AWS CLI %d.%d.%d is too old to honour AWS_ENDPOINT_URL_LAMBDA (2.13 or 1.29.80 "
                "is needed): give it --endpoint-url \"$AWS_ENDPOINT_URL_LAMBDA\"\n",
                major, minor, patch);
    }
    (void)pclose(p);
}

int cmd_env(struct call *c)
{
    char url[512], region[64] = "us-east-1", id[160] = "", secret[160] = "", path[4096];
    if (c->endpoint != NULL)
        return call_usage(c, "reads the data directory: give --data, not --endpoint");
    if (!read_line_file(c->data, "endpoint", url, sizeof url))
        return call_fail("no daemon serves %s (there is no %s/endpoint); start it with: bided --data %s", c->data,
                         c->data, c->data);
    struct buf b;
    buf_init(&b, 65536);
    (void)snprintf(path, sizeof path, "%s/credentials", c->data);
    bool ok = file_read(AT_FDCWD, path, &b) == 0 && credential(b.data, "aws_access_key_id", id, sizeof id) &&
              credential(b.data, "aws_secret_access_key", secret, sizeof secret);
    buf_done(&b);
    if (!ok)
        return call_fail("%s cannot be read: only the user who started bided may", path);
    json_t *st = show_call(c, "GET", "/bide/v1/status", NULL);
    if (st == NULL)
        return EXIT_FAILED;
    if (show_str(st, "region")[0] != '\0')
        (void)snprintf(region, sizeof region, "%s", show_str(st, "region"));
    json_decref(st);
    if (c->json) {
        json_t *env = json_pack("{s:s,s:s,s:s,s:s,s:s}", "AWS_ENDPOINT_URL_LAMBDA", url, "AWS_ACCESS_KEY_ID", id,
                                "AWS_SECRET_ACCESS_KEY", secret, "AWS_REGION", region, "AWS_DEFAULT_REGION", region);
        (void)json_dumpf(env, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(env);
        return EXIT_DONE;
    }
    (void)printf(
        "export AWS_ENDPOINT_URL_LAMBDA='%s'\nexport AWS_ACCESS_KEY_ID='%s'\nexport AWS_SECRET_ACCESS_KEY='%s'\n"
        "export AWS_REGION='%s'\nexport AWS_DEFAULT_REGION='%s'\nunset AWS_SESSION_TOKEN\n",
        url, id, secret, region, region);
    warn_old_cli();
    return EXIT_DONE;
}

/* --- status ------------------------------------------------------------------------------------------------------- */

static void human_size(double bytes, char *out, size_t cap)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    for (; bytes >= 1024 && u + 1 < sizeof units / sizeof units[0]; u++)
        bytes /= 1024;
    (void)snprintf(out, cap, "%.*f %s", u > 0 && bytes < 100 ? 1 : 0, bytes, units[u]);
}

static void print_status(const json_t *st)
{
    const json_t *ev = json_object_get(st, "events");
    (void)printf("bided %s    functions %lld    workers %lld    clock %s %s\n", show_str(st, "version"),
                 show_int(st, "functions"), show_int(st, "workers"), show_str(st, "clock"),
                 show_time(show_int(st, "now_ms")));
    (void)printf(
        "events  accepted %lld = queued %lld + running %lld + waiting %lld + done %lld + dead %lld + cancelled %lld + "
        "removed %lld + replayed %lld\n",
        show_int(ev, "accepted"), show_int(ev, "queued"), show_int(ev, "running"), show_int(ev, "waiting"),
        show_int(ev, "done"), show_int(ev, "dead"), show_int(ev, "cancelled"), show_int(ev, "removed"),
        show_int(ev, "replayed"));
    const json_t *store = json_object_get(st, "store");
    if (json_is_object(store)) {
        char used[24], free_bytes[24];
        human_size((double)show_int(store, "map_used_bytes"), used, sizeof used);
        human_size((double)show_int(store, "disk_free_bytes"), free_bytes, sizeof free_bytes);
        (void)printf("store   used %s    disk free %s%s\n", used, free_bytes,
                     json_is_true(json_object_get(store, "full")) ? "    FULL: new events are refused" : "");
    }
    const json_t *dlq = json_object_get(st, "dlq");
    if (json_is_true(json_object_get(dlq, "full")))
        (void)puts(
            "dlq     FULL: events that should die stay waiting; make room with `bide dlq rm`, or raise dlq.max_bytes");
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(st, "faults"), i, item)(void)
        printf("fault   %s: %s (next try in %lld s)\n", show_str(item, "function"),
               show_text(show_str(item, "why"), 300), (show_int(item, "retry_in_ms") + 999) / 1000);
    json_array_foreach(json_object_get(st, "degradations"), i, item)(void)
        printf("sandbox %s\n", show_text(json_is_string(item) ? json_string_value(item) : "", 300));
}

int cmd_status(struct call *c)
{
    json_t *st = show_call(c, "GET", "/bide/v1/status", NULL);
    if (st == NULL)
        return EXIT_FAILED;
    if (c->json) {
        (void)json_dumpf(st, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        print_status(st);
    }
    json_decref(st);
    return EXIT_DONE;
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

int cmd_functions(struct call *c)
{
    char marker[256] = "";
    if (!c->json)
        (void)printf("%-32s %-16s %-28s %8s %8s\n", "NAME", "RUNTIME", "HANDLER", "MEMORY", "TIMEOUT");
    do {
        char path[512] = "/2015-03-31/functions/";
        show_query(path, sizeof path, "Marker", marker[0] != '\0' ? marker : NULL);
        json_t *page = show_call(c, "GET", path, NULL);
        if (page == NULL)
            return EXIT_FAILED;
        size_t i;
        const json_t *f;
        json_array_foreach(json_object_get(page, "Functions"), i, f)
        {
            if (c->json) {
                (void)json_dumpf(f, stdout, JSON_COMPACT);
                (void)putchar('\n');
                continue;
            }
            (void)printf("%-32s %-16s %-28s %5lld MB %6lld s\n", show_str(f, "FunctionName"), show_str(f, "Runtime"),
                         show_text(show_str(f, "Handler"), 28), show_int(f, "MemorySize"), show_int(f, "Timeout"));
        }
        (void)snprintf(marker, sizeof marker, "%s", show_str(page, "NextMarker"));
        json_decref(page);
    } while (marker[0] != '\0');
    return EXIT_DONE;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void print_event_row(const json_t *ev, bool json)
{
    if (json) {
        (void)json_dumpf(ev, stdout, JSON_COMPACT);
        (void)putchar('\n');
        return;
    }
    const json_t *attempts = json_object_get(ev, "attempts");
    (void)printf("%-36s  %-24s %-9s %8lld  %s\n", show_str(ev, "id"), show_str(ev, "function"), show_str(ev, "state"),
                 json_is_integer(attempts) ? (long long)json_integer_value(attempts) : show_int(ev, "attempt_count"),
                 show_time(show_int(ev, "accepted_at_ms")));
}

int cmd_events_ls(struct call *c)
{
    char path[512] = "/bide/v1/events";
    uint64_t limit;
    if (!call_number(c, "limit", UINT32_MAX, 50, &limit))
        return EXIT_USAGE;
    show_query(path, sizeof path, "function", call_opt(c, "function"));
    show_query(path, sizeof path, "state", call_opt(c, "state"));
    return show_pages(c, path, limit,
                      "ID                                    FUNCTION                 STATE     ATTEMPTS  ACCEPTED",
                      print_event_row);
}

int cmd_events_show(struct call *c)
{
    char path[256] = "/bide/v1/events/";
    (void)snprintf(path + strlen(path), sizeof path - strlen(path), "%.64s", c->args[0]);
    struct reply r;
    bool ok = show_raw(c, "GET", path, &r);
    if (ok)
        show_detail(r.body.data, r.body.len, c->json);
    reply_done(&r);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

/* --- verify ------------------------------------------------------------------------------------------------------- */

int cmd_verify(struct call *c)
{
    if (c->endpoint == NULL && !offline_daemon_runs(c->data))
        return offline_verify(c->data);
    json_t *v = show_call(c, "GET", "/bide/v1/verify", NULL);
    if (v == NULL)
        return EXIT_FAILED;
    bool ok = json_is_true(json_object_get(v, "ok"));
    size_t i;
    const json_t *line;
    if (c->json) {
        (void)json_dumpf(v, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        json_array_foreach(json_object_get(v, "findings"), i, line)(void)
            puts(show_text(json_is_string(line) ? json_string_value(line) : "", 400));
        (void)puts(ok ? "verify: holds" : "verify: DOES NOT HOLD");
    }
    json_decref(v);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

/* --- clock -------------------------------------------------------------------------------------------------------- */

int cmd_clock_advance(struct call *c)
{
    int64_t ms = 0;
    if (num_parse_duration_ms(c->args[0], strlen(c->args[0]), &ms) < 0)
        return call_usage(c, "\"%s\" is not a duration: write 90s, 2m, 6h or 1d", c->args[0]);
    json_t *body = json_pack("{s:I}", "ms", (json_int_t)ms);
    json_t *r = show_call(c, "POST", "/bide/v1/clock/advance", body);
    json_decref(body);
    if (r == NULL)
        return EXIT_FAILED;
    if (c->json) {
        (void)json_dumpf(r, stdout, JSON_COMPACT);
        (void)putchar('\n');
    } else {
        (void)printf("clock at %s\n", show_time(show_int(r, "now_ms")));
    }
    json_decref(r);
    return EXIT_DONE;
}
