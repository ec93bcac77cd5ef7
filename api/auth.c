#include "auth.h"

#include <string.h>

#include "route.h"

static const char service[] = "lambda";

static int find_key(struct call *c, struct sigv4_fail *fail)
{
    const struct api_deps *d = &c->api->d;
    for (size_t i = 0; i < d->n_keys; i++) {
        if (strcmp(d->keys[i].id, c->sig.key_id) == 0) {
            c->key = i;
            return 0;
        }
    }
    return sigv4_fail_unknown_key(fail);
}

static bool is_trusted_peer(struct call *c)
{
    struct httpd_peer peer;
    httpd_req_peer(c->req, &peer);
    if (!peer.is_unix)
        return false;
    for (size_t i = 0; i < c->api->d.n_unix_uids; i++)
        if (peer.uid == c->api->d.unix_uids[i])
            return true;
    return false;
}

bool auth_peer_is_local(const struct httpd_peer *peer)
{
    return peer->is_unix || peer->loopback;
}

/* Whoever sits on this host asks. A proxy on it speaks for somebody else. */
static bool is_local(struct call *c)
{
    static const char *const proxied[] = {"Forwarded", "X-Forwarded-For", "X-Real-IP", "Via"};
    struct httpd_peer peer;
    httpd_req_peer(c->req, &peer);
    for (size_t i = 0; i < sizeof(proxied) / sizeof(proxied[0]); i++)
        if (call_header(c, proxied[i]))
            return false;
    return auth_peer_is_local(&peer);
}

int auth_head(struct call *c, struct sigv4_fail *fail)
{
    struct sigv4_header headers[HTTP1_HEADERS_MAX];
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};
    const struct http1_request *head = httpd_req_head(c->req);
    if ((c->route->flags & ROUTE_OPEN) || is_trusted_peer(c) || ((c->route->flags & ROUTE_LOCAL) && is_local(c)))
        return 0;
    for (size_t i = 0; i < head->n_headers; i++)
        headers[i] = (struct sigv4_header){{head->headers[i].name, head->headers[i].name_len},
                                           {head->headers[i].value, head->headers[i].value_len}};
    struct sigv4_req req = {.method = methods[head->method],
                            .path = head->path,
                            .query = head->query,
                            .headers = headers,
                            .n_headers = head->n_headers};
    int r = sigv4_read(&c->sig, &req, fail);
    if (r < 0)
        return r;
    if (c->sig.form == SIGV4_NONE)
        return sigv4_fail_missing(fail);
    /* No temporary keys are given out, so no token can be a good one. */
    r = c->sig.has_token ? sigv4_fail_unknown_key(fail) : find_key(c, fail);
    if (r == 0)
        r = sigv4_check_scope(&c->sig, clock_real_ms(), c->api->region, service, fail);
    if (r < 0)
        return r;
    c->must_verify = true;
    return sigv4_canonical(&c->sig, &req, &c->canonical) < 0 ? sigv4_fail_missing(fail) : 0;
}

/* Deriving a key costs four HMACs; a client uses the same one all day. */
static const uint8_t *signing_key(struct call *c)
{
    struct api *a = c->api;
    for (size_t i = 0; i < KEY_CACHE; i++)
        if (a->keys[i].used && a->keys[i].key == c->key && strcmp(a->keys[i].date, c->sig.date) == 0)
            return a->keys[i].k;
    struct signing_key *k = &a->keys[a->next_key];
    a->next_key = (a->next_key + 1) % KEY_CACHE;
    k->key = c->key;
    memcpy(k->date, c->sig.date, sizeof(k->date));
    sigv4_key(a->d.keys[c->key].secret, c->sig.date, a->region, service, k->k);
    k->used = true;
    return k->k;
}

int auth_body(struct call *c, struct sigv4_fail *fail)
{
    if (!c->must_verify)
        return 0;
    return sigv4_verify(&c->sig, signing_key(c), &c->canonical, c->body_hash, fail);
}
