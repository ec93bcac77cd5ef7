/* The AWS CLI that is installed, as far as `bide env` must know it. */
#ifndef BIDE_AWSCLI_H
#define BIDE_AWSCLI_H

#include <stdbool.h>

struct awscli_version {
    int major, minor, patch;
};

/* Runs `aws --version` and reads what it prints, for at most limit_ms; whatever it started is killed then. False: none
 * is installed, or it did not answer in time, or not with a version. */
bool awscli_find(struct awscli_version *ret, int limit_ms);

/* Whether it honours AWS_ENDPOINT_URL_LAMBDA: 2.13 and 1.29.80 on. */
bool awscli_honours_endpoint(const struct awscli_version *v);

#endif
