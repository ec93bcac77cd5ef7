#include "errobj.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/jscan.h"
#include "base/signame.h"

int errobj_read(const void *json, size_t len, char *ret_type, size_t type_cap, char *ret_message, size_t message_cap)
{
    struct jscan_member want[] = {{.key = "errorType", .out = ret_type, .cap = type_cap},
                                  {.key = "errorMessage", .out = ret_message, .cap = message_cap}};
    return jscan_object(json, len, ERROBJ_DEPTH_MAX, want, 2) ? 0 : ERR_INVALID;
}

/* Bytes that are no UTF-8, as in a header's value, would make it no JSON. */
static int quoted(struct buf *out, const char *text)
{
    size_t left = strlen(text), n;
    int rc = buf_putc(out, '"');
    for (; left > 0 && rc == 0; text += n, left -= n) {
        unsigned char c = (unsigned char)*text;
        n = jscan_utf8(text, left);
        if (n == 0) {
            n = 1;
            rc = buf_puts(out, "\\ufffd");
        } else if (c == '"' || c == '\\') {
            rc = buf_printf(out, "\\%c", c);
        } else if (c < 0x20) {
            rc = buf_printf(out, "\\u%04x", c);
        } else {
            rc = buf_append(out, text, n);
        }
    }
    return rc == 0 ? buf_putc(out, '"') : rc;
}

int errobj_write(struct buf *out, const char *type, const char *message)
{
    int rc = buf_puts(out, "{\"errorType\":");
    if (rc == 0)
        rc = quoted(out, type);
    if (rc == 0 && message != NULL) {
        rc = buf_puts(out, ",\"errorMessage\":");
        if (rc == 0)
            rc = quoted(out, message);
    }
    return rc == 0 ? buf_putc(out, '}') : rc;
}

void errobj_exit_text(char out[ERROBJ_EXIT_TEXT], int exit_code, int sig)
{
    const char *words = signal_words(sig);
    if (sig == 0 && exit_code == 0)
        (void)snprintf(out, ERROBJ_EXIT_TEXT, "Runtime exited without providing a reason");
    else if (sig == 0)
        (void)snprintf(out, ERROBJ_EXIT_TEXT, "Runtime exited with error: exit status %d", exit_code);
    else if (words != NULL)
        (void)snprintf(out, ERROBJ_EXIT_TEXT, "Runtime exited with error: signal: %s", words);
    else
        (void)snprintf(out, ERROBJ_EXIT_TEXT, "Runtime exited with error: signal: signal %d", sig);
}
