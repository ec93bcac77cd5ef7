#include "route.h"

#include <string.h>

#include "uri.h"

/* Invocations first: they are what most requests are. */
static const struct route table[] = {
    {HTTP1_POST, "/2015-03-31/functions/{}/invocations", invoke_handle, ROUTE_PAYLOAD, "Invoke"},
    {HTTP1_POST, "/bide/v1/functions/{}/events", bide_events_accept, ROUTE_EVENTS, "AcceptEvents"},
    {HTTP1_POST, "/2015-03-31/functions", function_create, ROUTE_CODE, "CreateFunction"},
    {HTTP1_GET, "/2015-03-31/functions", function_list, 0, "ListFunctions"},
    {HTTP1_GET, "/2015-03-31/functions/{}", function_get, 0, "GetFunction"},
    {HTTP1_DELETE, "/2015-03-31/functions/{}", function_delete, 0, "DeleteFunction"},
    {HTTP1_GET, "/2015-03-31/functions/{}/configuration", function_get_config, 0, "GetFunctionConfiguration"},
    {HTTP1_PUT, "/2015-03-31/functions/{}/configuration", function_update_config, 0, "UpdateFunctionConfiguration"},
    {HTTP1_PUT, "/2015-03-31/functions/{}/code", function_update_code, ROUTE_CODE, "UpdateFunctionCode"},
    {HTTP1_PUT, "/2017-10-31/functions/{}/concurrency", concurrency_put, 0, "PutFunctionConcurrency"},
    {HTTP1_DELETE, "/2017-10-31/functions/{}/concurrency", concurrency_delete, 0, "DeleteFunctionConcurrency"},
    {HTTP1_GET, "/2019-09-30/functions/{}/concurrency", concurrency_get, 0, "GetFunctionConcurrency"},
    {HTTP1_PUT, "/2019-09-25/functions/{}/event-invoke-config", event_config_put, 0, "PutFunctionEventInvokeConfig"},
    {HTTP1_POST, "/2019-09-25/functions/{}/event-invoke-config", event_config_update, 0,
     "UpdateFunctionEventInvokeConfig"},
    {HTTP1_GET, "/2019-09-25/functions/{}/event-invoke-config", event_config_get, 0, "GetFunctionEventInvokeConfig"},
    {HTTP1_DELETE, "/2019-09-25/functions/{}/event-invoke-config", event_config_delete, 0,
     "DeleteFunctionEventInvokeConfig"},
    {HTTP1_GET, "/2019-09-25/functions/{}/event-invoke-config/list", event_config_list, 0,
     "ListFunctionEventInvokeConfigs"},
    {HTTP1_GET, "/2016-08-19/account-settings", account_get, 0, "GetAccountSettings"},
    {HTTP1_GET, "/health", health_get, ROUTE_OPEN, "Health"},
    {HTTP1_GET, "/metrics", bide_metrics, ROUTE_LOCAL, "Metrics"},
    {HTTP1_GET, "/bide/v1/status", bide_status, 0, "Status"},
    {HTTP1_GET, "/bide/v1/code/{}", location_get_code, 0, "GetCode"},
    {HTTP1_GET, "/bide/v1/functions/{}/logs", bide_logs_read, 0, "ReadLogs"},
    {HTTP1_GET, "/bide/v1/functions/{}/books", bide_function_books, 0, "FunctionBooks"},
    {HTTP1_GET, "/bide/v1/functions", bide_functions_list, 0, "ListFunctionsInDetail"},
    {HTTP1_POST, "/bide/v1/functions/{}/pause", bide_function_pause, 0, "PauseFunction"},
    {HTTP1_POST, "/bide/v1/functions/{}/resume", bide_function_resume, 0, "ResumeFunction"},
    {HTTP1_POST, "/bide/v1/functions/{}/purge", bide_function_purge, 0, "PurgeFunction"},
    {HTTP1_GET, "/bide/v1/events", bide_events_list, 0, "ListEvents"},
    {HTTP1_GET, "/bide/v1/events/{}", bide_events_get, 0, "GetEvent"},
    {HTTP1_POST, "/bide/v1/events/cancel", bide_events_cancel, 0, "CancelEvents"},
    {HTTP1_POST, "/bide/v1/events/retry", bide_events_retry, 0, "RetryEvents"},
    {HTTP1_GET, "/bide/v1/dlq", bide_dlq_list, 0, "ListDeadLetters"},
    {HTTP1_GET, "/bide/v1/dlq/export", bide_dlq_export, 0, "ExportDeadLetters"},
    {HTTP1_POST, "/bide/v1/dlq/import", bide_dlq_import, ROUTE_LETTERS, "ImportDeadLetters"},
    {HTTP1_GET, "/bide/v1/dlq/{}", bide_dlq_get, 0, "GetDeadLetter"},
    {HTTP1_POST, "/bide/v1/dlq/replay", bide_dlq_replay, 0, "ReplayDeadLetters"},
    {HTTP1_POST, "/bide/v1/dlq/rm", bide_dlq_remove, 0, "RemoveDeadLetters"},
    {HTTP1_POST, "/bide/v1/clock/advance", bide_clock_advance, 0, "AdvanceClock"},
    {HTTP1_GET, "/bide/v1/verify", bide_verify, 0, "Verify"},
    {HTTP1_GET, "/bide/v1/backup", bide_backup, 0, "Backup"},
};

/* Segment by segment; *ret is what {} took. */
static bool matches(const char *pattern, const char *p, size_t len, struct slice *ret)
{
    const char *end = p + len;
    *ret = (struct slice){NULL, 0};
    while (*pattern && p < end) {
        if (*pattern == '{') {
            const char *slash = memchr(p, '/', (size_t)(end - p));
            *ret = (struct slice){p, (size_t)((slash ? slash : end) - p)};
            if (ret->len == 0)
                return false;
            p += ret->len;
            pattern += 2;
        } else if (*pattern++ != *p++) {
            return false;
        }
    }
    return *pattern == '\0' && p == end;
}

const struct route *route_find(enum http1_method method, struct slice path, char arg[SEGMENT_MAX + 1], int *ret_err)
{
    size_t len = path.len;
    struct slice got;
    *ret_err = 0;
    if (method == HTTP1_HEAD)
        method = HTTP1_GET;
    if (len > 1 && ((const char *)path.p)[len - 1] == '/')
        len--; /* SDKs differ about the slash at the end */
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (table[i].method != method || !matches(table[i].pattern, path.p, len, &got))
            continue;
        arg[0] = '\0';
        if (got.p)
            *ret_err = uri_decode(got.p, got.len, arg, SEGMENT_MAX + 1);
        return &table[i];
    }
    return NULL;
}
