#include "runtime.h"
#include "base/fdutil.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "executor.h"
#include "executor_proto/manifest.h"

/* A manifest being read for one asked-for name. */
struct reading {
    struct runtime *r;
    const char *folder;
    int line;
    bool matched;
    char star[RUNTIME_NAME_MAX + 1]; /* what the '*' stood for */
    const char *install, *bootstrap;
    const char *interpreter[RUNTIME_PROGRAMS_MAX];
    size_t n_interpreters;
    const char *read_only[MANIFEST_READ_ONLY_MAX];
    size_t n_read_only;
};

static bool name_ok(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-");
    return name[0] != '\0' && name[0] != '.' && name[n] == '\0' && n <= RUNTIME_NAME_MAX;
}

/* At most one '*', for one character or more. */
static bool pattern_match(const char *pattern, const char *name, char star[RUNTIME_NAME_MAX + 1])
{
    const char *at = strchr(pattern, '*');
    if (at == NULL)
        return strcmp(pattern, name) == 0;
    size_t head = (size_t)(at - pattern), tail = strlen(at + 1), len = strlen(name);
    if (len <= head + tail || strncmp(name, pattern, head) != 0 || strcmp(name + len - tail, at + 1) != 0)
        return false;
    memcpy(star, name + head, len - head - tail);
    star[len - head - tail] = '\0';
    return true;
}

/* Keep value in r's text with every '*' filled in. NULL without room. */
static const char *keep(struct reading *m, const char *value)
{
    struct runtime *r = m->r;
    size_t start = r->text_len, star_len = strlen(m->star);
    for (; *value != '\0'; value++) {
        const char *p = *value == '*' ? m->star : value;
        size_t n = *value == '*' ? star_len : 1;
        if (r->text_len + n >= sizeof r->text)
            return NULL;
        memcpy(r->text + r->text_len, p, n);
        r->text_len += n;
    }
    r->text[r->text_len++] = '\0';
    return r->text + start;
}

static int wrong(const struct reading *m, const char *why, struct err *e)
{
    return err_set(e, ERR_INVALID, "runtime %s: manifest line %d: %s", m->folder, m->line, why);
}

static int keep_in(struct reading *m, const char **list, size_t *n, size_t max, const char *value, struct err *e)
{
    const char *kept = *n < max ? keep(m, value) : NULL;
    if (kept == NULL)
        return wrong(m, "too many of these", e);
    list[(*n)++] = kept;
    return 0;
}

static const char memory_word[] = "{memory:";

/* The N of `{memory:N}` at text, and in *ret_len how long all of it is; 0: there is no such thing. */
static unsigned memory_share(const char *text, size_t *ret_len)
{
    unsigned percent = 0;
    size_t n = sizeof memory_word - 1;
    if (strncmp(text, memory_word, n) != 0)
        return 0;
    for (; text[n] >= '0' && text[n] <= '9' && percent <= 100; n++)
        percent = percent * 10 + (unsigned)(text[n] - '0');
    *ret_len = n + 1;
    return text[n] == '}' && percent <= 100 ? percent : 0;
}

void runtime_arg(const char *arg, int32_t memory_mb, char *out, size_t cap)
{
    size_t n = 0;
    while (*arg != '\0' && n + 1 < cap) {
        size_t len;
        unsigned percent = memory_share(arg, &len);
        if (percent == 0) {
            out[n++] = *arg++;
            continue;
        }
        n += (size_t)snprintf(out + n, cap - n, "%lld", (long long)memory_mb * percent / 100);
        arg += len;
    }
    out[n < cap ? n : cap - 1] = '\0';
}

static int set_arg(struct reading *m, const char *value, struct err *e)
{
    size_t len;
    for (const char *at = value; (at = strchr(at, '{')) != NULL; at++)
        if (memory_share(at, &len) == 0)
            return wrong(m, "in { } only {memory:N} is known, N from 1 to 100", e);
    return keep_in(m, m->r->arg, &m->r->n_args, RUNTIME_ARGS_MAX, value, e);
}

static int set_path(struct reading *m, const char **list, size_t *n, const char *value, struct err *e)
{
    if (value[0] != '/' || strstr(value, "/../") != NULL)
        return wrong(m, "a program is an absolute path without ..", e);
    return keep_in(m, list, n, RUNTIME_PROGRAMS_MAX, value, e);
}

static int set_yes_no(const struct reading *m, bool *ret, const char *value, struct err *e)
{
    if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
        return wrong(m, "yes or no is wanted", e);
    *ret = value[0] == 'y';
    return 0;
}

static int set_read_only(struct reading *m, const char *value, struct err *e)
{
    const char *why = manifest_path_fault(value);
    return why != NULL ? wrong(m, why, e) : keep_in(m, m->read_only, &m->n_read_only, MANIFEST_READ_ONLY_MAX, value, e);
}

static bool is_seen(const struct reading *m, const char *path)
{
    bool seen = strncmp(path, "/usr/", 5) == 0;
    for (size_t i = 0; i < m->n_read_only; i++) {
        size_t n = strlen(m->read_only[i]);
        seen = seen || (strncmp(path, m->read_only[i], n) == 0 && path[n] == '/');
    }
    return seen;
}

static int set_bootstrap(struct reading *m, const char *value, struct err *e)
{
    size_t one = 0;
    if (!name_ok(value))
        return wrong(m, "a bootstrap is the name of a file in this folder", e);
    return keep_in(m, &m->bootstrap, &one, 1, value, e);
}

static int set_key(struct reading *m, const char *key, const char *value, struct err *e)
{
    struct runtime *r = m->r;
    if (strcmp(key, "serves") == 0) {
        m->matched = m->matched || pattern_match(value, r->name, m->star);
        return 0;
    }
    if (strcmp(key, "read_only") == 0)
        return set_read_only(m, value, e);
    if (strcmp(key, "interpreter") == 0) {
        if (!is_seen(m, value))
            return wrong(m, "an interpreter must be below /usr or a read_only path, a box sees no other", e);
        return set_path(m, m->interpreter, &m->n_interpreters, value, e);
    }
    if (strcmp(key, "program") == 0)
        return set_path(m, r->program, &r->n_programs, value, e);
    if (strcmp(key, "arg") == 0)
        return set_arg(m, value, e);
    if (strcmp(key, "env") == 0) {
        if (strchr(value, '=') == NULL || value[0] == '=')
            return wrong(m, "NAME=VALUE is wanted", e);
        return keep_in(m, r->env, &r->n_env, RUNTIME_ENV_MAX, value, e);
    }
    if (strcmp(key, "execution_env") == 0)
        return set_yes_no(m, &r->execution_env, value, e);
    if (strcmp(key, "wrapper") == 0)
        return set_yes_no(m, &r->wrapper, value, e);
    size_t one = 0;
    if (strcmp(key, "version") == 0)
        return keep_in(m, &r->version, &one, 1, value, e);
    if (strcmp(key, "install") == 0)
        return keep_in(m, &m->install, &one, 1, value, e);
    if (strcmp(key, "bootstrap") == 0)
        return set_bootstrap(m, value, e);
    return wrong(m, "unknown key", e);
}

/* In what order keys are taken: `serves` settles what a '*' stands for, `read_only` where an interpreter may be. */
static int pass_of(const char *key)
{
    return strcmp(key, "serves") == 0 ? 0 : strcmp(key, "read_only") == 0 ? 1 : 2;
}

static int read_lines(struct reading *m, const char *text, int pass, struct err *e)
{
    struct manifest_line l = {.n = 0};
    const char *why;
    int rc;
    while ((rc = manifest_next(&text, &l, &why)) > 0) {
        m->line = l.n;
        if (pass_of(l.key) == pass && (rc = set_key(m, l.key, l.value, e)) < 0)
            return rc;
    }
    m->line = l.n;
    return rc < 0 ? wrong(m, why, e) : 0;
}

static int pick_interpreter(struct reading *m, struct err *e)
{
    struct runtime *r = m->r;
    char tried[200] = "";
    for (size_t i = 0; i < m->n_interpreters; i++) {
        if (access(m->interpreter[i], X_OK) == 0) {
            r->program[0] = m->interpreter[i];
            r->n_programs = 1;
            return 0;
        }
        size_t at = strlen(tried);
        (void)snprintf(tried + at, sizeof tried - at, "%s%s", i > 0 ? ", " : "", m->interpreter[i]);
    }
    return err_set(e, ERR_AGAIN, "The runtime %s cannot be run on this host: none of %s is there%s%s.", r->name, tried,
                   m->install != NULL ? ". Install it: " : "", m->install != NULL ? m->install : "");
}

static int take_bootstrap(struct reading *m, int dir_fd, struct err *e)
{
    struct runtime *r = m->r;
    char path[2 * RUNTIME_NAME_MAX + 16];
    (void)snprintf(path, sizeof path, "%s/%s", m->folder, m->bootstrap);
    if (faccessat(dir_fd, path, X_OK, 0) < 0)
        return err_set(e, ERR_INVALID, "The runtime %s cannot be run: its program %s is not installed.", r->name, path);
    (void)snprintf(path, sizeof path, "/var/runtime/%s", m->bootstrap);
    return keep_in(m, r->program, &r->n_programs, RUNTIME_PROGRAMS_MAX, path, e);
}

/* 0: r is filled; ERR_NOTFOUND with *ret_matched false: this folder is for others. */
static int read_manifest(int dir_fd, const char *folder, struct runtime *r, bool *ret_matched, struct err *e)
{
    struct reading m = {.r = r, .folder = folder};
    struct buf b;
    *ret_matched = false;
    buf_init(&b, MANIFEST_MAX);
    int rc = manifest_load(dir_fd, folder, &b);
    if (rc < 0) {
        if (rc != ERR_NOTFOUND)
            (void)err_set(e, rc, "runtime %s: manifest: %s", folder, err_name(rc));
        goto out;
    }
    rc = read_lines(&m, b.data, 0, e);
    if (rc == 0 && !m.matched)
        rc = ERR_NOTFOUND;
    if (rc < 0)
        goto out;
    *ret_matched = true;
    r->version = r->name;
    r->execution_env = r->wrapper = true;
    (void)snprintf(r->dir, sizeof r->dir, "%s", folder);
    rc = read_lines(&m, b.data, 1, e);
    if (rc == 0)
        rc = read_lines(&m, b.data, 2, e);
    if (rc < 0)
        goto out;
    r->own_program = r->n_programs > 0;
    if (r->own_program + (m.n_interpreters > 0) + (m.bootstrap != NULL) != 1)
        rc = wrong(&m, "one of interpreter, program and bootstrap is wanted", e);
    else if (m.bootstrap != NULL)
        rc = take_bootstrap(&m, dir_fd, e);
    else if (!r->own_program)
        rc = pick_interpreter(&m, e);
out:
    buf_done(&b);
    return rc;
}

int runtime_find(int runtimes_fd, const char *name, struct runtime *ret, struct err *e)
{
    int rc = ERR_NOTFOUND;
    bool matched = false;
    memset(ret, 0, sizeof *ret);
    if (!name_ok(name))
        return err_set(e, ERR_NOTFOUND, "There is no such runtime.");
    (void)snprintf(ret->name, sizeof ret->name, "%s", name);
    int fd = openat(runtimes_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (d == NULL) {
        int error = errno;
        fd_close(&fd);
        return err_sys(e, ERR_IO, error, "the folder of the runtimes cannot be read");
    }
    for (struct dirent *de = readdir(d); de != NULL && rc == ERR_NOTFOUND && !matched; de = readdir(d))
        if (name_ok(de->d_name) && de->d_type != DT_REG)
            rc = read_manifest(dirfd(d), de->d_name, ret, &matched, e);
    (void)closedir(d);
    if (rc == ERR_NOTFOUND && !matched)
        return err_set(e, ERR_NOTFOUND,
                       "The runtime %s cannot be run here: no folder in libexec/bide/runtimes serves it.", name);
    return rc;
}

int executor_runtime_check(int runtimes_fd, const char *runtime, struct err *e)
{
    struct runtime r;
    return runtime_find(runtimes_fd, runtime, &r, e);
}
