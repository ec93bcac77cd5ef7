#include "function_in.h"

#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "names.h"

enum {
    ENV_JSON_MAX = 4096,
    TAG_KEY_MAX = 128,
    TAG_VALUE_MAX = 256,
    CREATE_ARN_MAX = 140,
};

const char *machine_architecture(void)
{
    static const char x86[] = "x86_64", arm[] = "arm64";
    struct utsname u;
    return uname(&u) == 0 && strcmp(u.machine, "aarch64") == 0 ? arm : x86;
}

/* --- the model's constraints ----- */

static bool has_space(const char *s)
{
    return s[strcspn(s, " \t\r\n\v\f")] != '\0';
}

static void check_name_member(struct function_in *f, struct check *c)
{
    struct name n;
    f->name = json_in_str(&f->doc, f->doc.root, "FunctionName");
    check_present(c, "functionName", f->name != NULL);
    if (!f->name)
        return;
    check_pattern(c, "functionName", f->name, name_parse(f->name, NAME_CREATE, &n) != ERR_INVALID, NAME_PATTERN_CREATE);
    if (strchr(f->name, ':'))
        check_length(c, "functionName", f->name, 1, CREATE_ARN_MAX);
}

static void check_texts(struct function_in *f, struct check *c)
{
    struct function_spec *s = &f->spec;
    if (s->role)
        check_pattern(c, "role", s->role, role_valid(s->role), ROLE_PATTERN);
    if (s->handler) {
        check_length(c, "handler", s->handler, 0, FUNCTION_HANDLER_MAX);
        check_pattern(c, "handler", s->handler, *s->handler && !has_space(s->handler), "[^\\s]+");
    }
    if (s->description)
        check_length(c, "description", s->description, 0, FUNCTION_DESCRIPTION_MAX);
}

static void read_number(struct function_in *f, struct check *c, const json_t *o, const char *key, const char *member,
                        int64_t min, int64_t max, int32_t *ret)
{
    int64_t v;
    *ret = -1;
    if (!json_in_int(&f->doc, o, key, &v))
        return;
    check_range(c, member, v, min, max);
    if (v >= min && v <= max)
        *ret = (int32_t)v;
}

/* A member that must be one of a few words. Its value, or NULL. */
static const char *read_word(struct function_in *f, struct check *c, const json_t *o, const char *key,
                             const char *member, const char *a, const char *b, const char *shown)
{
    const char *v = json_in_str(&f->doc, o, key);
    if (v)
        check_enum(c, member, v, strcmp(v, a) == 0 || strcmp(v, b) == 0, shown);
    return v;
}

static bool env_key_valid(const char *k)
{
    size_t n = strspn(k, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
    return n >= 2 && k[n] == '\0' && *k != '_' && (*k < '0' || *k > '9');
}

/* A map of strings into malloc'ed pairs. */
static struct pair *read_pairs(struct function_in *f, const json_t *o, const char *member, size_t *ret_n)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    *ret_n = 0;
    struct pair *v = calloc(json_object_size(o) + 1, sizeof(*v));
    if (!v)
        return NULL;
    json_object_foreach((json_t *)(uintptr_t)o, key, value)
    {
        const char *text = json_string_value(value);
        if (!text) {
            if (f->doc.type.code == 0)
                (void)err_set(&f->doc.type, ERR_INVALID, "%s.%s must be a string", member, key);
            continue;
        }
        v[n++] = (struct pair){key, text};
    }
    *ret_n = n;
    return v;
}

static int read_env(struct function_in *f, struct check *c)
{
    const json_t *env = json_in_object(&f->doc, f->doc.root, "Environment");
    const json_t *vars = json_in_object(&f->doc, env, "Variables");
    f->spec.env_given = env != NULL;
    if (!vars)
        return 0;
    f->env = read_pairs(f, vars, "Environment.Variables", &f->spec.n_env);
    if (!f->env)
        return ERR_NOMEM;
    f->spec.env = f->env;
    for (size_t i = 0; i < f->spec.n_env; i++)
        check_other(c, "environment.variables", f->env[i].key, env_key_valid(f->env[i].key),
                    "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: "
                    "[a-zA-Z]([a-zA-Z0-9_])+]");
    return 0;
}

static int read_tags(struct function_in *f, struct check *c)
{
    const json_t *tags = json_in_object(&f->doc, f->doc.root, "Tags");
    if (!tags)
        return 0;
    f->tags = read_pairs(f, tags, "Tags", &f->spec.n_tags);
    if (!f->tags)
        return ERR_NOMEM;
    f->spec.tags = f->tags;
    for (size_t i = 0; i < f->spec.n_tags; i++) {
        check_length(c, "tags", f->tags[i].key, 1, TAG_KEY_MAX);
        check_length(c, "tags", f->tags[i].value, 0, TAG_VALUE_MAX);
    }
    return 0;
}

static void read_architectures(struct function_in *f, struct check *c)
{
    const json_t *list = json_in_array(&f->doc, f->doc.root, "Architectures");
    char shown[128] = "[";
    if (!list)
        return;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *a = json_string_value(json_array_get(list, i));
        if (strlen(shown) + (a ? strlen(a) : 0) + 4 < sizeof(shown)) {
            strcat(shown, i ? ", " : "");
            strcat(shown, a ? a : "null");
        }
        check_other(c, "architectures", a ? a : "null", a && (strcmp(a, "x86_64") == 0 || strcmp(a, "arm64") == 0),
                    "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], Member must "
                    "not be null]");
        f->spec.architecture = a;
    }
    strcat(shown, "]");
    size_t n = json_array_size(list);
    check_other(c, "architectures", shown, n <= 1, "Member must have length less than or equal to 1");
    check_other(c, "architectures", shown, n >= 1, "Member must have length greater than or equal to 1");
}

static int read_config(struct function_in *f, struct check *c)
{
    const json_t *root = f->doc.root;
    struct function_spec *s = &f->spec;
    s->runtime = json_in_str(&f->doc, root, "Runtime");
    s->role = json_in_str(&f->doc, root, "Role");
    s->handler = json_in_str(&f->doc, root, "Handler");
    s->description = json_in_str(&f->doc, root, "Description");
    check_texts(f, c);
    read_number(f, c, root, "Timeout", "timeout", 1, 900, &s->timeout_s);
    read_number(f, c, root, "MemorySize", "memorySize", 128, 10240, &s->memory_mb);
    read_number(f, c, json_in_object(&f->doc, root, "EphemeralStorage"), "Size", "ephemeralStorage.size", 512, 10240,
                &s->tmp_mb);
    return read_env(f, c);
}

/* --- what bide cannot honour ----- */

static int refuse(struct fault *f, const char *member, const char *why)
{
    return fault_set(f, FAULT_INVALID_PARAMETER, "%s is not supported by bide: %s", member, why);
}

static bool is_filled(const json_t *v)
{
    return json_is_string(v)  ? json_string_length(v) > 0
           : json_is_array(v) ? json_array_size(v) > 0
                              : json_is_object(v) && json_object_size(v) > 0;
}

static int check_plain_members(const json_t *root, struct fault *fault)
{
    static const struct {
        const char *member;
        const char *why;
    } rows[] = {
        {"Layers", "layers are not there yet; put the files into the package"},
        {"FileSystemConfigs", "there are no network file systems to mount"},
        {"ImageConfig", "container images are not run; send a zip package"},
        {"KMSKeyArn", "there is no key service to encrypt with"},
        {"CodeSigningConfigArn", "signed packages are not verified"},
        {"DurableConfig", "durable functions are not there"},
        {"CapacityProviderConfig", "functions run on this machine only"},
        {"TenancyConfig", "workers are not kept apart by tenant"},
        {"PublishTo", "versions are not there yet"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (is_filled(json_object_get(root, rows[i].member)))
            return refuse(fault, rows[i].member, rows[i].why);
    return 0;
}

static int check_logging(struct function_in *f, struct check *c, const char *name, struct fault *fault)
{
    const json_t *log = json_in_object(&f->doc, f->doc.root, "LoggingConfig");
    const char *format = read_word(f, c, log, "LogFormat", "loggingConfig.logFormat", "Text", "JSON", "JSON, Text");
    const char *group = json_in_str(&f->doc, log, "LogGroup");
    bool levels = json_in_str(&f->doc, log, "ApplicationLogLevel") || json_in_str(&f->doc, log, "SystemLogLevel");
    if (check_failed(c))
        return 0; /* told first */
    if (format && strcmp(format, "JSON") == 0)
        return refuse(fault, "LoggingConfig.LogFormat JSON", "a function's log is kept as the text it writes");
    if (levels)
        return fault_set(
            fault, FAULT_INVALID_PARAMETER,
            "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request "
            "or change the LogFormat to \"JSON\" and try again.");
    if (group && *group && (strncmp(group, "/aws/lambda/", 12) != 0 || strcmp(group + 12, name) != 0))
        return refuse(fault, "LoggingConfig.LogGroup", "a function's log has one place, named after the function");
    return 0;
}

static int check_honoured(struct function_in *f, struct check *c, const char *name, struct fault *fault)
{
    const json_t *root = f->doc.root;
    const json_t *vpc = json_in_object(&f->doc, root, "VpcConfig");
    const char *dlq = json_in_str(&f->doc, json_in_object(&f->doc, root, "DeadLetterConfig"), "TargetArn");
    const char *snap = read_word(f, c, json_in_object(&f->doc, root, "SnapStart"), "ApplyOn", "snapStart.applyOn",
                                 "None", "PublishedVersions", "PublishedVersions, None");
    const char *trace = read_word(f, c, json_in_object(&f->doc, root, "TracingConfig"), "Mode", "tracingConfig.mode",
                                  "Active", "PassThrough", "Active, PassThrough");
    int r = check_logging(f, c, name, fault);
    if (r < 0 || check_failed(c))
        return r;
    if (is_filled(json_object_get(vpc, "SubnetIds")) || is_filled(json_object_get(vpc, "SecurityGroupIds")))
        return refuse(fault, "VpcConfig", "a worker's network is set by the profile of its role");
    if (dlq && *dlq)
        return refuse(fault, "DeadLetterConfig.TargetArn",
                      "events that fail for good are kept in bide's own dead-letter store");
    if (snap && strcmp(snap, "None") != 0)
        return refuse(fault, "SnapStart.ApplyOn PublishedVersions", "workers are not snapshotted");
    if (trace && strcmp(trace, "Active") == 0)
        return refuse(fault, "TracingConfig.Mode Active", "there is no trace collector");
    return check_plain_members(root, fault);
}

/* --- the environment's own rules (Lambda: 3.2) ----- */

static bool is_reserved_key(const char *k)
{
    static const char *const keys[] = {
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (strcmp(k, keys[i]) == 0)
            return true;
    return false;
}

static int check_env(struct function_in *f, struct fault *fault)
{
    const json_t *vars = json_object_get(json_object_get(f->doc.root, "Environment"), "Variables");
    char used[512] = "";
    for (size_t i = 0; i < f->spec.n_env; i++) {
        const char *k = f->env[i].key;
        if (is_reserved_key(k) && strlen(used) + strlen(k) + 3 < sizeof(used)) {
            strcat(used, *used ? ", " : "");
            strcat(used, k);
        }
    }
    if (*used)
        return fault_set(
            fault, FAULT_INVALID_PARAMETER,
            "Lambda was unable to configure your environment variables because the environment variables you "
            "have provided contains reserved keys that are currently not supported for modification. "
            "Reserved keys used in this request: %s",
            used);
    char *text = f->spec.n_env ? json_dumps(vars, JSON_COMPACT) : NULL;
    if (text && strlen(text) > ENV_JSON_MAX)
        (void)fault_set(
            fault, FAULT_INVALID_PARAMETER,
            "Lambda was unable to configure your environment variables because the environment variables you "
            "have provided exceeded the 4KB limit. String measured: %s",
            text);
    free(text);
    return fault->type == FAULT_NONE ? 0 : ERR_INVALID;
}

/* --- the three documents ----- */

static int read_code(struct function_in *f, const json_t *code, struct fault *fault)
{
    if (is_filled(json_object_get(code, "ImageUri")))
        return refuse(fault, "ImageUri", "container images are not run; send a zip package as ZipFile");
    if (is_filled(json_object_get(code, "S3Bucket")) || is_filled(json_object_get(code, "S3Key")))
        return refuse(fault, "S3Bucket", "there is no S3 to fetch from; send the package as ZipFile");
    if (is_filled(json_object_get(code, "SourceKMSKeyArn")))
        return refuse(fault, "SourceKMSKeyArn", "there is no key service to encrypt with");
    f->zip = json_in_strn(&f->doc, code, "ZipFile", &f->zip_len);
    if (!f->zip && f->doc.type.code == 0)
        return fault_set(fault, FAULT_INVALID_PARAMETER, "Please provide a source for function code.");
    return 0;
}

static int check_publish(struct function_in *f, struct fault *fault)
{
    bool publish = false;
    (void)json_in_bool(&f->doc, f->doc.root, "Publish", &publish);
    return publish ? refuse(fault, "Publish", "versions are not there yet; $LATEST is what runs") : 0;
}

static int check_create(struct function_in *f, const char *package, struct fault *fault)
{
    struct function_spec *s = &f->spec;
    if (package && strcmp(package, "Image") == 0)
        return refuse(fault, "PackageType Image", "container images are not run; send a zip package");
    if (!s->runtime)
        return fault_set(fault, FAULT_INVALID_PARAMETER,
                         "Runtime is mandatory parameter for functions created with deployment packages.");
    if (!s->handler)
        return fault_set(fault, FAULT_INVALID_PARAMETER,
                         "Handler is mandatory parameter for functions created with deployment packages.");
    if (s->n_tags > FUNCTION_TAGS_MAX)
        return fault_set(fault, FAULT_INVALID_PARAMETER, "Number of tags exceeds resource tag limit.");
    return 0;
}

static int check_limits(struct function_in *f, struct fault *fault)
{
    const struct function_spec *s = &f->spec;
    if (s->role && strlen(s->role) > FUNCTION_ROLE_MAX)
        return refuse(fault, "Role", "it is longer than 256 bytes");
    if (s->handler && strlen(s->handler) > FUNCTION_HANDLER_MAX)
        return refuse(fault, "Handler", "it is longer than 128 bytes");
    if (s->description && strlen(s->description) > FUNCTION_DESCRIPTION_MAX)
        return refuse(fault, "Description", "it is longer than 256 bytes");
    if (s->revision_id && strlen(s->revision_id) > ID_TEXT_LEN)
        return fault_set(
            fault, FAULT_PRECONDITION,
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias "
            "API to retrieve the latest Revision Id");
    if (s->architecture && strcmp(s->architecture, machine_architecture()) != 0)
        return fault_set(fault, FAULT_INVALID_PARAMETER,
                         "Architectures [%s] is not supported by bide: this machine is %s", s->architecture,
                         machine_architecture());
    return 0;
}

static int told(struct function_in *f, struct check *c, struct fault *fault)
{
    if (f->doc.type.code < 0)
        return fault_set(fault, FAULT_SERIALIZATION, "%s", f->doc.type.text);
    if (check_failed(c))
        return fault_set(fault, FAULT_VALIDATION, "%s", check_message(c));
    return 0;
}

int function_in_read(struct function_in *f, enum function_op op, const char *name, const void *body, size_t len,
                     struct check *c, struct fault *fault)
{
    struct err e;
    const char *package = NULL;
    const json_t *code = NULL;
    *f = (struct function_in){.spec = {.timeout_s = -1, .memory_mb = -1, .tmp_mb = -1}};
    if (json_in_parse(&f->doc, body, len, &e) < 0)
        return fault_set(fault, FAULT_INVALID_CONTENT, "Could not parse request body into json: %s", e.text);
    int r = 0;
    if (op == FUNCTION_CREATE) {
        check_name_member(f, c);
        package = read_word(f, c, f->doc.root, "PackageType", "packageType", "Zip", "Image", "Zip, Image");
        code = json_in_object(&f->doc, f->doc.root, "Code");
        check_present(c, "code", code != NULL);
        r = read_tags(f, c);
    } else {
        f->spec.revision_id = json_in_str(&f->doc, f->doc.root, "RevisionId");
    }
    if (r == 0 && op != FUNCTION_UPDATE_CODE)
        r = read_config(f, c);
    if (op == FUNCTION_CREATE)
        check_present(c, "role", f->spec.role != NULL);
    if (op != FUNCTION_UPDATE_CONFIG)
        read_architectures(f, c);
    if (op == FUNCTION_UPDATE_CODE)
        (void)json_in_bool(&f->doc, f->doc.root, "DryRun", &f->dry_run);
    if (r < 0)
        return fault_set(fault, FAULT_SERVICE, "out of memory");
    struct name n = {0};
    if (op == FUNCTION_CREATE && f->name && name_parse(f->name, NAME_CREATE, &n) == 0)
        name = n.name;
    r = op == FUNCTION_UPDATE_CODE ? 0 : check_honoured(f, c, name ? name : "", fault);
    if (f->doc.type.code < 0 || check_failed(c)) {
        fault_done(fault); /* the model's constraints are told before ours */
        return told(f, c, fault);
    }
    if (r == 0 && op == FUNCTION_CREATE)
        r = check_create(f, package, fault);
    if (r == 0)
        r = check_limits(f, fault);
    if (r == 0 && op != FUNCTION_UPDATE_CONFIG)
        r = check_publish(f, fault);
    if (r == 0)
        r = check_env(f, fault);
    if (r == 0 && op != FUNCTION_UPDATE_CONFIG)
        r = read_code(f, op == FUNCTION_CREATE ? code : f->doc.root, fault);
    return r == 0 ? told(f, c, fault) : r;
}

void function_in_done(struct function_in *f)
{
    json_in_done(&f->doc);
    free(f->env);
    free(f->tags);
    f->env = NULL;
    f->tags = NULL;
}
