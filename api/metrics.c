#include "metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* docs/operations.md has a line for each; the documents' test compares them. */
static const struct metrics_row table[METRICS] = {
    [METRIC_BUILD_INFO] = {"bide_build_info", METRICS_GAUGE, "Always 1; the label is the version that runs."},
    [METRIC_RECOVERED] = {"bide_recovered_events", METRICS_GAUGE,
                          "Events that were running when the last bided ended, and were queued again by this one."},
    [METRIC_CLOCK_STEPS] = {"bide_clock_steps_total", METRICS_COUNTER,
                            "Times the real clock was seen to have been set forward by more than 10 s."},
    [METRIC_DEGRADATIONS] = {"bide_degradations", METRICS_GAUGE,
                             "Fences of the sandbox that this host cannot give; bide status names them."},

    [METRIC_EVENTS] = {"bide_events", METRICS_GAUGE, "Events by state, from the books."},
    [METRIC_ACCEPTED] = {"bide_events_accepted_total", METRICS_COUNTER,
                         "Events ever accepted, from the books: goes on after a restart."},
    [METRIC_REMOVED] = {"bide_events_removed_total", METRICS_COUNTER,
                        "Events ever removed by retention or by an operator, from the books: goes on after a restart."},

    [METRIC_FUNCTIONS] = {"bide_functions", METRICS_GAUGE, "Functions there are."},
    [METRIC_FUNCTIONS_LEFT_OUT] = {"bide_functions_left_out", METRICS_GAUGE,
                                   "Functions without series of their own, because there are too many."},
    [METRIC_FUNCTION_EVENTS] = {"bide_function_events", METRICS_GAUGE, "Events of a function by state."},
    [METRIC_FUNCTION_HELD] = {"bide_function_held_events", METRICS_GAUGE,
                              "Of the waiting events, those that are dead but for room in the dead-letter store."},
    [METRIC_FUNCTION_OLDEST] = {"bide_function_oldest_event_age_seconds", METRICS_GAUGE,
                                "Age of the oldest event that is queued or waiting; 0 without one."},
    [METRIC_FUNCTION_MAX_AGE] = {"bide_function_max_event_age_seconds", METRICS_GAUGE,
                                 "Age at which an event is given up (Lambda: MaximumEventAgeInSeconds)."},
    [METRIC_FUNCTION_RESERVED] = {"bide_function_reserved_concurrency", METRICS_GAUGE,
                                  "Reserved concurrency, of functions that have one."},
    [METRIC_FUNCTION_PAUSED] = {"bide_function_paused", METRICS_GAUGE, "1: no event of it is started."},
    [METRIC_FUNCTION_FAULT] = {"bide_function_fault", METRICS_GAUGE,
                               "1: its workers cannot be started now; bide status says why."},
    [METRIC_INVOCATIONS] = {"bide_invocations_total", METRICS_COUNTER,
                            "Runs that came to an end, well or not (Lambda: Invocations)."},
    [METRIC_ERRORS] = {"bide_errors_total", METRICS_COUNTER,
                       "Runs that ended in a function error, by outcome (Lambda: Errors)."},
    [METRIC_THROTTLES] = {"bide_throttles_total", METRICS_COUNTER,
                          "Synchronous calls refused for want of a slot (Lambda: Throttles)."},
    [METRIC_DURATION] = {"bide_duration_seconds", METRICS_HISTOGRAM,
                         "From the hand-over to the outcome of a run (Lambda: Duration)."},
    [METRIC_CONCURRENT] = {"bide_concurrent_executions", METRICS_GAUGE,
                           "Runs in progress (Lambda: ConcurrentExecutions)."},
    [METRIC_UNRESERVED_CONCURRENT] = {"bide_unreserved_concurrent_executions", METRICS_GAUGE,
                                      "Runs in progress of functions without reserved concurrency (Lambda: "
                                      "UnreservedConcurrentExecutions)."},
    [METRIC_ASYNC_RECEIVED] = {"bide_async_events_received_total", METRICS_COUNTER,
                               "Events accepted, replays included (Lambda: AsyncEventsReceived)."},
    [METRIC_ASYNC_AGE] = {"bide_async_event_age_seconds", METRICS_HISTOGRAM,
                          "From accepted to the start of a run, each run of an event (Lambda: AsyncEventAge)."},
    [METRIC_ASYNC_DROPPED] = {"bide_async_events_dropped_total", METRICS_COUNTER,
                              "Events that became dead letters, by condition (Lambda: AsyncEventsDropped)."},
    [METRIC_DISRUPTIONS] = {"bide_disruptions_total", METRICS_COUNTER, "Runs broken off by no fault of the function."},
    [METRIC_START_FAILURES] = {"bide_worker_start_failures_total", METRICS_COUNTER,
                               "Workers of a function that the platform could not start."},
    [METRIC_INIT_FAILURES] = {"bide_worker_init_failures_total", METRICS_COUNTER,
                              "Workers whose function failed to initialise."},

    [METRIC_ACCOUNT_CONCURRENCY] = {"bide_account_concurrency", METRICS_GAUGE,
                                    "Runs that all functions together may have (account.concurrency)."},
    [METRIC_QUEUE_WAIT] = {"bide_queue_wait_seconds", METRICS_HISTOGRAM,
                           "From an event being ready (accepted, or due again) to its hand-over to a worker."},
    [METRIC_WORKERS] = {"bide_workers", METRICS_GAUGE, "Workers by state."},
    [METRIC_WORKER_MEMORY] = {"bide_worker_memory_bytes", METRICS_GAUGE, "Sum of MemorySize of live workers."},
    [METRIC_WORKER_MEMORY_LIMIT] = {"bide_worker_memory_limit_bytes", METRICS_GAUGE,
                                    "What that sum may be (worker.memory)."},
    [METRIC_WORKER_START] = {"bide_worker_start_seconds", METRICS_HISTOGRAM,
                             "From the decision to start a worker to its runtime's first request for work."},

    [METRIC_HTTP_ANSWERS] = {"bide_http_answers_total", METRICS_COUNTER, "Requests answered, by class of status."},
    [METRIC_HTTP_REFUSALS] = {"bide_http_refusals_total", METRICS_COUNTER, "Requests refused, by reason."},
    [METRIC_HTTP_CONNECTIONS] = {"bide_http_connections", METRICS_GAUGE, "Open connections of the API."},
    [METRIC_HTTP_INFLIGHT] = {"bide_http_inflight_bytes", METRICS_GAUGE, "Request bodies held in memory."},
    [METRIC_ACCEPT] =
        {"bide_accept_seconds", METRICS_HISTOGRAM,
         "From the head of a request with an event, or with many, to its 202: all of it is on disk then."},

    [METRIC_STORE_FULL] = {"bide_store_full", METRICS_GAUGE, "1: new events are refused for want of room."},
    [METRIC_STORE_MAP] = {"bide_store_map_bytes", METRICS_GAUGE, "What the store may grow to (queue.max_bytes)."},
    [METRIC_STORE_MAP_USED] = {"bide_store_map_used_bytes", METRICS_GAUGE, "Of that, in use."},
    [METRIC_STORE_DISK_FREE] = {"bide_store_disk_free_bytes", METRICS_GAUGE, "Free space of the store's file system."},
    [METRIC_STORE_RESERVE] = {"bide_store_reserve_bytes", METRICS_GAUGE,
                              "Free room below which new events are refused (queue.reserve_bytes)."},
    [METRIC_STORE_COMMIT] = {"bide_store_commit_seconds", METRICS_HISTOGRAM, "Duration of a commit, sync included."},
    [METRIC_STORE_COMMIT_OPS] = {"bide_store_commit_ops", METRICS_HISTOGRAM, "Changes in one commit."},
    [METRIC_STORE_OPS_FAILED] = {"bide_store_ops_failed_total", METRICS_COUNTER,
                                 "Changes not made: refused, late or not storable."},

    [METRIC_DLQ_LETTERS] = {"bide_dlq_letters", METRICS_GAUGE, "Dead letters kept, by whether they were replayed."},
    [METRIC_DLQ_BYTES] = {"bide_dlq_bytes", METRICS_GAUGE, "Size of the dead letters kept."},
    [METRIC_DLQ_MAX_BYTES] = {"bide_dlq_max_bytes", METRICS_GAUGE, "What that may grow to (dlq.max_bytes)."},
    [METRIC_DLQ_FULL] = {"bide_dlq_full", METRICS_GAUGE, "1: events that should die stay waiting for want of room."},

    [METRIC_LOG_BYTES] = {"bide_log_bytes", METRICS_GAUGE, "Size of the functions' logs on disk."},
    [METRIC_LOG_WRITTEN] = {"bide_log_written_bytes_total", METRICS_COUNTER, "Bytes written to the functions' logs."},
    [METRIC_LOG_DROPPED] = {"bide_log_dropped_bytes_total", METRICS_COUNTER,
                            "Bytes left out of the functions' logs: over a rate, or no room on their way."},
    [METRIC_LOG_LOST] = {"bide_log_lost_bytes_total", METRICS_COUNTER, "Bytes that the logs' disk would not take."},
    [METRIC_LOG_STOPPED] = {"bide_log_stopped", METRICS_GAUGE,
                            "1: functions' logs are not written now; bide status says why."},

    [METRIC_PROCESS_START] = {"process_start_time_seconds", METRICS_GAUGE, "Start, in seconds since the epoch."},
    [METRIC_PROCESS_CPU] = {"process_cpu_seconds_total", METRICS_COUNTER, "User and system time."},
    [METRIC_PROCESS_RESIDENT] = {"process_resident_memory_bytes", METRICS_GAUGE,
                                 "Resident memory, pages of the store's map included."},
    [METRIC_PROCESS_ANON] = {"process_anonymous_memory_bytes", METRICS_GAUGE,
                             "Resident memory that is the process's own (RssAnon)."},
    [METRIC_PROCESS_VIRTUAL] = {"process_virtual_memory_bytes", METRICS_GAUGE,
                                "Address space, the store's whole map included."},
    [METRIC_PROCESS_THREADS] = {"process_threads", METRICS_GAUGE, "Threads."},
    [METRIC_PROCESS_FDS] = {"process_open_fds", METRICS_GAUGE, "Open descriptors, where they may be counted."},
    [METRIC_PROCESS_MAX_FDS] = {"process_max_fds", METRICS_GAUGE, "Descriptors the engine may have open."},
};

const struct metrics_row *metrics_row(enum metric m)
{
    return &table[m];
}

void metrics_init(struct metrics_out *o, struct buf *b)
{
    *o = (struct metrics_out){.b = b};
}

int metrics_error(const struct metrics_out *o)
{
    return o->error;
}

static void stick(struct metrics_out *o, int rc)
{
    if (o->error == 0)
        o->error = rc;
}

static void puts_out(struct metrics_out *o, const char *s)
{
    stick(o, buf_puts(o->b, s));
}

void metrics_family(struct metrics_out *o, enum metric m)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    o->row = &table[m];
    stick(o, buf_printf(o->b, "# HELP %s %s\n# TYPE %s %s\n", o->row->name, o->row->help, o->row->name,
                        kinds[o->row->kind]));
}

/* Backslash, quote and line feed are escaped; that is all the format asks for. */
static void put_value(struct metrics_out *o, const char *v)
{
    for (; *v != '\0'; v++) {
        size_t plain = strcspn(v, "\\\"\n");
        stick(o, buf_append(o->b, v, plain));
        v += plain;
        if (*v == '\0')
            return;
        puts_out(o, *v == '\n' ? "\\n" : *v == '"' ? "\\\"" : "\\\\");
    }
}

static void put_decimal(struct metrics_out *o, int64_t v, int64_t scale)
{
    char text[48];
    uint64_t abs = v < 0 ? 0 - (uint64_t)v : (uint64_t)v, unit = (uint64_t)scale;
    int digits = 0;
    for (int64_t s = scale; s > 1; s /= 10)
        digits++;
    int n = snprintf(text, sizeof(text), "%s%" PRIu64 ".%0*" PRIu64, v < 0 ? "-" : "", abs / unit, digits, abs % unit);
    while (n > 0 && text[n - 1] == '0')
        n--;
    if (text[n - 1] == '.')
        n--;
    stick(o, buf_append(o->b, text, (size_t)n));
}

/* Name, ending and labels; le of a bucket comes last. NULL bounds: no le; scale 0: +Inf. */
static void put_name(struct metrics_out *o, const char *ending, const struct metrics_label *l, size_t n,
                     const int64_t *bound, int64_t scale)
{
    puts_out(o, o->row->name);
    puts_out(o, ending);
    for (size_t i = 0; i < n; i++) {
        puts_out(o, i == 0 ? "{" : ",");
        puts_out(o, l[i].name);
        puts_out(o, "=\"");
        put_value(o, l[i].value);
        puts_out(o, "\"");
    }
    if (bound != NULL) {
        puts_out(o, n == 0 ? "{le=\"" : ",le=\"");
        if (scale == 0)
            puts_out(o, "+Inf");
        else
            put_decimal(o, *bound, scale);
        puts_out(o, "\"");
    }
    puts_out(o, n > 0 || bound != NULL ? "} " : " ");
}

void metrics_uint(struct metrics_out *o, const struct metrics_label *l, size_t n, uint64_t v)
{
    put_name(o, "", l, n, NULL, 0);
    stick(o, buf_printf(o->b, "%" PRIu64 "\n", v));
}

void metrics_scaled(struct metrics_out *o, const struct metrics_label *l, size_t n, int64_t v, int64_t scale)
{
    put_name(o, "", l, n, NULL, 0);
    put_decimal(o, v, scale);
    puts_out(o, "\n");
}

void metrics_hist(struct metrics_out *o, const struct metrics_label *l, size_t n, const struct hist_view *v,
                  int64_t scale)
{
    static const int64_t infinite = 0;
    for (size_t i = 0; i < v->scale->n; i++) {
        put_name(o, "_bucket", l, n, &v->scale->at[i], scale);
        stick(o, buf_printf(o->b, "%" PRIu64 "\n", v->upto[i]));
    }
    put_name(o, "_bucket", l, n, &infinite, 0);
    stick(o, buf_printf(o->b, "%" PRIu64 "\n", v->count));
    put_name(o, "_sum", l, n, NULL, 0);
    put_decimal(o, (int64_t)v->sum, scale);
    puts_out(o, "\n");
    put_name(o, "_count", l, n, NULL, 0);
    stick(o, buf_printf(o->b, "%" PRIu64 "\n", v->count));
}
