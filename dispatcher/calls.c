/* Synchronous calls: they come from API threads, are answered exactly once, and are never stored. */
#include <stdlib.h>
#include <string.h>

#include "priv.h"

struct arrival {
    struct dispatcher *d;
    struct call *call;
};

struct departure {
    struct dispatcher *d;
    uint64_t call;
};

static char *copy_text(const char *s)
{
    return s != NULL && s[0] != '\0' ? strdup(s) : NULL;
}

static void release(struct call *c)
{
    function_unref(c->fn);
    free(c->qualifier);
    free(c->trace);
    free(c->client_context);
    free(c->payload);
    free(c);
}

void calls_answer(struct dispatcher *d, struct call *c, const struct invoke_answer *a)
{
    HASH_DEL(d->calls, c);
    c->cb(a, c->arg);
    release(c);
}

void calls_refuse(struct dispatcher *d, uint64_t id, enum sched_refusal why)
{
    struct call *c = NULL;
    HASH_FIND(hh, d->calls, &id, sizeof id, c);
    if (c == NULL)
        return;
    struct invoke_answer a = {.end = INVOKE_FAILED, .body = "", .log_tail = "", .version = "$LATEST", .why = ""};
    const struct known *k = known_find(d, c->fn->fid);
    char fault[320];
    switch (why) {
    case SCHED_REFUSE_RESERVED:
        a.end = INVOKE_THROTTLED_RESERVED;
        counter_add(&stats_of(d, c->fn->fid)->throttled_reserved, 1);
        break;
    case SCHED_REFUSE_ACCOUNT:
        a.end = INVOKE_THROTTLED_ACCOUNT;
        counter_add(&stats_of(d, c->fn->fid)->throttled_account, 1);
        break;
    case SCHED_REFUSE_FAILED:
    case SCHED_REFUSE_NONE:
        if (d->draining)
            a.why = "the daemon is stopping";
        else if (k == NULL || k->deleted)
            a.why = "the function is gone";
        else
            a.why = faults_why(d, k->fid, fault, sizeof fault) ? fault : "no worker could be started";
        break;
    }
    calls_answer(d, c, &a);
}

static void arrive(void *arg)
{
    struct arrival *in = arg;
    struct dispatcher *d = in->d;
    struct call *c = in->call;
    free(in);
    HASH_ADD(hh, d->calls, id, sizeof c->id, c);
    enum sched_refusal why = sched_call_add(d->sched, c->fn->fid, c->id, clock_mono_ms());
    if (why != SCHED_REFUSE_NONE)
        calls_refuse(d, c->id, why);
    dispatcher_pump(d);
}

int dispatcher_invoke(struct dispatcher *d, const struct invoke_call *in, invoke_cb *cb, void *arg, uint64_t *ret_call)
{
    struct arrival *a = calloc(1, sizeof *a);
    struct call *c = calloc(1, sizeof *c);
    if (a == NULL || c == NULL || (c->payload = malloc(in->payload_len + 1)) == NULL) {
        free(a);
        free(c);
        return ERR_NOMEM;
    }
    memcpy(c->payload, in->payload, in->payload_len);
    c->payload_len = in->payload_len;
    c->id = atomic_fetch_add(&d->next_call, 1);
    c->fn = function_ref(in->fn);
    c->request_id = in->id;
    c->qualifier = copy_text(in->qualifier);
    c->trace = copy_text(in->trace);
    c->client_context = copy_text(in->client_context);
    c->want_log = in->want_log;
    c->cb = cb;
    c->arg = arg;
    *a = (struct arrival){.d = d, .call = c};
    *ret_call = c->id;
    if (loop_post(d->loop, arrive, a) == 0)
        return 0;
    release(c);
    free(a);
    return ERR_NOMEM;
}

static void depart(void *arg)
{
    struct departure *out = arg;
    struct dispatcher *d = out->d;
    struct call *c = NULL;
    HASH_FIND(hh, d->calls, &out->call, sizeof out->call, c);
    bool running = false;
    for (const struct job *j = d->jobs; j != NULL && !running; j = j->hh.next)
        running = c != NULL && j->call == c;
    if (c != NULL && !running) {
        sched_call_gone(d->sched, c->id);
        calls_answer(
            d, c,
            &(struct invoke_answer){
                .end = INVOKE_FAILED, .body = "", .log_tail = "", .version = "$LATEST", .why = "the caller left"});
        dispatcher_pump(d);
    }
    free(out);
}

void dispatcher_invoke_abandon(struct dispatcher *d, uint64_t call)
{
    struct departure *out = calloc(1, sizeof *out);
    if (out == NULL)
        return; /* the call runs on, as one in progress does */
    *out = (struct departure){.d = d, .call = call};
    if (loop_post(d->loop, depart, out) < 0)
        free(out);
}

void calls_free(struct dispatcher *d, struct call *c)
{
    HASH_DEL(d->calls, c);
    release(c);
}
