/* The messages between the engine and the executor process, and the lines of a runtime's manifest. The first byte of an
 * input says which: a message of the engine (0), of the executor process (1), a manifest (2). A message that is taken
 * is encoded and decoded again: the same message, the same bytes.
 */
#include "executor_proto/manifest.h"
#include "executor_proto/proto.h"
#include "fuzz.h"

static void check_list(const struct proto_in *in, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        BIDE_ASSERT(list[i] >= in->text && list[i] + strlen(list[i]) < in->text + in->text_len, "text from elsewhere");
    BIDE_ASSERT(list[n] == NULL, "a list without its end");
}

static void check_lists(const struct proto_in *in)
{
    const struct proto_msg *m = &in->msg;
    BIDE_ASSERT(in->n_list <= sizeof in->list / sizeof *in->list && in->text_len <= sizeof in->text, "out of bounds");
    if (m->type == PROTO_START) {
        check_list(in, m->u.start.argv, m->u.start.n_argv);
        check_list(in, m->u.start.env, m->u.start.n_env);
        check_list(in, m->u.start.layers, m->u.start.n_layers);
        BIDE_ASSERT(m->u.start.argv[0][0] == '/' && strlen(m->u.start.code_sha256) == 64 &&
                        strchr(m->u.start.runtime_dir, '/') == NULL && m->u.start.runtime_dir[0] != '.',
                    "a start that could leave its folders");
    } else if (m->type == PROTO_HELLO) {
        check_list(in, m->u.hello.degraded, m->u.hello.n_degraded);
        BIDE_ASSERT(m->u.hello.version == PROTO_VERSION, "version %u", (unsigned)m->u.hello.version);
    }
}

static void check_message(enum proto_from from, const void *p, size_t len)
{
    static struct proto_in in, again;
    struct err e = {0};
    struct buf a, b;
    int rc = proto_decode(&in, from, p, len, &e);
    if (rc < 0) {
        BIDE_ASSERT((rc == ERR_CORRUPT || (rc == ERR_VERSION && from == PROTO_FROM_EXECUTOR)) && e.code == rc &&
                        e.text[0] != '\0',
                    "refused with %s", err_name(rc));
        return;
    }
    check_lists(&in);
    buf_init(&a, PROTO_MSG_MAX);
    buf_init(&b, PROTO_MSG_MAX);
    rc = proto_encode(&in.msg, &a, &e);
    BIDE_ASSERT(rc == 0, "what was decoded is not encoded: %s", e.text);
    rc = proto_decode(&again, from, a.data, a.len, &e);
    BIDE_ASSERT(rc == 0, "what was encoded is not decoded: %s", e.text);
    rc = proto_encode(&again.msg, &b, &e);
    BIDE_ASSERT(rc == 0 && a.len == b.len && memcmp(a.data, b.data, a.len) == 0, "encoded again: other bytes");
    BIDE_ASSERT(in.msg.type == again.msg.type && in.msg.worker == again.msg.worker, "another message");
    enum proto_from other = from == PROTO_FROM_ENGINE ? PROTO_FROM_EXECUTOR : PROTO_FROM_ENGINE;
    BIDE_ASSERT(proto_decode(&again, other, p, len, NULL) == ERR_CORRUPT, "taken from the other side too");
    buf_done(&a);
    buf_done(&b);
}

static void check_path(const char *path)
{
    if (manifest_path_fault(path) != NULL)
        return;
    BIDE_ASSERT(path[0] == '/' && strlen(path) <= MANIFEST_PATH_MAX && strstr(path, "/.") == NULL &&
                    strstr(path, "//") == NULL && strchr(path, '*') == NULL && path[strlen(path) - 1] != '/' &&
                    strchr(path + 1, '/') != NULL && strncmp(path, "/etc/", 5) != 0 && strncmp(path, "/proc/", 6) != 0,
                "path %s", path);
}

static void check_manifest(const void *p, size_t len)
{
    char *text = exact_text(p, len);
    const char *at = text, *why = NULL;
    struct manifest_line l = {.n = 0};
    int rc, before = 0;
    while ((rc = manifest_next(&at, &l, &why)) > 0) {
        BIDE_ASSERT(l.n > before && l.value[0] != '\0' && strchr(l.key, '=') == NULL && strchr(l.value, '\n') == NULL &&
                        at <= text + strlen(text),
                    "line %d", l.n);
        before = l.n;
        check_path(l.value);
    }
    BIDE_ASSERT(rc == 0 ? *at == '\0' : rc == ERR_INVALID && why != NULL, "ended with %d", rc);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    uint8_t what = feed_byte(&f);
    void *p = exact(f.p, f.left);
    if (what % 3 == 2)
        check_manifest(p, f.left);
    else
        check_message(what % 3 == 0 ? PROTO_FROM_ENGINE : PROTO_FROM_EXECUTOR, p, f.left);
    free(p);
    return 0;
}
