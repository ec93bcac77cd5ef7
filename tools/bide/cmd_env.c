/* env: the shell lines that point AWS clients here. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "awscli.h"
#include "base/buf.h"
#include "base/fdutil.h"
#include "show.h"

enum { CLI_LIMIT_MS = 5000 };

static bool read_line_file(const char *data, const char *name, char *out, size_t cap)
{
    char path[4096];
    struct buf b;
    buf_init(&b, cap - 1);
    (void)snprintf(path, sizeof path, "%s/%s", data, name);
    bool ok = file_read(AT_FDCWD, path, &b) == 0 && b.len > 0;
    if (ok) {
        memcpy(out, b.data, b.len + 1);
        out[strcspn(out, "\r\n")] = '\0';
    }
    buf_done(&b);
    return ok;
}

static bool credential(const char *text, const char *key, char *out, size_t cap)
{
    const char *at = strstr(text, key);
    const char *eq = at != NULL ? strchr(at, '=') : NULL;
    if (eq == NULL)
        return false;
    eq += 1 + strspn(eq + 1, " \t");
    size_t n = strcspn(eq, " \t\r\n");
    if (n == 0 || n >= cap)
        return false;
    memcpy(out, eq, n);
    out[n] = '\0';
    return true;
}

static void warn_old_cli(void)
{
    struct awscli_version v;
    if (awscli_find(&v, CLI_LIMIT_MS) && !awscli_honours_endpoint(&v))
        (void)fprintf(stderr,
                      "bide: the installed AWS CLI %d.%d.%d is too old to honour AWS_ENDPOINT_URL_LAMBDA (2.13 or "
                      "1.29.80 is needed): give it --endpoint-url \"$AWS_ENDPOINT_URL_LAMBDA\"\n",
                      v.major, v.minor, v.patch);
}

int cmd_env(struct call *c)
{
    char url[512], region[64] = "us-east-1", id[160] = "", secret[160] = "", path[4096];
    if (c->endpoint != NULL)
        return call_usage(c, "reads the data directory: give --data, not --endpoint");
    if (!read_line_file(c->data, "endpoint", url, sizeof url)) {
        struct err e = {0};
        (void)snprintf(path, sizeof path, "%s/endpoint", c->data);
        (void)client_unreachable(c->data, path, access(path, R_OK) < 0 ? errno : ENOENT, &e);
        return call_fail("%s", e.text);
    }
    struct buf b;
    buf_init(&b, 65536);
    (void)snprintf(path, sizeof path, "%s/credentials", c->data);
    bool ok = file_read(AT_FDCWD, path, &b) == 0 && credential(b.data, "aws_access_key_id", id, sizeof id) &&
              credential(b.data, "aws_secret_access_key", secret, sizeof secret);
    buf_done(&b);
    if (!ok)
        return call_fail("%s cannot be read: only the user who started bided may", path);
    json_t *st = show_call(c, "GET", "/bide/v1/status", NULL);
    if (st == NULL)
        return EXIT_FAILED;
    if (show_str(st, "region")[0] != '\0')
        (void)snprintf(region, sizeof region, "%s", show_str(st, "region"));
    json_decref(st);
    if (c->json) {
        json_t *env = json_pack("{s:s,s:s,s:s,s:s,s:s}", "AWS_ENDPOINT_URL_LAMBDA", url, "AWS_ACCESS_KEY_ID", id,
                                "AWS_SECRET_ACCESS_KEY", secret, "AWS_REGION", region, "AWS_DEFAULT_REGION", region);
        show_json(env);
        json_decref(env);
        return EXIT_DONE;
    }
    (void)printf(
        "export AWS_ENDPOINT_URL_LAMBDA='%s'\nexport AWS_ACCESS_KEY_ID='%s'\nexport AWS_SECRET_ACCESS_KEY='%s'\n"
        "export AWS_REGION='%s'\nexport AWS_DEFAULT_REGION='%s'\nunset AWS_SESSION_TOKEN\n",
        url, id, secret, region, region);
    (void)fflush(stdout);
    warn_old_cli();
    return EXIT_DONE;
}
