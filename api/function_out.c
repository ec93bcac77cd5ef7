#include "function_out.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "names.h"

static void put_state(struct json_out *o, const struct function *f)
{
    static const char *const states[] = {"Pending", "Active", "Failed"};
    out_str(o, "State", states[f->state]);
    if (f->state == FUNCTION_PENDING) {
        out_str(o, "StateReason", "The function is being created.");
        out_str(o, "StateReasonCode", "Creating");
        return; /* and no LastUpdateStatus before the first one is over */
    }
    if (f->state == FUNCTION_FAILED) {
        out_str(o, "StateReason", f->state_reason);
        out_str(o, "StateReasonCode", "InternalError");
    }
    if (f->update == UPDATE_IN_PROGRESS) {
        out_str(o, "LastUpdateStatus", "InProgress");
        out_str(o, "LastUpdateStatusReason", "The function is being created.");
        out_str(o, "LastUpdateStatusReasonCode", "Creating");
    } else if (f->update == UPDATE_FAILED || f->state == FUNCTION_FAILED) {
        out_str(o, "LastUpdateStatus", "Failed");
        out_str(o, "LastUpdateStatusReason", f->state_reason);
        out_str(o, "LastUpdateStatusReasonCode", "InternalError");
    } else {
        out_str(o, "LastUpdateStatus", "Successful");
    }
}

/* Lambda's names a build of the runtime; ours stands for the runtime's name. */
static void put_runtime_version(struct json_out *o, const struct function *f, const char *region)
{
    uint8_t digest[SHA256_LEN];
    char hex[SHA256_HEX_LEN + 1], arn[192];
    sha256_sum(f->runtime, strlen(f->runtime), digest);
    hex_encode(digest, sizeof(digest), hex);
    (void)snprintf(arn, sizeof(arn), "arn:aws:lambda:%s::runtime:%s", region, hex);
    out_begin(o, "RuntimeVersionConfig", '{');
    out_str(o, "RuntimeVersionArn", arn);
    out_end(o, '}');
}

static void put_code_hash(struct json_out *o, const struct function *f)
{
    uint8_t digest[SHA256_LEN];
    struct buf b;
    buf_init(&b, 64);
    if (hex_decode(f->code_sha256, SHA256_HEX_LEN, digest) == 0 && base64_encode(digest, sizeof(digest), &b) == 0)
        out_strn(o, "CodeSha256", b.data, b.len);
    buf_done(&b);
}

static void put_pairs(struct json_out *o, const char *key, const struct pair *v, size_t n)
{
    out_begin(o, key, '{');
    for (size_t i = 0; i < n; i++)
        out_str(o, v[i].key, v[i].value);
    out_end(o, '}');
}

void function_out_events(struct json_out *o, const char *key, const struct queue_function_stats *st)
{
    out_begin(o, key, '{');
    out_uint(o, "queued", st->queued);
    out_uint(o, "running", st->running);
    out_uint(o, "waiting", st->waiting);
    out_uint(o, "dead", st->dead);
    out_end(o, '}');
}

static void put_word(struct json_out *o, const char *key, const char *member, const char *word)
{
    out_begin(o, key, '{');
    out_str(o, member, word);
    out_end(o, '}');
}

void function_out_config(struct json_out *o, const char *key, const struct function *f, const struct function_out *how)
{
    char arn[ARN_MAX], time[CLOCK_ISO_LEN], group[FUNCTION_NAME_MAX + 16];
    arn_format(how->region, how->account, f->name, how->qualifier, arn);
    clock_format_lambda(f->modified_at_ms, time);
    (void)snprintf(group, sizeof(group), "/aws/lambda/%s", f->name);
    out_begin(o, key, '{');
    out_str(o, "FunctionName", f->name);
    out_str(o, "FunctionArn", arn);
    out_str(o, "Runtime", f->runtime);
    out_str(o, "Role", f->role);
    out_str(o, "Handler", f->handler);
    out_int(o, "CodeSize", f->code_size);
    out_str(o, "Description", f->description);
    out_int(o, "Timeout", f->timeout_s);
    out_int(o, "MemorySize", f->memory_mb);
    out_str(o, "LastModified", time);
    put_code_hash(o, f);
    out_str(o, "Version", "$LATEST");
    if (f->has_env) {
        out_begin(o, "Environment", '{');
        put_pairs(o, "Variables", f->env, f->n_env);
        out_end(o, '}');
    }
    put_word(o, "TracingConfig", "Mode", "PassThrough");
    out_str(o, "RevisionId", f->revision_id);
    if (!how->listed)
        put_state(o, f);
    out_str(o, "PackageType", "Zip");
    out_begin(o, "Architectures", '[');
    out_str(o, NULL, f->architecture);
    out_end(o, ']');
    out_begin(o, "EphemeralStorage", '{');
    out_int(o, "Size", f->tmp_mb);
    out_end(o, '}');
    out_begin(o, "SnapStart", '{');
    out_str(o, "ApplyOn", "None");
    out_str(o, "OptimizationStatus", "Off");
    out_end(o, '}');
    if (!how->listed)
        put_runtime_version(o, f, how->region);
    out_begin(o, "LoggingConfig", '{');
    out_str(o, "LogFormat", "Text");
    out_str(o, "LogGroup", group);
    out_end(o, '}');
    if (how->stats) { /* members that Lambda has no word for */
        out_bool(o, "Paused", f->paused);
        function_out_events(o, "Events", how->stats);
    }
    out_end(o, '}');
}

void function_out_concurrency(struct json_out *o, const char *key, const struct function *f)
{
    out_begin(o, key, '{');
    if (f->reserved >= 0)
        out_int(o, "ReservedConcurrentExecutions", f->reserved);
    out_end(o, '}');
}

void function_out_invoke_config(struct json_out *o, const char *key, const struct function *f,
                                const struct function_out *how)
{
    char arn[ARN_MAX];
    arn_format(how->region, how->account, f->name, "$LATEST", arn);
    out_begin(o, key, '{');
    out_seconds(o, "LastModified", f->async.modified_at_ms);
    out_str(o, "FunctionArn", arn);
    if (f->async.max_retries >= 0)
        out_int(o, "MaximumRetryAttempts", f->async.max_retries);
    if (f->async.max_age_s >= 0)
        out_int(o, "MaximumEventAgeInSeconds", f->async.max_age_s);
    out_begin(o, "DestinationConfig", '{');
    out_begin(o, "OnSuccess", '{');
    out_end(o, '}');
    out_begin(o, "OnFailure", '{');
    out_end(o, '}');
    out_end(o, '}');
    out_end(o, '}');
}
