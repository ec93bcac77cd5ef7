#include "api.h"

#include <stdlib.h>
#include <string.h>

#include "call.h"
#include "route.h"

void api_reload(struct api *a)
{
    a->max_event_payload = (uint64_t)settings_int(a->d.settings, SET_ASYNC_MAX_PAYLOAD);
}

int api_new(struct api **ret, const struct api_deps *deps, struct err *e)
{
    struct api *a = calloc(1, sizeof(*a));
    struct httpd_limits lim;
    if (!a)
        return err_set(e, ERR_NOMEM, "api");
    a->d = *deps;
    tally_init(&a->tally);
    a->began_ms = clock_mono_ms();
    a->region = settings_str(deps->settings, SET_REGION);
    a->account = settings_str(deps->settings, SET_ACCOUNT);
    api_reload(a);
    httpd_limits_default(&lim);
    int r = api_pool_new(&a->pool, deps->loop, POOL_THREADS, POOL_JOBS_MAX, e);
    if (r == 0)
        r = httpd_new(deps->loop, &lim, call_on_head, call_on_refuse, a, &a->http, e);
    if (r < 0) {
        api_free(a);
        return r;
    }
    *ret = a;
    return 0;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    api_pool_free(a->pool);
    a->pool = NULL;
    httpd_free(a->http); /* calls whose body was being read are freed by this */
    while (a->calls)
        call_free(a->calls);
    explicit_bzero(a->keys, sizeof(a->keys));
    free(a);
}

int api_listen_tcp(struct api *a, int fd, struct err *e)
{
    return httpd_listen_fd(a->http, fd, NULL, NULL, e);
}

int api_listen_unix(struct api *a, int fd, struct err *e)
{
    return httpd_listen_fd(a->http, fd, NULL, NULL, e);
}

void api_drain(struct api *a, void (*cb)(void *arg), void *arg)
{
    bide_backup_cut(a); /* it could take minutes, and can be made again */
    httpd_drain(a->http, cb, arg);
}
