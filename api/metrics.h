/* The table of all metrics, and their text form (Prometheus, version 0.0.4).
 *
 *   struct metrics_out o;
 *   metrics_init(&o, &buf);
 *   metrics_family(&o, METRIC_QUEUED);
 *   metrics_uint(&o, &(struct metrics_label){"function", "f"}, 1, 7);
 *   if (metrics_error(&o) < 0) ...
 *
 * The samples of a family follow its metrics_family; a family comes once. Errors stick.
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "base/buf.h"
#include "base/hist.h"

enum metrics_kind { METRICS_COUNTER, METRICS_GAUGE, METRICS_HISTOGRAM };

enum metric {
    /* the daemon */
    METRIC_BUILD_INFO,
    METRIC_RECOVERED,
    METRIC_CLOCK_STEPS,
    METRIC_DEGRADATIONS,
    /* the books */
    METRIC_EVENTS,
    METRIC_ACCEPTED,
    METRIC_REMOVED,
    /* functions, under Lambda's names where it has one */
    METRIC_FUNCTIONS,
    METRIC_FUNCTIONS_LEFT_OUT,
    METRIC_FUNCTION_EVENTS,
    METRIC_FUNCTION_HELD,
    METRIC_FUNCTION_OLDEST,
    METRIC_FUNCTION_MAX_AGE,
    METRIC_FUNCTION_RESERVED,
    METRIC_FUNCTION_PAUSED,
    METRIC_FUNCTION_FAULT,
    METRIC_INVOCATIONS,
    METRIC_ERRORS,
    METRIC_THROTTLES,
    METRIC_DURATION,
    METRIC_CONCURRENT,
    METRIC_UNRESERVED_CONCURRENT,
    METRIC_ASYNC_RECEIVED,
    METRIC_ASYNC_AGE,
    METRIC_ASYNC_DROPPED,
    METRIC_DISRUPTIONS,
    METRIC_START_FAILURES,
    METRIC_INIT_FAILURES,
    /* workers */
    METRIC_ACCOUNT_CONCURRENCY,
    METRIC_QUEUE_WAIT,
    METRIC_WORKERS,
    METRIC_WORKER_MEMORY,
    METRIC_WORKER_MEMORY_LIMIT,
    METRIC_WORKER_START,
    /* the API */
    METRIC_HTTP_ANSWERS,
    METRIC_HTTP_REFUSALS,
    METRIC_HTTP_CONNECTIONS,
    METRIC_HTTP_INFLIGHT,
    METRIC_ACCEPT,
    /* the store */
    METRIC_STORE_FULL,
    METRIC_STORE_MAP,
    METRIC_STORE_MAP_USED,
    METRIC_STORE_DISK_FREE,
    METRIC_STORE_RESERVE,
    METRIC_STORE_COMMIT,
    METRIC_STORE_COMMIT_OPS,
    METRIC_STORE_OPS_FAILED,
    /* dead letters */
    METRIC_DLQ_LETTERS,
    METRIC_DLQ_BYTES,
    METRIC_DLQ_MAX_BYTES,
    METRIC_DLQ_FULL,
    /* the functions' logs */
    METRIC_LOG_BYTES,
    METRIC_LOG_WRITTEN,
    METRIC_LOG_DROPPED,
    METRIC_LOG_LOST,
    METRIC_LOG_STOPPED,
    /* the processes */
    METRIC_PROCESS_START,
    METRIC_PROCESS_CPU,
    METRIC_PROCESS_RESIDENT,
    METRIC_PROCESS_ANON,
    METRIC_PROCESS_VIRTUAL,
    METRIC_PROCESS_THREADS,
    METRIC_PROCESS_FDS,
    METRIC_PROCESS_MAX_FDS,
    METRICS
};

struct metrics_row {
    const char *name;
    enum metrics_kind kind;
    const char *help;
};
const struct metrics_row *metrics_row(enum metric m);

/* "bide_" and "process_" names only; a value of any bytes. */
struct metrics_label {
    const char *name, *value;
};

struct metrics_out {
    struct buf *b;
    const struct metrics_row *row;
    int error;
};

void metrics_init(struct metrics_out *o, struct buf *b);
void metrics_family(struct metrics_out *o, enum metric m);
void metrics_uint(struct metrics_out *o, const struct metrics_label *l, size_t n, uint64_t v);
/* v / scale as an exact decimal: microseconds and 1000000 give seconds. scale is a power of ten. */
void metrics_scaled(struct metrics_out *o, const struct metrics_label *l, size_t n, int64_t v, int64_t scale);
/* All lines of a histogram whose values count in units of 1/scale. */
void metrics_hist(struct metrics_out *o, const struct metrics_label *l, size_t n, const struct hist_view *v,
                  int64_t scale);
int metrics_error(const struct metrics_out *o) BIDE_MUST_USE;

#endif
