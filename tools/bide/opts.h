/* The frame of the command line: finds the verb in the table (cmd.c), takes the options that every verb has, before or
 * after it, and the verb's own.
 */
#ifndef BIDE_OPTS_H
#define BIDE_OPTS_H

#include "cmd.h"

/* What every verb takes: --data, --endpoint, --json, --version, --help. Ended by a row without a name. */
extern const struct opt common_opts[];

enum wish { WISH_RUN, WISH_HELP, WISH_VERSION, WISH_USAGE };

/* argv without the program's name into *c, which the caller has zeroed. *ret_topic: with WISH_HELP, the first word of a
 * group of verbs when one was named and no verb, or NULL. WISH_USAGE: it was said on stderr what is wrong. */
enum wish opts_parse(struct call *c, int argc, char **argv, const char **ret_topic);

/* The verb whose name is the one or two words, or NULL. `ls` is what a group means when nothing follows it. */
const struct cmd *opts_find(const char *first, const char *second);
bool opts_is_group(const char *word);

#endif
