/* JSON: the check of payloads, the scan that takes members out of a function's error object, and what is written of
 * such an object. Three readers look at every input, jansson and the two of ours:
 *
 * - What the payload check takes, the scan takes. What only the scan takes was refused for one of the reasons that
 * json_in.h names, or for bytes that are not UTF-8, which the scan does not look at. What the scan calls plain,
 * jansson takes.
 * - Of a text that all of them take, the scan's members are jansson's, cut to whole characters.
 * - An error object written from any two texts is JSON and, when they are UTF-8, gives the texts back.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/jscan.h"
#include "errobj.h"
#include "fuzz.h"
#include "json_in.h"

enum { JANSSON_DEPTH = 2048 - 1 /* jscan counts the outermost value as 0 */, TYPE_CAP = 8, MESSAGE_CAP = 24 };

/* The check asks jansson only about what is not plain. */
static void check_plain(const char *p, size_t n)
{
    json_error_t je;
    if (!jscan_plain(p, n, JANSSON_DEPTH))
        return;
    json_t *j = json_loadb(p, n, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &je);
    BIDE_ASSERT(j != NULL && memchr(p, '\0', n) == NULL, "jansson refuses what is plain: %s", je.text);
    json_decref(j);
}

static void check_payload(const char *p, size_t n)
{
    static const char *const reasons[] = {"real number overflow", "too big",          "maximum parsing depth",
                                          "invalid Unicode",      "unable to decode", "NUL byte in object key"};
    struct err e = {0};
    int rc = json_check_payload(p, n, &e);
    bool scanned = jscan_valid(p, n, JANSSON_DEPTH);
    if (rc == 0) {
        BIDE_ASSERT(scanned || n == 0, "the check takes what the scan refuses");
        return;
    }
    BIDE_ASSERT(rc == ERR_INVALID && e.code == ERR_INVALID && e.text[0] != '\0', "refused with %d", rc);
    bool known = !scanned;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        known = known || strstr(e.text, reasons[i]) != NULL;
    BIDE_ASSERT(known, "the scan takes what the check refuses: %s", e.text);
}

/* The text of a member as the scan hands it out: no NULs, cut to whole characters. */
static void cut(const json_t *o, const char *key, size_t cap, char *out)
{
    const json_t *v = json_object_get(o, key);
    const char *p = json_is_string(v) ? json_string_value(v) : "";
    const char *end = p + (json_is_string(v) ? json_string_length(v) : 0);
    size_t len = 0;
    while (p < end) {
        size_t n = 1;
        while (p + n < end && ((uint8_t)p[n] & 0xC0) == 0x80)
            n++;
        if (*p != '\0') {
            if (len + n >= cap)
                break;
            memcpy(out + len, p, n);
            len += n;
        }
        p += n;
    }
    out[len] = '\0';
}

static void check_members(const char *p, size_t n)
{
    char type[TYPE_CAP], message[MESSAGE_CAP], want_type[TYPE_CAP], want_message[MESSAGE_CAP];
    int rc = errobj_read(p, n, type, sizeof type, message, sizeof message);
    BIDE_ASSERT(rc == 0 || (rc == ERR_INVALID && type[0] == '\0' && message[0] == '\0'), "a refusal leaves text");
    json_t *o = rc == 0 ? json_loadb(p, n, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL) : NULL;
    if (o == NULL)
        return;
    cut(o, "errorType", sizeof want_type, want_type);
    cut(o, "errorMessage", sizeof want_message, want_message);
    BIDE_ASSERT(strcmp(type, want_type) == 0, "errorType \"%s\", jansson's \"%s\"", type, want_type);
    BIDE_ASSERT(strcmp(message, want_message) == 0, "errorMessage \"%s\", jansson's \"%s\"", message, want_message);
    json_decref(o);
}

/* By jansson, which makes no strings of anything else. */
static bool is_utf8(const char *text)
{
    json_t *s = json_string(text);
    json_decref(s);
    return s != NULL;
}

/* The input is two texts, a NUL between them. */
static void check_written(const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    struct slice a = feed_until(&f, '\0');
    char *type = exact_text(a.p, a.len), *message = exact_text(f.p, f.left);
    size_t type_cap = strlen(type) + 1, message_cap = strlen(message) + 1;
    char *type_again = malloc(type_cap), *message_again = malloc(message_cap);
    struct buf b;
    BIDE_ASSERT(type_again != NULL && message_again != NULL, "out of memory");
    buf_init(&b, 6 * (size + 64));
    BIDE_ASSERT(errobj_write(&b, type, message) == 0, "an error object cannot be written");
    json_t *o = json_loadb(b.data, b.len, 0, NULL);
    BIDE_ASSERT(o != NULL && jscan_plain(b.data, b.len, 1), "no JSON is written: %s", b.data);
    if (is_utf8(type) && is_utf8(message)) {
        BIDE_ASSERT(strcmp(json_string_value(json_object_get(o, "errorType")), type) == 0 &&
                        strcmp(json_string_value(json_object_get(o, "errorMessage")), message) == 0,
                    "jansson reads other texts than were written");
        BIDE_ASSERT(errobj_read(b.data, b.len, type_again, type_cap, message_again, message_cap) == 0 &&
                        strcmp(type, type_again) == 0 && strcmp(message, message_again) == 0,
                    "what was written is not what is read: %s", b.data);
    }
    json_decref(o);
    free(type);
    free(message);
    free(type_again);
    free(message_again);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy = exact(data, size);
    check_plain(copy, size);
    check_payload(copy, size);
    check_members(copy, size);
    free(copy);
    check_written(data, size);
    return 0;
}
