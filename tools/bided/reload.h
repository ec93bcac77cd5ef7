/* SIGHUP: the settings file is read again by the executor process, which may read it, and its text goes to the engine,
 * which may not. Both parse it; a file with a fault changes nothing in either.
 */
#ifndef BIDED_RELOAD_H
#define BIDED_RELOAD_H

#include "base/settings.h"

/* Make the log what the settings say: log.level, log.format. */
void settings_log(const struct settings *s);

struct reload {
    const char *config; /* the settings file; NULL: none was named at start */
    const char *const *sets;
    size_t n_sets;
    int sock; /* this process's end of a SOCK_SEQPACKET pair */
};

/* The executor process: read and parse the file. *ret: what it says, to be freed; *ret_text: the file as an open
 * memory file, to be sent. ERR_NOTFOUND: no file was named, or it is not there. */
int reload_read(const struct reload *r, struct settings **ret, int *ret_text, struct err *e) BIDE_MUST_USE;

/* Send it; the descriptor is closed in any case. */
int reload_send(const struct reload *r, int text, struct err *e) BIDE_MUST_USE;

/* The engine, when its end of the pair is readable. ERR_AGAIN: nothing is there. ERR_SHUTDOWN: the other end is closed.
 */
int reload_receive(const struct reload *r, struct settings **ret, struct err *e) BIDE_MUST_USE;

#endif
