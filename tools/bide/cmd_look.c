/* Verbs that only look: status, events, verify; and clock. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/num.h"
#include "client.h"
#include "detail.h"
#include "offline.h"
#include "show.h"

/* --- status ------------------------------------------------------------------------------------------------------- */

static void human_size(double bytes, char *out, size_t cap)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    for (; bytes >= 1024 && u + 1 < sizeof units / sizeof units[0]; u++)
        bytes /= 1024;
    (void)snprintf(out, cap, "%.*f %s", u > 0 && bytes < 100 ? 1 : 0, bytes, units[u]);
}

static void print_paused(const json_t *st)
{
    const json_t *names = json_object_get(st, "paused"), *name;
    size_t i;
    if (json_array_size(names) == 0)
        return;
    (void)fputs("paused  ", stdout);
    json_array_foreach(names, i, name)(void) printf("%s%s", i > 0 ? ", " : "", json_string_value(name));
    long long more = show_int(st, "functions_paused") - (long long)json_array_size(names);
    if (more > 0)
        (void)printf(" and %lld more", more);
    (void)puts(": no asynchronous starts; `bide resume NAME` lets them go on");
}

/* "45 s", "12 min", "3 h", "2 d": the largest unit that leaves at least two of it. */
static void human_time(long long ms, char *out, size_t cap)
{
    static const struct {
        long long ms;
        const char *name;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;
    while (i < 4 && ms < 2 * units[i].ms)
        i++;
    (void)snprintf(out, cap, "%lld %s", ms / units[i].ms, units[i].name);
}

static void print_store(const json_t *store)
{
    char used[24], map[24], free_bytes[24];
    human_size((double)show_int(store, "map_used_bytes"), used, sizeof used);
    human_size((double)show_int(store, "map_bytes"), map, sizeof map);
    human_size((double)show_int(store, "disk_free_bytes"), free_bytes, sizeof free_bytes);
    (void)printf("store   used %s of %s    disk free %s", used, map, free_bytes);
    const json_t *p50 = json_object_get(store, "commit_p50_us"), *p99 = json_object_get(store, "commit_p99_us");
    if (json_is_integer(p50) && json_is_integer(p99))
        (void)printf("    commits: half within %g ms, 99 %% within %g ms", (double)json_integer_value(p50) / 1000,
                     (double)json_integer_value(p99) / 1000);
    (void)puts(json_is_true(json_object_get(store, "full")) ? "    FULL: new events are refused" : "");
}

static void print_oldest(const json_t *oldest)
{
    char age[32], max[32];
    if (!json_is_object(oldest))
        return;
    human_time(show_int(oldest, "age_ms"), age, sizeof age);
    human_time(show_int(oldest, "max_age_ms"), max, sizeof max);
    (void)printf("oldest  %s: %s, accepted %s ago, given up after %s\n", show_str(oldest, "function"),
                 show_str(oldest, "state"), age, max);
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
    print_oldest(json_object_get(st, "oldest"));
    if (json_is_object(store))
        print_store(store);
    print_paused(st);
    const json_t *dlq = json_object_get(st, "dlq");
    if (show_int(dlq, "held") > 0)
        (void)printf("dlq     %lld events wait for room to die in\n", show_int(dlq, "held"));
    if (json_is_true(json_object_get(dlq, "full")))
        (void)puts(
            "dlq     FULL: events that should die stay waiting; make room with `bide dlq rm`, or raise dlq.max_bytes");
    const json_t *logs = json_object_get(st, "logs");
    if (json_is_true(json_object_get(logs, "stopped")))
        (void)printf("logs    STOPPED: %s (%lld bytes lost since the start)\n", show_text(show_str(logs, "why"), 200),
                     show_int(logs, "lost_bytes"));
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
        show_json(st);
    } else {
        print_status(st);
    }
    json_decref(st);
    return EXIT_DONE;
}

/* --- events ------------------------------------------------------------------------------------------------------- */

static void print_event_row(const json_t *ev, bool json)
{
    if (json) {
        show_json(ev);
        return;
    }
    const json_t *attempts = json_object_get(ev, "attempts");
    (void)printf("%-36s  %-24s %-9s %8lld  %s\n", show_str(ev, "id"), show_str(ev, "function"), show_str(ev, "state"),
                 json_is_integer(attempts) ? (long long)json_integer_value(attempts) : show_int(ev, "attempt_count"),
                 show_time(show_int(ev, "accepted_at_ms")));
}

int cmd_events_ls(struct call *c)
{
    char path[1024] = "/bide/v1/events";
    uint64_t limit;
    if (!show_limit(c, &limit) || !show_times(c, path, sizeof path))
        return EXIT_USAGE;
    show_query(path, sizeof path, "function", call_opt(c, "function"));
    show_query(path, sizeof path, "state", call_opt(c, "state"));
    show_query(path, sizeof path, "error_type", call_opt(c, "error-type"));
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

static int print_verdict(struct call *c, json_t *v)
{
    bool ok = json_is_true(json_object_get(v, "ok"));
    const json_t *lines = json_object_get(v, "findings"), *line;
    size_t i;
    if (c->json) {
        show_json(v);
    } else {
        json_array_foreach(lines, i, line)(void)
            puts(show_text(json_is_string(line) ? json_string_value(line) : "", 400));
        long long more = show_int(v, "n_findings") - (long long)json_array_size(lines);
        if (more > 0)
            (void)printf("... and %lld more\n", more);
        (void)puts(ok ? "verify: holds" : "verify: DOES NOT HOLD");
    }
    json_decref(v);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

static int verify_offline(struct call *c)
{
    struct err e = {0};
    json_t *v = offline_verify(c->data, &e);
    return v == NULL ? call_fail("verify: %s", e.text) : print_verdict(c, v);
}

static int print_reply(struct call *c, const struct reply *r)
{
    json_error_t je;
    json_t *v = json_loadb(r->body.data, r->body.len, JSON_ALLOW_NUL, &je);
    return v == NULL ? call_fail("the daemon's answer is not JSON: %s", je.text) : print_verdict(c, v);
}

int cmd_verify(struct call *c)
{
    if (c->endpoint == NULL && !offline_daemon_runs(c->data))
        return verify_offline(c);
    struct err e = {0};
    struct client *cl = call_client(c);
    if (cl == NULL)
        return EXIT_FAILED;
    struct reply r;
    int status;
    reply_init(&r);
    if (client_call(cl, "GET", "/bide/v1/verify", NULL, NULL, 0, &r, &e) < 0)
        status = c->endpoint == NULL && !offline_daemon_stays(c->data) ? verify_offline(c) : call_fail("%s", e.text);
    else
        status = r.status == 200 ? print_reply(c, &r) : call_fail("%s", reply_why(&r));
    reply_done(&r);
    return status;
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
        show_json(r);
    } else {
        (void)printf("clock at %s\n", show_time(show_int(r, "now_ms")));
    }
    json_decref(r);
    return EXIT_DONE;
}
