#include "opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nearest.h"

enum { COMMON_DATA, COMMON_ENDPOINT, COMMON_JSON, COMMON_VERSION, COMMON_HELP };
const struct opt common_opts[] = {
    [COMMON_DATA] = {"data", "DIR",
                     "the daemon's data directory, whose socket is used (default $BIDE_DATA, then /var/lib/bide)"},
    [COMMON_ENDPOINT] = {"endpoint", "URL", "a daemon elsewhere; requests are signed with the AWS_* variables"},
    [COMMON_JSON] = {"json", NULL, "for programs: one JSON object per line"},
    [COMMON_VERSION] = {"version", NULL, "print the version"},
    [COMMON_HELP] = {"help", NULL, "what there is to say about bide or about a verb"},
    {0},
};

/* Where the parsing stands. */
struct words {
    char **argv;
    int argc, at;
    bool help, version;
};

enum taken { TAKEN, NOT_MINE, WRONG };

/* The text before '=' of "--name=value". */
static size_t name_len(const char *word)
{
    return strcspn(word, "=");
}

static const struct opt *find_opt(const struct opt *list, const char *word, size_t len)
{
    for (const struct opt *o = list; o->name != NULL; o++)
        if (strlen(o->name) == len && strncmp(o->name, word, len) == 0)
            return o;
    return NULL;
}

static int complain(const struct call *c, const char *text, const char *name, const char *more)
{
    if (c->cmd != NULL)
        return call_usage(c, "--%s %s%s", name, text, more);
    (void)fprintf(stderr, "bide: --%s %s%s\nTry: bide --help\n", name, text, more);
    return EXIT_USAGE;
}

/* "--name value", "--name=value" or "--flag" at w, when list has it: *ret_value is the value, "" for a flag. */
static enum taken take(const struct call *c, struct words *w, const struct opt *list, size_t *ret_row,
                       const char **ret_value)
{
    const char *word = w->argv[w->at] + 2;
    size_t len = name_len(word);
    const struct opt *o = find_opt(list, word, len);
    if (o == NULL)
        return NOT_MINE;
    *ret_row = (size_t)(o - list);
    *ret_value = word[len] == '=' ? word + len + 1 : "";
    w->at++;
    if (o->arg == NULL && word[len] == '=')
        return (void)complain(c, "takes no value", o->name, ""), WRONG;
    if (o->arg == NULL || word[len] == '=')
        return TAKEN;
    if (w->at == w->argc)
        return (void)complain(c, "needs a value: ", o->name, o->arg), WRONG;
    *ret_value = w->argv[w->at++];
    return TAKEN;
}

static enum taken take_common(struct call *c, struct words *w)
{
    size_t row;
    const char *value;
    if (strcmp(w->argv[w->at], "-h") == 0) {
        w->at++;
        w->help = true;
        return TAKEN;
    }
    if (strncmp(w->argv[w->at], "--", 2) != 0)
        return NOT_MINE;
    enum taken t = take(c, w, common_opts, &row, &value);
    if (t != TAKEN)
        return t;
    if (row == COMMON_DATA)
        c->data = value;
    else if (row == COMMON_ENDPOINT)
        c->endpoint = value;
    c->json |= row == COMMON_JSON;
    w->help |= row == COMMON_HELP;
    w->version |= row == COMMON_VERSION;
    return TAKEN;
}

/* --- options that are not there ----------------------------------------------------------------------------------- */

static void offer_all(struct nearest *n, const struct opt *list)
{
    for (const struct opt *o = list; o->name != NULL; o++)
        nearest_offer(n, o->name);
}

static int unknown_option(const struct call *c, const char *word)
{
    const char *name = word + strspn(word, "-");
    struct nearest n = {.typed = name, .len = name_len(name)};
    offer_all(&n, common_opts);
    if (c->cmd != NULL)
        offer_all(&n, c->cmd->opts);
    char hint[96] = "";
    if (n.word != NULL)
        (void)snprintf(hint, sizeof hint, "; did you mean --%s?", n.word);
    if (c->cmd != NULL)
        return call_usage(c, "there is no option %.*s%s", (int)(strcspn(word, "=")), word, hint);
    for (size_t i = 0; hint[0] == '\0' && i < n_cmds; i++)
        if (find_opt(cmds[i].opts, name, name_len(name)) != NULL)
            (void)snprintf(hint, sizeof hint, "; options of a verb are written after it: bide %s --%.*s", cmds[i].name,
                           (int)name_len(name) < 32 ? (int)name_len(name) : 32, name);
    (void)fprintf(stderr, "bide: there is no option %.*s%s\nTry: bide --help\n", (int)strcspn(word, "="), word, hint);
    return EXIT_USAGE;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

bool opts_is_group(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n_cmds; i++)
        if (strncmp(cmds[i].name, word, n) == 0 && cmds[i].name[n] == ' ')
            return true;
    return false;
}

const struct cmd *opts_find(const char *first, const char *second)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%.31s%s%.31s", first, second != NULL ? " " : "", second != NULL ? second : "");
    for (size_t i = 0; i < n_cmds; i++)
        if (strcmp(cmds[i].name, name) == 0)
            return &cmds[i];
    return NULL;
}

static void list_group(const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i < n_cmds; i++)
        if (strncmp(cmds[i].name, word, n) == 0 && cmds[i].name[n] == ' ')
            (void)fprintf(stderr, "  bide %s%s%s\n", cmds[i].name, cmds[i].args[0] != '\0' ? " " : "", cmds[i].args);
}

static enum wish unknown_verb(const char *first, const char *second)
{
    char typed[2 * NEAREST_WORD_MAX];
    bool group = opts_is_group(first);
    (void)snprintf(typed, sizeof typed, "%.40s%s%.40s", first, group && second != NULL ? " " : "",
                   group && second != NULL ? second : "");
    (void)fprintf(stderr, "bide: there is no verb \"%s\"", typed);
    struct nearest n = {.typed = typed, .len = strlen(typed)};
    for (size_t i = 0; i < n_cmds; i++)
        nearest_offer(&n, cmds[i].name);
    if (n.word != NULL)
        (void)fprintf(stderr, "; did you mean \"%s\"?", n.word);
    (void)fputc('\n', stderr);
    if (group)
        list_group(first);
    (void)fputs("Try: bide --help\n", stderr);
    return WISH_USAGE;
}

/* Common options, then the verb, whose two words may have common options between them. */
static enum wish find_verb(struct call *c, struct words *w, const char **ret_topic)
{
    const char *first = NULL;
    for (;;) {
        const char *word = w->at < w->argc ? w->argv[w->at] : NULL;
        bool option = word != NULL && word[0] == '-' && word[1] != '\0';
        enum taken t = option ? take_common(c, w) : NOT_MINE;
        if (t == WRONG)
            return WISH_USAGE;
        if (t == TAKEN)
            continue;
        if (first == NULL && option)
            return (void)unknown_option(c, word), WISH_USAGE;
        if (first == NULL && word == NULL)
            return WISH_RUN;
        if (first == NULL) {
            first = word;
            w->at++;
            c->cmd = opts_find(first, NULL);
            if (c->cmd != NULL)
                return WISH_RUN;
            if (!opts_is_group(first))
                return unknown_verb(first, NULL);
            continue;
        }
        *ret_topic = first;
        if (word != NULL && !option && (c->cmd = opts_find(first, word)) != NULL)
            w->at++;
        else if (option || (word == NULL && !w->help))
            c->cmd = opts_find(first, "ls");
        if (c->cmd == NULL && word == NULL && w->help)
            return WISH_RUN; /* `bide dlq --help` asks about the group, `bide dlq ls --help` about the verb */
        return c->cmd != NULL ? WISH_RUN : unknown_verb(first, word);
    }
}

/* --- the rest ----------------------------------------------------------------------------------------------------- */

static enum wish take_rest(struct call *c, struct words *w)
{
    bool only_args = false;
    while (w->at < w->argc) {
        char *word = w->argv[w->at];
        size_t row;
        const char *value;
        if (only_args || word[0] != '-' || word[1] == '\0') {
            if ((int)c->n_args == c->cmd->max_args)
                return (void)call_usage(c, "one word too many: \"%s\"", word), WISH_USAGE;
            c->args[c->n_args++] = word;
            w->at++;
            continue;
        }
        if (strcmp(word, "--") == 0) {
            only_args = true;
            w->at++;
            continue;
        }
        enum taken t = strncmp(word, "--", 2) == 0 ? take(c, w, c->cmd->opts, &row, &value) : NOT_MINE;
        if (t == TAKEN)
            c->values[row] = value;
        else if (t == NOT_MINE)
            t = take_common(c, w);
        if (t == NOT_MINE)
            (void)unknown_option(c, word);
        if (t != TAKEN)
            return WISH_USAGE;
    }
    return WISH_RUN;
}

enum wish opts_parse(struct call *c, int argc, char **argv, const char **ret_topic)
{
    struct words w = {.argv = argv, .argc = argc};
    *ret_topic = NULL;
    c->data = getenv("BIDE_DATA");
    enum wish wish = find_verb(c, &w, ret_topic);
    if (wish == WISH_RUN && c->cmd != NULL)
        wish = take_rest(c, &w);
    if (c->data == NULL || c->data[0] == '\0')
        c->data = "/var/lib/bide";
    if (wish != WISH_RUN)
        return wish;
    if (w.help)
        return WISH_HELP;
    if (w.version)
        return WISH_VERSION;
    if (c->cmd != NULL && (int)c->n_args < c->cmd->min_args)
        return (void)call_usage(c, "%s is missing", c->cmd->args), WISH_USAGE;
    return WISH_RUN;
}
