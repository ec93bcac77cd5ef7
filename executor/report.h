/* The lines Lambda puts around a function's own output (Lambda: section 8.5), written into a capture. */
#ifndef EXECUTOR_REPORT_H
#define EXECUTOR_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "capture.h"

struct report {
    const char *request_id;
    int64_t duration_us;
    int64_t init_us; /* of a cold start; 0 on a warm one */
    int32_t memory_mb;
    uint64_t peak_kb;
    const char *status;     /* "timeout", "error"; NULL when the runtime answered */
    const char *error_type; /* with "error" */
};

/* version: the runtime's ("python:3.12"); the ARN's digest is made from it, so that it tells versions apart. */
void report_init_start(struct capture *c, const char *version, const char *region);
void report_init_end(struct capture *c, int64_t init_us, const char *status, const char *error_type);
void report_start(struct capture *c, const char *request_id, const char *function_version);
void report_timed_out(struct capture *c, int64_t now_ms, const char *request_id, int64_t limit_ms);
void report_end(struct capture *c, const struct report *r);

#endif
