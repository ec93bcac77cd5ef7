#include "fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "sigv4.h"

static void *run_loop(void *arg)
{
    loop_run(arg);
    return NULL;
}

static int listen_tcp(unsigned *ret_port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
    *ret_port = ntohs(a.sin_port);
    return fd;
}

static struct sockaddr_un unix_address(struct fx *x)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    (void)snprintf(a.sun_path, sizeof(a.sun_path), "%s/bide.sock", x->dir.path);
    return a;
}

static int listen_unix(struct fx *x)
{
    struct sockaddr_un a = unix_address(x);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int store_fault(enum store_fault at, void *arg)
{
    struct fx *x = arg;
    return at == STORE_FAULT_COMMIT && atomic_load(&x->store_full) ? ERR_FULL : 0;
}

static void open_stores(struct fx *x)
{
    struct err e = {0};
    struct store_opts so = {.max_bytes = 256 << 20, .unsafe_nosync = true, .fault = store_fault, .arg = x};
    assert_ok(store_open(&x->store, tmpdir_path(&x->dir, "db"), &so, &e), &e);
    struct registry_opts ro = {
        .clock = &x->clock, .code_fd = x->code_fd, .account_concurrency = 1000, .unreserved_minimum = 100};
    assert_ok(registry_open(&x->registry, x->store, &ro, &e), &e);
    struct queue_opts qo = {
        .clock = &x->clock, .history_payload = true, .history_retention_ms = 1 << 30, .history_max_bytes = 1 << 30};
    assert_ok(queue_open(&x->queue, x->store, &qo, &e), &e);
    struct dlq_opts lo = {.clock = &x->clock, .ids = &x->ids, .retention_ms = 1 << 30, .max_bytes = 1 << 30};
    assert_ok(dlq_open(&x->dlq, x->queue, &lo, &e), &e);
    assert_ok(store_start(x->store, &e), &e);
}

static void open_logs(struct fx *x)
{
    struct logs_opts o = {
        .on = true, .rate = 1 << 20, .function_max_bytes = 64 << 20, .max_bytes = 1 << 30, .retention_ms = 86400000};
    struct err e = {0};
    assert_int_equal(mkdirat(x->dir.fd, "logs", 0700), 0);
    int fd = openat(x->dir.fd, "logs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_ok(logs_open(&x->logs, fd, &o, &e), &e);
}

static void open_api(struct fx *x)
{
    static const struct api_key keys[] = {{FIXTURE_KEY_ID, FIXTURE_SECRET}};
    struct err e = {0};
    assert_ok(loop_new(&x->loop, &e), &e);
    struct api_deps d = {
        .loop = x->loop,
        .clock = &x->clock,
        .ids = &x->ids,
        .settings = x->settings,
        .registry = x->registry,
        .queue = x->queue,
        .dlq = x->dlq,
        .logs = x->logs,
        .dispatcher = &x->dispatcher,
        .runtimes_fd = -1,
        .keys = keys,
        .n_keys = 1,
        .version = "9.9.9",
        .unix_uids = {(uint32_t)getuid()},
        .n_unix_uids = x->distrust ? 0 : 1,
    };
    assert_ok(api_new(&x->api, &d, &e), &e);
    assert_ok(api_listen_tcp(x->api, listen_tcp(&x->port), &e), &e);
    assert_ok(api_listen_unix(x->api, listen_unix(x), &e), &e);
    assert_int_equal(pthread_create(&x->thread, NULL, run_loop, x->loop), 0);
}

static int setup(void **state, bool distrust, bool real_clock)
{
    static bool prepared;
    struct fx *x = calloc(1, sizeof(*x));
    struct err e = {0};
    assert_non_null(x);
    if (!prepared)
        loop_global_init();
    prepared = true;
    x->distrust = distrust;
    tmpdir_make(&x->dir);
    if (real_clock)
        clock_init_real(&x->clock);
    else
        clock_init_virtual(&x->clock, 1700000000000);
    id_gen_init(&x->ids);
    fake_init(&x->dispatcher);
    assert_ok(settings_load(&x->settings, NULL, NULL, 0, &e), &e);
    assert_int_equal(mkdirat(x->dir.fd, "code", 0700), 0);
    x->code_fd = openat(x->dir.fd, "code", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(x->code_fd >= 0);
    open_stores(x);
    open_logs(x);
    open_api(x);
    *state = x;
    return 0;
}

int fx_setup(void **state)
{
    return setup(state, false, false);
}

int fx_setup_distrust(void **state)
{
    return setup(state, true, false);
}

int fx_setup_real_clock(void **state)
{
    return setup(state, false, true);
}

int fx_teardown(void **state)
{
    struct fx *x = *state;
    loop_stop(x->loop);
    pthread_join(x->thread, NULL);
    store_stop(x->store);
    fake_done(&x->dispatcher);
    api_free(x->api);
    logs_close(x->logs);
    loop_free(x->loop);
    dlq_close(x->dlq);
    queue_close(x->queue);
    registry_close(x->registry);
    store_close(x->store);
    settings_free(x->settings);
    id_gen_done(&x->ids);
    close(x->code_fd);
    tmpdir_remove(&x->dir);
    free(x);
    return 0;
}

/* --- the client ----- */

int dial(struct fx *x, bool tcp)
{
    struct timeval patience = {.tv_sec = TEST_PATIENCE_MS / 1000};
    int fd = socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    if (tcp) {
        struct sockaddr_in a = {
            .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)x->port)};
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    } else {
        struct sockaddr_un a = unix_address(x);
        assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
    }
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    return fd;
}

static void send_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = send(fd, p, n, MSG_NOSIGNAL);
        if (k <= 0)
            return; /* refused early: the reply says why */
        p += k;
        n -= (size_t)k;
    }
}

/* All of a reply is there: its head, and as much body as that says. */
static bool is_whole(const struct buf *b)
{
    const char *end = memmem(b->data, b->len, "\r\n\r\n", 4);
    const char *length = end ? strcasestr(b->data, "\r\nContent-Length:") : NULL;
    size_t have = end ? b->len - (size_t)(end + 4 - b->data) : 0;
    if (!end)
        return false;
    return length && length < end ? have >= strtoul(length + 17, NULL, 10) : strncmp(b->data, "HTTP/1.1 204", 12) == 0;
}

static struct reply read_reply(int fd)
{
    struct reply r = {0};
    struct buf b;
    char chunk[65536];
    ssize_t k;
    buf_init(&b, 128 << 20);
    while (!is_whole(&b) && (k = recv(fd, chunk, sizeof(chunk), 0)) > 0)
        assert_int_equal(buf_append(&b, chunk, (size_t)k), 0);
    char *end = memmem(b.data, b.len, "\r\n\r\n", 4);
    if (!end || sscanf(b.data, "HTTP/1.1 %d", &r.status) != 1)
        fail_msg("no reply: \"%.200s\"", b.data);
    r.len = b.len - (size_t)(end + 4 - b.data);
    r.body = malloc(r.len + 1);
    assert_non_null(r.body);
    memcpy(r.body, end + 4, r.len);
    r.body[r.len] = '\0';
    end[2] = '\0';
    r.head = strdup(b.data);
    r.json = json_loadb(r.body, r.len, JSON_DECODE_ANY, NULL);
    buf_done(&b);
    return r;
}

struct reply ask_raw(struct fx *x, bool tcp, const char *bytes, size_t len)
{
    int fd = dial(x, tcp);
    send_all(fd, bytes, len);
    struct reply r = read_reply(fd);
    close(fd);
    return r;
}

static struct reply ask_with(struct fx *x, bool tcp, const char *method, const char *target, const char *host,
                             const char *headers, const char *body)
{
    struct buf b;
    size_t len = body ? strlen(body) : 0;
    buf_init(&b, 128 << 20);
    assert_int_equal(buf_printf(&b, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
                                method, target, host, headers, len),
                     0);
    assert_int_equal(buf_append(&b, body ? body : "", len), 0);
    struct reply r = ask_raw(x, tcp, b.data, b.len);
    buf_done(&b);
    return r;
}

struct reply ask(struct fx *x, const char *method, const char *target, const char *headers, const char *body)
{
    return ask_with(x, false, method, target, "localhost", headers, body);
}

/* As a client signs: the same canonical request, made by the module under test (its own test holds it against
 * botocore). */
static void sign(const char *method, const char *target, const char *host, const char *body, const char *key_id,
                 const char *secret, char *out, size_t cap)
{
    struct sigv4 s = {.form = SIGV4_HEADER, .signed_headers = "host;x-amz-date"};
    sigv4_now(&s, clock_real_ms(), "us-east-1", "lambda");
    const char *q = strchr(target, '?');
    struct sigv4_header h[] = {{{"host", 4}, {host, strlen(host)}}, {{"x-amz-date", 10}, {s.amz_date, 16}}};
    struct sigv4_req req = {
        method, {target, q ? (size_t)(q - target) : strlen(target)}, {q ? q + 1 : "", q ? strlen(q + 1) : 0}, h, 2};
    struct buf canonical;
    uint8_t key[SHA256_LEN], sig[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1];
    buf_init(&canonical, 65536);
    assert_rc(sigv4_canonical(&s, &req, &canonical), 0);
    sha256_sum(body ? body : "", body ? strlen(body) : 0, sig);
    hex_encode(sig, sizeof(sig), hex);
    sigv4_key(secret, s.date, s.region, s.service, key);
    sigv4_sign(&s, key, &canonical, hex, sig);
    hex_encode(sig, sizeof(sig), hex);
    (void)snprintf(out, cap,
                   "X-Amz-Date: %s\r\nAuthorization: AWS4-HMAC-SHA256 Credential=%s/%s/us-east-1/lambda/aws4_request, "
                   "SignedHeaders=host;x-amz-date, Signature=%s\r\n",
                   s.amz_date, key_id, s.date, hex);
    buf_done(&canonical);
}

struct reply ask_tcp(struct fx *x, const char *method, const char *target, const char *body, const char *key_id,
                     const char *secret)
{
    char host[64], headers[1024] = "";
    (void)snprintf(host, sizeof(host), "127.0.0.1:%u", x->port);
    if (*key_id)
        sign(method, target, host, body, key_id, secret, headers, sizeof(headers));
    return ask_with(x, true, method, target, host, headers, body);
}

void reply_done(struct reply *r)
{
    free(r->head);
    free(r->body);
    json_decref(r->json);
    *r = (struct reply){0};
}

const char *reply_header(const struct reply *r, const char *name)
{
    static char value[8192];
    size_t n = strlen(name);
    for (const char *line = strstr(r->head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        const char *p = line + 2;
        if (strncasecmp(p, name, n) != 0 || p[n] != ':')
            continue;
        p += n + 1 + strspn(p + n + 1, " ");
        (void)snprintf(value, sizeof(value), "%.*s", (int)strcspn(p, "\r"), p);
        return value;
    }
    return NULL;
}

const char *reply_str(const struct reply *r, const char *key)
{
    const char *s = json_string_value(json_object_get(r->json, key));
    if (!s)
        fail_msg("there is no text \"%s\" in %s", key, r->body);
    return s;
}

int64_t reply_int(const struct reply *r, const char *key)
{
    const json_t *v = json_object_get(r->json, key);
    if (!json_is_integer(v))
        fail_msg("there is no number \"%s\" in %s", key, r->body);
    return json_integer_value(v);
}

void expect(struct reply r, int status)
{
    if (r.status != status)
        fail_msg("status %d, wanted %d: %.300s", r.status, status, r.body);
    assert_non_null(reply_header(&r, "x-amzn-RequestId"));
    reply_done(&r);
}

void expect_fault(struct reply r, int status, const char *type, const char *part)
{
    const char *got = reply_header(&r, "x-amzn-ErrorType");
    if (r.status != status || !got || strcmp(got, type) != 0 || !strstr(r.body, part))
        fail_msg("%d %s, wanted %d %s saying \"%s\": %.500s", r.status, got ? got : "-", status, type, part, r.body);
    assert_non_null(reply_header(&r, "x-amzn-RequestId"));
    assert_non_null(reply_header(&r, "Date"));
    reply_done(&r);
}

/* --- functions ----- */

char *package(const char *text)
{
    struct zm z;
    struct buf b;
    zm_init(&z);
    zm_file(&z, "app.py", text);
    zm_end(&z);
    buf_init(&b, 1 << 20);
    assert_int_equal(base64_encode(z.body.data, z.body.len, &b), 0);
    zm_done(&z);
    return buf_take(&b, NULL);
}

struct awaited {
    struct fx *x;
    const char *name;
};

static bool is_active(void *arg)
{
    struct awaited *w = arg;
    const struct function *f = registry_get(w->x->registry, w->name);
    bool hit = f && f->state == FUNCTION_ACTIVE && f->update != UPDATE_IN_PROGRESS;
    function_unref(f);
    return hit;
}

void await_active(struct fx *x, const char *name)
{
    struct awaited w = {x, name};
    wait_until(is_active, &w, TEST_PATIENCE_MS);
}

void make_function(struct fx *x, const char *name)
{
    char *zip = package("print(1)"), doc[4096];
    (void)snprintf(doc, sizeof(doc),
                   "{\"FunctionName\":\"%s\",\"Role\":\"arn:aws:iam::000000000000:role/r\",\"Runtime\":\"python3.12\","
                   "\"Handler\":\"app.h\",\"Code\":{\"ZipFile\":\"%s\"}}",
                   name, zip);
    free(zip);
    expect(ask(x, "POST", "/2015-03-31/functions", "", doc), 201);
    await_active(x, name);
}
