/* invoke: one call, or many events. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/hash.h"
#include "many.h"
#include "show.h"

enum { PAYLOAD_MAX = 8 << 20 };

static bool take_payload(struct call *c, struct buf *b)
{
    const char *text = call_opt(c, "payload");
    int rc;
    if (text == NULL)
        rc = buf_puts(b, "{}");
    else if (strcmp(text, "-") == 0)
        rc = fd_read_all(STDIN_FILENO, b);
    else if (text[0] == '@')
        rc = file_read(AT_FDCWD, text + 1, b);
    else
        rc = buf_puts(b, text);
    if (rc < 0)
        (void)call_fail("--payload %s: %s", text,
                        rc == ERR_NOTFOUND ? "there is no such file"
                        : rc == ERR_TOOBIG ? "too large"
                                           : "cannot be read");
    return rc == 0;
}

static void print_log(const struct reply *r)
{
    struct buf log;
    buf_init(&log, 64 * 1024);
    if (r->log_result != NULL && base64_decode(r->log_result, strlen(r->log_result), &log) == 0)
        (void)fwrite(log.data, 1, log.len, stderr);
    buf_done(&log);
}

static int invoke_once(struct call *c, const char *path, const struct buf *payload)
{
    struct err e = {0};
    struct reply r;
    struct client *cl = call_client(c);
    bool event = call_flag(c, "event");
    if (cl == NULL)
        return EXIT_FAILED;
    const char *const headers[] = {event ? "X-Amz-Invocation-Type: Event" : "X-Amz-Invocation-Type: RequestResponse",
                                   call_flag(c, "log") && !event ? "X-Amz-Log-Type: Tail" : NULL, NULL};
    reply_init(&r);
    int status = EXIT_DONE;
    if (client_call(cl, "POST", path, headers, payload->data, payload->len, &r, &e) < 0) {
        status = call_fail("%s", e.text);
    } else if (r.status < 200 || r.status > 299) {
        status = call_fail("%s", reply_why(&r));
    } else if (event) {
        (void)printf(c->json ? "{\"id\":\"%s\"}\n" : "%s\n", r.request_id);
    } else {
        print_log(&r);
        (void)fwrite(r.body.data, 1, r.body.len, stdout);
        (void)putchar('\n');
        if (r.function_error[0] != '\0')
            status = call_fail("%s failed (%s)", c->args[0], r.function_error);
    }
    reply_done(&r);
    return status;
}

int cmd_invoke(struct call *c)
{
    char path[512];
    uint64_t count;
    struct buf payload;
    const char *file = call_opt(c, "file");
    bool counted = call_opt(c, "count") != NULL;
    if (!call_number(c, "count", 0, UINT32_MAX, 1, &count))
        return EXIT_USAGE;
    if (file != NULL && (counted || call_opt(c, "payload") != NULL))
        return call_usage(c, "--file holds the events: neither --count nor --payload goes with it");
    if (call_flag(c, "log") && (counted || file != NULL))
        return call_usage(c, "--log is for a call that waits for its answer, not for events");
    (void)snprintf(path, sizeof path,
                   counted || file != NULL ? "/bide/v1/functions/%.200s/events"
                                           : "/2015-03-31/functions/%.200s/invocations",
                   c->args[0]);
    if (file != NULL)
        return many_file(c, path, file);
    buf_init(&payload, PAYLOAD_MAX);
    int status = EXIT_FAILED;
    if (take_payload(c, &payload))
        status = counted ? many_count(c, path, &payload, count) : invoke_once(c, path, &payload);
    buf_done(&payload);
    return status;
}
