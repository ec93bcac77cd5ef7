#include "function_out.h"

#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "names.h"

static void put_state(struct json_out *o, const struct function *f)
{
    static const char *const states[] = {"Pending", "Active", "Failed"};
    json_str(o, "State", states[f->state]);
    if (f->state == FUNCTION_PENDING) {
        json_str(o, "StateReason", "The function is being created.");
        json_str(o, "StateReasonCode", "Creating");
        return; /* and no LastUpdateStatus before the first one is over */
    }
    if (f->state == FUNCTION_FAILED) {
        json_str(o, "StateReason", f->state_reason);
        json_str(o, "StateReasonCode", "InternalError");
    }
    if (f->update == UPDATE_IN_PROGRESS) {
        json_str(o, "LastUpdateStatus", "InProgress");
        json_str(o, "LastUpdateStatusReason", "The function is being created.");
        json_str(o, "LastUpdateStatusReasonCode", "Creating");
    } else if (f->update == UPDATE_FAILED || f->state == FUNCTION_FAILED) {
        json_str(o, "LastUpdateStatus", "Failed");
        json_str(o, "LastUpdateStatusReason", f->state_reason);
        json_str(o, "LastUpdateStatusReasonCode", "InternalError");
    } else {
        json_str(o, "LastUpdateStatus", "Successful");
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
    json_begin(o, "RuntimeVersionConfig", '{');
    json_str(o, "RuntimeVersionArn", arn);
    json_end(o, '}');
}

static void put_code_hash(struct json_out *o, const struct function *f)
{
    uint8_t digest[SHA256_LEN];
    struct buf b;
    buf_init(&b, 64);
    if (hex_decode(f->code_sha256, SHA256_HEX_LEN, digest) == 0 && base64_encode(digest, sizeof(digest), &b) == 0)
        json_strn(o, "CodeSha256", b.data, b.len);
    buf_done(&b);
}

static void put_pairs(struct json_out *o, const char *key, const struct pair *v, size_t n)
{
    json_begin(o, key, '{');
    for (size_t i = 0; i < n; i++)
        json_str(o, v[i].key, v[i].value);
    json_end(o, '}');
}

static void put_word(struct json_out *o, const char *key, const char *member, const char *word)
{
    json_begin(o, key, '{');
    json_str(o, member, word);
    json_end(o, '}');
}

void function_out_config(struct json_out *o, const char *key, const struct function *f, const struct function_out *how)
{
    char arn[ARN_MAX], time[CLOCK_ISO_LEN], group[FUNCTION_NAME_MAX + 16];
    arn_format(how->region, how->account, f->name, how->qualifier, arn);
    clock_format_lambda(f->modified_at_ms, time);
    (void)snprintf(group, sizeof(group), "/aws/lambda/%s", f->name);
    json_begin(o, key, '{');
    json_str(o, "FunctionName", f->name);
    json_str(o, "FunctionArn", arn);
    json_str(o, "Runtime", f->runtime);
    json_str(o, "Role", f->role);
    json_str(o, "Handler", f->handler);
    json_int(o, "CodeSize", f->code_size);
    json_str(o, "Description", f->description);
    json_int(o, "Timeout", f->timeout_s);
    json_int(o, "MemorySize", f->memory_mb);
    json_str(o, "LastModified", time);
    put_code_hash(o, f);
    json_str(o, "Version", "$LATEST");
    if (f->has_env) {
        json_begin(o, "Environment", '{');
        put_pairs(o, "Variables", f->env, f->n_env);
        json_end(o, '}');
    }
    put_word(o, "TracingConfig", "Mode", "PassThrough");
    json_str(o, "RevisionId", f->revision_id);
    if (!how->listed)
        put_state(o, f);
    json_str(o, "PackageType", "Zip");
    json_begin(o, "Architectures", '[');
    json_str(o, NULL, f->architecture);
    json_end(o, ']');
    json_begin(o, "EphemeralStorage", '{');
    json_int(o, "Size", f->tmp_mb);
    json_end(o, '}');
    json_begin(o, "SnapStart", '{');
    json_str(o, "ApplyOn", "None");
    json_str(o, "OptimizationStatus", "Off");
    json_end(o, '}');
    if (!how->listed)
        put_runtime_version(o, f, how->region);
    json_begin(o, "LoggingConfig", '{');
    json_str(o, "LogFormat", "Text");
    json_str(o, "LogGroup", group);
    json_end(o, '}');
    json_end(o, '}');
}

void function_out_concurrency(struct json_out *o, const char *key, const struct function *f)
{
    json_begin(o, key, '{');
    if (f->reserved >= 0)
        json_int(o, "ReservedConcurrentExecutions", f->reserved);
    json_end(o, '}');
}

void function_out_invoke_config(struct json_out *o, const char *key, const struct function *f,
                                const struct function_out *how)
{
    char arn[ARN_MAX];
    arn_format(how->region, how->account, f->name, "$LATEST", arn);
    json_begin(o, key, '{');
    json_seconds(o, "LastModified", f->async.modified_at_ms);
    json_str(o, "FunctionArn", arn);
    if (f->async.max_retries >= 0)
        json_int(o, "MaximumRetryAttempts", f->async.max_retries);
    if (f->async.max_age_s >= 0)
        json_int(o, "MaximumEventAgeInSeconds", f->async.max_age_s);
    json_begin(o, "DestinationConfig", '{');
    json_begin(o, "OnSuccess", '{');
    json_end(o, '}');
    json_begin(o, "OnFailure", '{');
    json_end(o, '}');
    json_end(o, '}');
    json_end(o, '}');
}
