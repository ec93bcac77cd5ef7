/* The documents of CreateFunction, UpdateFunctionCode and UpdateFunctionConfiguration. The first byte says which; the
 * rest is the body. What is taken is within the model's bounds and the registry's; what is refused is refused with a
 * fault that makes a body of valid JSON.
 */
#include "function_in.h"
#include "fuzz.h"
#include "names.h"

static void check_number(int32_t v, int32_t min, int32_t max, const char *what)
{
    BIDE_ASSERT(v == -1 || (v >= min && v <= max), "%s %d", what, (int)v);
}

static void check_pairs(const struct pair *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        BIDE_ASSERT(v[i].key != NULL && v[i].key[0] != '\0' && v[i].value != NULL, "pair %zu", i);
        for (size_t k = 0; k < i; k++)
            BIDE_ASSERT(strcmp(v[i].key, v[k].key) != 0, "key %s twice", v[i].key);
    }
}

static void check_taken(const struct function_in *in, enum function_op op)
{
    const struct function_spec *s = &in->spec;
    struct name n;
    check_number(s->timeout_s, 1, 900, "Timeout");
    check_number(s->memory_mb, 128, 32768, "MemorySize");
    check_number(s->tmp_mb, 512, 10240, "EphemeralStorage");
    BIDE_ASSERT(s->role == NULL || (role_valid(s->role) && strlen(s->role) <= FUNCTION_ROLE_MAX), "role");
    BIDE_ASSERT(s->handler == NULL || (s->handler[0] != '\0' && strlen(s->handler) <= FUNCTION_HANDLER_MAX), "handler");
    BIDE_ASSERT(s->description == NULL || strlen(s->description) <= FUNCTION_DESCRIPTION_MAX, "description");
    BIDE_ASSERT(s->architecture == NULL || strcmp(s->architecture, machine_architecture()) == 0, "architecture");
    BIDE_ASSERT(s->revision_id == NULL || strlen(s->revision_id) <= ID_TEXT_LEN, "revision");
    BIDE_ASSERT(s->n_tags <= FUNCTION_TAGS_MAX, "%zu tags", s->n_tags);
    BIDE_ASSERT(s->n_env == 0 || s->env_given, "an environment nobody gave");
    check_pairs(s->env, s->n_env);
    if (op == FUNCTION_CREATE)
        BIDE_ASSERT(name_parse(in->name, NAME_CREATE, &n) != ERR_INVALID && s->role != NULL && s->runtime != NULL &&
                        s->handler != NULL,
                    "a function without what it needs");
    BIDE_ASSERT((op == FUNCTION_UPDATE_CONFIG) == (in->zip == NULL), "package");
}

static void check_fault(const struct fault *f)
{
    struct buf b;
    struct err e = {0};
    BIDE_ASSERT(f->type > FAULT_NONE && f->type < FAULT_TYPES && f->type != FAULT_SERVICE && f->text != NULL &&
                    f->text[0] != '\0',
                "refused without a word");
    buf_init(&b, 1 << 20);
    BIDE_ASSERT(fault_body(f->type, f->text, NULL, &b) == 0, "a fault that cannot be told");
    BIDE_ASSERT(b.len > 0 && json_check_payload(b.data, b.len, &e) == 0, "told in %s: %s", b.data, e.text);
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct feed f = {data, size};
    enum function_op op = (enum function_op)(feed_byte(&f) % 3);
    struct function_in in;
    struct fault fault = {0};
    struct check c;
    char *body = exact(f.p, f.left);
    check_init(&c);
    int rc = function_in_read(&in, op, op == FUNCTION_CREATE ? NULL : "orders", body, f.left, &c, &fault);
    if (rc == 0) {
        BIDE_ASSERT(fault.type == FAULT_NONE && !check_failed(&c), "taken, with a fault");
        check_taken(&in, op);
    } else {
        BIDE_ASSERT(rc == ERR_INVALID, "refused with %s", err_name(rc));
        check_fault(&fault);
    }
    function_in_done(&in);
    fault_done(&fault);
    check_done(&c);
    free(body);
    return 0;
}
