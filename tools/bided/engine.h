/* The engine process: opens the store, starts the threads, serves. Runs in the child that bided forks, as the engine's
 * user, with the data directory as its working directory.
 */
#ifndef BIDED_ENGINE_H
#define BIDED_ENGINE_H

#include "api/api.h"
#include "base/settings.h"
#include "listen.h"
#include "reload.h"

enum {
    EXIT_LOST_PEER = 3, /* the other process is gone; a supervisor starts both anew */
};

struct engine_opts {
    struct settings *settings; /* changed by a reload */
    struct reload reload;      /* the engine's end */
    struct listen_set *listen; /* ownership of the sockets passes */
    int executor_sock;         /* likewise */
    int dir_fd;                /* the data directory */
    int code_fd;
    struct api_key key;
    uint32_t unix_uids[3];
    size_t n_unix_uids;
    int runtimes_fd;
    const char *version;
};

/* Runs until SIGTERM or SIGINT and then drains. The process's exit status. */
int engine_main(const struct engine_opts *o);

#endif
