#include "verdict.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "errobj.h"

static void begin(struct verdict *v, enum executor_end end)
{
    memset(&v->r, 0, sizeof v->r);
    v->status = NULL;
    v->status_type = "";
    v->type[0] = v->message[0] = '\0';
    buf_init(&v->body, EXECUTOR_RESPONSE_MAX);
    v->r.end = end;
    v->r.body = "";
    v->r.error_type = v->type;
    v->r.error_message = v->message;
    v->r.log_tail = v->tail;
    v->r.exit_code = -1;
}

static void own_body(struct verdict *v, const char *type, const char *message)
{
    buf_clear(&v->body);
    if (errobj_write(&v->body, type, message) < 0)
        buf_clear(&v->body);
    v->r.body = v->body.data;
    v->r.body_len = v->body.len;
}

/* "RequestId: ID Error: TEXT", the shape of all of the platform's own messages. */
static void platform(struct verdict *v, const char *type, const char *request_id, const char *text)
{
    (void)snprintf(v->type, sizeof v->type, "%s", type);
    if (request_id != NULL)
        (void)snprintf(v->message, sizeof v->message, "RequestId: %s Error: %s", request_id, text);
    else
        (void)snprintf(v->message, sizeof v->message, "Error: %s", text);
    v->r.platform_made = true;
    own_body(v, v->type, v->message);
}

void verdict_response(struct verdict *v, const void *body, size_t len)
{
    begin(v, EXECUTOR_OK);
    v->r.body = body;
    v->r.body_len = len;
}

/* What a runtime posts is passed on as it is; what is no object becomes one that has the type of the header. */
void verdict_error(struct verdict *v, enum executor_end end, const void *body, size_t len, const char *header_type)
{
    begin(v, end);
    bool object = errobj_read(body, len, v->type, sizeof v->type, v->message, sizeof v->message) == 0;
    if (v->type[0] == '\0')
        (void)snprintf(v->type, sizeof v->type, "%s", header_type != NULL ? header_type : "");
    if (object) {
        v->r.body = body;
        v->r.body_len = len;
    } else {
        own_body(v, v->type, NULL);
    }
    v->status = end == EXECUTOR_INIT_ERROR ? "error" : NULL;
    v->status_type = v->type;
}

void verdict_too_large(struct verdict *v)
{
    begin(v, EXECUTOR_FN_ERROR);
    (void)snprintf(v->type, sizeof v->type, "Function.ResponseSizeTooLarge");
    (void)snprintf(v->message, sizeof v->message,
                   "Response payload size exceeded maximum allowed payload size (%d bytes).", EXECUTOR_RESPONSE_MAX);
    if (buf_printf(&v->body, "{\"errorMessage\":\"%s\",\"errorType\":\"%s\"}", v->message, v->type) < 0)
        buf_clear(&v->body);
    v->r.body = v->body.data;
    v->r.body_len = v->body.len;
    v->r.platform_made = true;
}

void verdict_timeout(struct verdict *v, enum executor_end end, const char *request_id, int64_t limit_ms)
{
    char text[64];
    begin(v, end);
    (void)snprintf(text, sizeof text, "Task timed out after %lld.%02lld seconds", (long long)(limit_ms / 1000),
                   (long long)(limit_ms % 1000 / 10));
    platform(v, "Sandbox.Timedout", request_id, text);
    v->status = "timeout";
}

void verdict_exit(struct verdict *v, enum executor_end end, const char *request_id, int exit_code, int sig)
{
    char text[ERROBJ_EXIT_TEXT];
    begin(v, end);
    errobj_exit_text(text, exit_code, sig);
    platform(v, "Runtime.ExitError", request_id, text);
    v->r.exit_code = sig != 0 ? -1 : exit_code;
    v->r.signal = sig;
    v->status = "error";
    v->status_type = v->type;
}

/* The client sees a killed runtime, the log says why (Lambda: section 4.3). */
void verdict_out_of_memory(struct verdict *v, const char *request_id, int sig)
{
    verdict_exit(v, EXECUTOR_OUT_OF_MEMORY, request_id, -1, sig != 0 ? sig : SIGKILL);
    v->status_type = "Runtime.OutOfMemory";
}

void verdict_no_entrypoint(struct verdict *v, enum executor_end end, const char *request_id, const char *const *tried,
                           size_t n_tried)
{
    char text[512] = "";
    begin(v, end);
    for (size_t i = 0; i < n_tried; i++) {
        size_t at = strlen(text);
        (void)snprintf(text + at, sizeof text - at, "%s%s%s", i == 0 ? "Couldn't find valid bootstrap(s): [" : " ",
                       tried[i], i + 1 == n_tried ? "]" : "");
    }
    platform(v, "Runtime.InvalidEntrypoint", request_id, text);
    v->status = "error";
    v->status_type = v->type;
}

void verdict_disrupted(struct verdict *v)
{
    begin(v, EXECUTOR_DISRUPTED);
    v->status = "error";
}

void verdict_log(struct verdict *v, const struct capture *c)
{
    v->r.log_tail_len = capture_tail(c, v->tail);
}

void verdict_done(struct verdict *v)
{
    buf_done(&v->body);
}

int executor_init_body(const struct executor_result *r, const char *request_id, struct buf *out)
{
    char message[VERDICT_MESSAGE_MAX];
    if (!r->platform_made)
        return buf_append(out, r->body, r->body_len);
    (void)snprintf(message, sizeof message, "RequestId: %s %s", request_id, r->error_message);
    return errobj_write(out, r->error_type, message);
}
