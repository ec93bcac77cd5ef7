#include "detail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show.h"

static void print_block(const char *title, const char *text)
{
    if (title[0] != '\0')
        (void)printf("    %s:\n", title);
    for (const char *p = text; *p != '\0';) {
        size_t n = strcspn(p, "\n");
        (void)fputs("      ", stdout);
        for (size_t i = 0; i < n; i++)
            (void)putchar((unsigned char)p[i] < 0x20 && p[i] != '\t' ? ' ' : p[i]);
        (void)putchar('\n');
        p += n + (p[n] == '\n');
    }
}

static void print_attempt(const json_t *a)
{
    long long from = show_int(a, "started_at_ms"), to = show_int(a, "ended_at_ms");
    (void)printf("  attempt %lld  %s  %s  (%lld ms)\n", show_int(a, "n"), show_time(from), show_str(a, "outcome"),
                 to - from);
    if (show_str(a, "error_type")[0] != '\0' || show_str(a, "error_message")[0] != '\0')
        (void)printf("    %s: %s\n", show_text(show_str(a, "error_type"), 100),
                     show_text(show_str(a, "error_message"), 400));
    const json_t *error = json_object_get(a, "error");
    const json_t *stack = json_object_get(error, "stackTrace");
    if (stack == NULL)
        stack = json_object_get(error, "trace");
    size_t i;
    const json_t *line;
    if (json_array_size(stack) > 0)
        (void)puts("    stack:");
    json_array_foreach(stack, i, line) if (json_is_string(line)) print_block("", json_string_value(line));
    if (show_str(a, "log_tail")[0] != '\0')
        print_block("log", show_str(a, "log_tail"));
    if (show_int(a, "signal") > 0)
        (void)printf("    killed by signal %lld\n", show_int(a, "signal"));
    else if (json_is_integer(json_object_get(a, "exit_code")) && show_int(a, "exit_code") >= 0)
        (void)printf("    exit status %lld\n", show_int(a, "exit_code"));
    if (show_int(a, "peak_kb") > 0)
        (void)printf("    peak memory %lld KiB\n", show_int(a, "peak_kb"));
}

void show_detail(const char *body, size_t len, bool json)
{
    json_t *ev = json ? NULL : json_loadb(body, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    if (ev == NULL) {
        (void)fwrite(body, 1, len, stdout);
        if (len == 0 || body[len - 1] != '\n')
            (void)putchar('\n');
        return;
    }
    json_decref(ev);
    ev = json_loadb(body, len, JSON_ALLOW_NUL, NULL);
    if (ev == NULL) { /* numbers beyond our integers in the payload: show it as it is */
        show_detail(body, len, true);
        return;
    }
    (void)printf("id         %s\nfunction   %s%s%s\nstate      %s\naccepted   %s\n", show_str(ev, "id"),
                 show_str(ev, "function"), show_str(ev, "qualifier")[0] != '\0' ? ":" : "", show_str(ev, "qualifier"),
                 show_str(ev, "state"), show_time(show_int(ev, "accepted_at_ms")));
    if (show_str(ev, "condition")[0] != '\0')
        (void)printf("condition  %s\n", show_str(ev, "condition"));
    if (show_int(ev, "due_at_ms") > 0)
        (void)printf("due        %s\n", show_time(show_int(ev, "due_at_ms")));
    if (show_int(ev, "dead_at_ms") > 0)
        (void)printf("died       %s\n", show_time(show_int(ev, "dead_at_ms")));
    if (show_int(ev, "disruptions") > 0)
        (void)printf("disrupted  %lld times\n", show_int(ev, "disruptions"));
    if (show_str(ev, "replay_of")[0] != '\0')
        (void)printf("replay of  %s\n", show_str(ev, "replay_of"));
    if (show_str(ev, "replayed_as")[0] != '\0')
        (void)printf("replayed   as %s\n", show_str(ev, "replayed_as"));
    size_t i;
    const json_t *a;
    json_array_foreach(json_object_get(ev, "attempts"), i, a) print_attempt(a);
    const json_t *payload = json_object_get(ev, "payload");
    if (payload != NULL && !json_is_null(payload)) {
        (void)fputs("payload    ", stdout);
        (void)json_dumpf(payload, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
        (void)putchar('\n');
    }
    json_decref(ev);
}
