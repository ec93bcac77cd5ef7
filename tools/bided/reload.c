#include "reload.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/log.h"

enum { TEXT_MAX = 1 << 20 }; /* the parser has the real ceiling, and the words for it */

void settings_log(const struct settings *s)
{
    static const char *const levels[] = {"error", "warn", "info", "debug"};
    int level = LOG_LEVEL_INFO;
    for (int i = 0; i < 4; i++)
        if (strcmp(levels[i], settings_str(s, SET_LOG_LEVEL)) == 0)
            level = i;
    bool json = strcmp(settings_str(s, SET_LOG_FORMAT), "json") == 0;
    log_setup((enum log_level)level, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, STDERR_FILENO);
}

int reload_read(const struct reload *r, struct settings **ret, int *ret_text, struct err *e)
{
    struct buf b;
    if (r->config == NULL)
        return err_set(e, ERR_NOTFOUND, "no settings file was named at start (--config)");
    buf_init(&b, TEXT_MAX);
    int fd = -1;
    int rc = file_read(AT_FDCWD, r->config, &b);
    if (rc < 0) {
        (void)err_sys(e, rc, errno, "settings file %s", r->config);
        goto out;
    }
    rc = settings_parse(ret, r->config, b.data, b.len, r->sets, r->n_sets, e);
    if (rc < 0)
        goto out;
    fd = memfd_create("settings", MFD_CLOEXEC);
    if (fd < 0 || fd_write_all(fd, b.data, b.len) < 0) {
        rc = err_sys(e, ERR_IO, errno, "memory for the settings");
        fd_close(&fd);
        settings_free(*ret);
        *ret = NULL;
    }
    *ret_text = fd;
out:
    buf_done(&b);
    return rc;
}

int reload_send(const struct reload *r, int text, struct err *e)
{
    int rc = fd_send_msg(r->sock, "s", 1, &text, 1);
    if (rc < 0)
        (void)err_set(e, rc, rc == ERR_AGAIN ? "the engine has not taken the last ones yet" : "the engine is gone");
    fd_close(&text);
    return rc;
}

int reload_receive(const struct reload *r, struct settings **ret, struct err *e)
{
    char one;
    size_t len, n_fds = 0;
    int fds[FD_PASS_MAX];
    struct buf b;
    int rc = fd_recv_msg(r->sock, &one, sizeof one, &len, fds, &n_fds);
    if (rc < 0)
        return rc;
    if (len == 0)
        return ERR_SHUTDOWN;
    if (n_fds != 1) {
        for (size_t i = 0; i < n_fds; i++)
            fd_close(&fds[i]);
        return err_set(e, ERR_CORRUPT, "settings without a text");
    }
    buf_init(&b, TEXT_MAX);
    rc = lseek(fds[0], 0, SEEK_SET) < 0 ? ERR_IO : fd_read_all(fds[0], &b);
    rc = rc < 0 ? err_set(e, rc, "the settings cannot be read (%s)", err_name(rc))
                : settings_parse(ret, r->config, b.data, b.len, r->sets, r->n_sets, e);
    fd_close(&fds[0]);
    buf_done(&b);
    return rc;
}
