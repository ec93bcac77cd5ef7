/* A data directory after a fault, a kill or a power cut, opened by the production code as a start of bided opens it,
 * and held to what the ledger says was told; then used. */
#ifndef TESTS_FAULTS_CHECK_H
#define TESTS_FAULTS_CHECK_H

#include "ledger.h"

/* One line of what is wrong. */
typedef void check_report(const char *line, void *arg);

/* Opens the directory (it changes the working directory, and a broken store may end the process: call it in one of its
 * own), recounts everything as `bide verify` does, looks for every thing of the ledger as of a trace of pos bytes, for
 * nothing else, finishes what waits to be finished, takes and ends one more event, and recounts again. The number of
 * findings; 0: it holds. */
extern void (*check_recovered)(void); /* when not NULL: called between the recovery and all that follows */
unsigned check_directory(const char *data, const struct ledger *l, uint64_t pos, check_report *report, void *arg);

#endif
