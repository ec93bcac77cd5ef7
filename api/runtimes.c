#include "runtimes.h"

#include <stdio.h>
#include <string.h>

static const char *const creatable[] = {
    "nodejs16.x", "nodejs18.x", "nodejs20.x",   "nodejs22.x",      "nodejs24.x", "python3.8", "python3.9",
    "python3.10", "python3.11", "python3.12",   "python3.13",      "python3.14", "java8.al2", "java11",
    "java17",     "java21",     "java25",       "dotnet6",         "dotnet8",    "dotnet10",  "ruby3.2",
    "ruby3.3",    "ruby3.4",    "provided.al2", "provided.al2023", "exec", /* ours: a program per event */
};

static const char *const retired[] = {
    "java8",          "go1.x",      "provided",      "ruby2.5",       "ruby2.7",       "nodejs",        "nodejs4.3",
    "nodejs4.3-edge", "nodejs6.10", "nodejs8.10",    "nodejs10.x",    "nodejs12.x",    "nodejs14.x",    "python2.7",
    "python3.6",      "python3.7",  "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "dotnet5.0",
};

static bool is_in(const char *const *v, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i], name) == 0)
            return true;
    return false;
}

int runtime_check_name(const char *name, int found, const char *why, struct fault *f)
{
    char list[512];
    size_t n = sizeof(creatable) / sizeof(creatable[0]), used = 0;
    if (is_in(retired, sizeof(retired) / sizeof(retired[0]), name))
        return fault_set(f, FAULT_INVALID_PARAMETER,
                         "The runtime parameter of %s is no longer supported for creating or updating AWS Lambda "
                         "functions. We recommend you use a supported runtime while creating or updating functions.",
                         name);
    if (found == 0)
        return 0;
    if (found != ERR_NOTFOUND || is_in(creatable, n, name))
        return fault_set(f, FAULT_INVALID_PARAMETER, "%s", why);
    for (size_t i = 0; i < n; i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", creatable[i]);
    return fault_set(f, FAULT_INVALID_PARAMETER,
                     "Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [%s] or "
                     "be a valid ARN",
                     name, list);
}
