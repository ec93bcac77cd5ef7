/* Where a function's package can be fetched: GetFunction's Code.Location, a link signed for ten minutes (Lambda: 3.3),
 * and the route it leads to. */
#include <stdio.h>
#include <string.h>

#include "build.h"
#include "route.h"

enum { LINK_EXPIRES_S = 600, LINK_MAX = 2048, ZIP_MAX = 52428800 };

static int put_query(struct buf *q, const struct sigv4 *s, const char *key_id)
{
    return buf_printf(q,
                      "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%s%%2F%s%%2F%s%%2F%s%%2Faws4_request"
                      "&X-Amz-Date=%s&X-Amz-Expires=%d&X-Amz-SignedHeaders=host",
                      key_id, s->date, s->region, s->service, s->amz_date, (int)LINK_EXPIRES_S);
}

static int sign(const struct call *c, const char *path, struct slice host, struct buf *url)
{
    const struct api_key *key = &c->api->d.keys[c->must_verify ? c->key : 0];
    struct sigv4 s = {.form = SIGV4_PRESIGNED, .signed_headers = "host"};
    struct sigv4_header h = {{"host", 4}, host};
    struct buf query, canonical;
    uint8_t k[SHA256_LEN], sig[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], empty[SHA256_HEX_LEN + 1];
    sigv4_now(&s, clock_real_ms(), c->api->region, "lambda");
    buf_init(&query, LINK_MAX);
    buf_init(&canonical, 2 * LINK_MAX);
    int r = put_query(&query, &s, key->id);
    struct sigv4_req req = {"GET", {path, strlen(path)}, {query.data, query.len}, &h, 1};
    if (r == 0)
        r = sigv4_canonical(&s, &req, &canonical);
    if (r == 0) {
        sha256_sum("", 0, sig);
        hex_encode(sig, sizeof(sig), empty);
        sigv4_key(key->secret, s.date, s.region, s.service, k);
        sigv4_sign(&s, k, &canonical, empty, sig);
        hex_encode(sig, sizeof(sig), hex);
        r = buf_printf(url, "http://%.*s%s?%s&X-Amz-Signature=%s", (int)host.len, (const char *)host.p, path,
                       query.data, hex);
    }
    buf_done(&canonical);
    buf_done(&query);
    return r;
}

void location_put(struct json_out *o, const char *key, const struct call *c, const char *sha256)
{
    char path[128];
    struct buf url;
    struct slice host = httpd_req_head(c->req)->host;
    buf_init(&url, LINK_MAX);
    (void)snprintf(path, sizeof(path), "/bide/v1/code/%s", sha256);
    /* HTTP/1.0 without Host: nothing to build a link from. */
    if (host.p && c->api->d.n_keys > 0 && sign(c, path, host, &url) == 0)
        out_strn(o, key, url.data, url.len);
    else
        out_str(o, key, path);
    buf_done(&url);
}

/* --- the package itself ----- */

static void build_code(struct call *c, struct json_out *o, struct fault *f)
{
    struct buf zip;
    buf_init(&zip, ZIP_MAX);
    int r = registry_code_read(c->api->d.registry, c->arg, &zip);
    if (r == ERR_NOTFOUND || r == ERR_INVALID)
        (void)fault_set(f, FAULT_NOT_FOUND, "There is no package %s", c->arg);
    else if (r < 0)
        (void)fault_set(f, FAULT_SERVICE, "package %s: %s", c->arg, err_name(r));
    else
        out_raw(o, NULL, zip.data, zip.len);
    buf_done(&zip);
}

void location_get_code(struct call *c)
{
    build_answer_as(c, build_code, "application/zip", ZIP_MAX);
}
