/* A short life of a data directory, driven through the production code the way bided drives it: folders and
 * credentials, the store with its thread, the queue, the dead letters, the registry with its packages. Everything an
 * event can go through happens at least once, alone and in groups that share a commit. What is intended and what is
 * told goes into a ledger.
 *
 * An op that is refused is tried again, as a client would; so one passing fault must not keep the scenario from its
 * end.
 */
#ifndef TESTS_FAULTS_SCENARIO_H
#define TESTS_FAULTS_SCENARIO_H

#include "ledger.h"
#include "shim.h"

enum {
    SCENARIO_DONE = 0,
    SCENARIO_NO_START = 1,  /* could not open; said why on stderr */
    SCENARIO_FATAL = 4,     /* the store's own: STORE_EXIT_FATAL */
    SCENARIO_NO_MEMORY = 5, /* BIDE_EXIT_NO_MEMORY */
    SCENARIO_REFUSED = 6,   /* an op was refused every time; said why */
    SCENARIO_WRONG = 7,     /* a promise broken before anybody reopened anything; said which */
};

struct scenario_opts {
    const char *data; /* the data directory: made if missing */
    struct ledger *ledger;
    const struct fault_region *region; /* for its trace_len; may be NULL */
    uint64_t seed;                     /* sizes, verdicts, groups */
    bool no_sync;                      /* control: the store does not sync */
    bool early_ack;                    /* control: an op counts as answered when it is submitted */
};

/* The zips, once in a process, before anything is made to fail. */
void scenario_prepare(void);

/* In a process of its own: it changes the working directory, and the store may end it. */
int scenario_run(const struct scenario_opts *o);

/* A call that every run makes and r has not seen in one: the shim is blind for it. NULL: there is none. */
const char *scenario_unseen(const struct fault_region *r);

/* A function as one number, for the ledger: 0 when there is none. */
struct function;
uint32_t scenario_function_state(const struct function *f);

/* Package n (1 to SCENARIO_PACKAGES) of the scenario by its SHA-256; 0: none of them. */
enum { SCENARIO_PACKAGES = 2, SCENARIO_FILES = 3 };
uint32_t scenario_package(const char *sha256);
const char *scenario_file_name(int i);
/* What lies in file i of package n. */
const char *scenario_file_text(uint32_t n, int i);

#endif
