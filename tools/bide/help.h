/* What --help prints, made from the table of verbs. */
#ifndef BIDE_HELP_H
#define BIDE_HELP_H

#include <stdio.h>

#include "cmd.h"

void help_top(FILE *out);
void help_group(const char *word, FILE *out); /* "dlq": its verbs */
void help_verb(const struct cmd *cmd, FILE *out);

/* "--name VALUE" as help and manual write it; static storage. */
const char *help_option(const struct opt *o);

#endif
