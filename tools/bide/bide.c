/* bide: the command line. Finds the verb in the table, parses its options, runs it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd.h"

#ifndef BIDE_VERSION
#error "the build gives BIDE_VERSION"
#endif

static void help_top(FILE *out)
{
    (void)fputs("Usage: bide [--data DIR | --endpoint URL] VERB [...]\n\n"
                "Works on a running bided. DIR defaults to $BIDE_DATA, then /var/lib/bide.\n\nVerbs:\n",
                out);
    for (size_t i = 0; i < n_cmds; i++)
        (void)fprintf(out, "  %-16s %s\n", cmds[i].name, cmds[i].summary);
    (void)fputs("\nOptions:\n"
                "  --data DIR       the daemon's data directory; its Unix socket is used\n"
                "  --endpoint URL   a daemon elsewhere; requests are signed with the AWS_* variables\n"
                "  --version        print the version\n"
                "  --help           this text; `bide VERB --help` tells more\n\n"
                "Exit status: 0 done, 1 failed, 2 wrong usage.\n",
                out);
}

static void help_verb(const struct cmd *cmd, FILE *out)
{
    (void)fprintf(out, "Usage: bide %s%s%s [OPTIONS]\n\n%s.\n", cmd->name, cmd->args[0] != '\0' ? " " : "", cmd->args,
                  cmd->summary);
    if (cmd->help[0] != '\0')
        (void)fprintf(out, "%s\n", cmd->help);
    (void)fputs("\nOptions:\n", out);
    for (const struct opt *o = cmd->opts; o->name != NULL; o++) {
        char left[64];
        (void)snprintf(left, sizeof left, "--%s%s%s", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
        (void)fprintf(out, "  %-24s %s\n", left, o->help);
    }
    (void)fprintf(out, "  %-24s %s\n  %-24s %s\n", "--json", "machine-readable: one JSON object per line", "--help",
                  "this text");
}

/* The row whose name is the first words of argv; *ret_words says how many. `bide events` alone means `events ls`. */
static const struct cmd *find_cmd(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; i < n_cmds; i++) {
        const char *space = strchr(cmds[i].name, ' ');
        if (space == NULL) {
            if (strcmp(cmds[i].name, argv[0]) == 0) {
                *ret_words = 1;
                return &cmds[i];
            }
            continue;
        }
        size_t n = (size_t)(space - cmds[i].name);
        if (strlen(argv[0]) != n || strncmp(cmds[i].name, argv[0], n) != 0)
            continue;
        if (argc > 1 && strcmp(space + 1, argv[1]) == 0) {
            *ret_words = 2;
            return &cmds[i];
        }
        if (strcmp(space + 1, "ls") == 0 && (argc == 1 || argv[1][0] == '-')) {
            *ret_words = 1;
            return &cmds[i];
        }
    }
    return NULL;
}

static int unknown_verb(int argc, char **argv)
{
    (void)fprintf(stderr, "bide: there is no verb \"%s%s%s\"\n", argv[0], argc > 1 && argv[1][0] != '-' ? " " : "",
                  argc > 1 && argv[1][0] != '-' ? argv[1] : "");
    size_t n = strlen(argv[0]);
    for (size_t i = 0; i < n_cmds; i++)
        if (strncmp(cmds[i].name, argv[0], n) == 0 && (cmds[i].name[n] == ' ' || cmds[i].name[n] == '\0'))
            (void)fprintf(stderr, "  bide %s %s\n", cmds[i].name, cmds[i].args);
    (void)fputs("Try: bide --help\n", stderr);
    return EXIT_USAGE;
}

/* --name value, --name=value, or --flag into c. The number of words used, or -1 after a message. */
static int take_option(struct call *c, int argc, char **argv)
{
    const char *word = argv[0] + 2;
    const char *eq = strchr(word, '=');
    size_t n = eq != NULL ? (size_t)(eq - word) : strlen(word);
    for (size_t i = 0; c->cmd->opts[i].name != NULL; i++) {
        const struct opt *o = &c->cmd->opts[i];
        if (strlen(o->name) != n || strncmp(o->name, word, n) != 0)
            continue;
        if (o->arg == NULL) {
            if (eq != NULL)
                return (void)call_usage(c, "--%s takes no value", o->name), -1;
            c->values[i] = "";
            return 1;
        }
        if (eq != NULL) {
            c->values[i] = eq + 1;
            return 1;
        }
        if (argc < 2)
            return (void)call_usage(c, "--%s needs a value: %s", o->name, o->arg), -1;
        c->values[i] = argv[1];
        return 2;
    }
    (void)call_usage(c, "there is no option %s", argv[0]);
    return -1;
}

static int run(struct call *c, int argc, char **argv)
{
    bool only_args = false;
    for (int i = 0; i < argc;) {
        if (!only_args && strcmp(argv[i], "--help") == 0) {
            help_verb(c->cmd, stdout);
            return EXIT_DONE;
        }
        if (!only_args && strcmp(argv[i], "--json") == 0) {
            c->json = true;
            i++;
        } else if (!only_args && strcmp(argv[i], "--") == 0) {
            only_args = true;
            i++;
        } else if (!only_args && strncmp(argv[i], "--", 2) == 0) {
            int used = take_option(c, argc - i, argv + i);
            if (used < 0)
                return EXIT_USAGE;
            i += used;
        } else {
            if ((int)c->n_args == c->cmd->max_args)
                return call_usage(c, "one word too many: \"%s\"", argv[i]);
            c->args[c->n_args++] = argv[i++];
        }
    }
    if ((int)c->n_args < c->cmd->min_args)
        return call_usage(c, "%s is missing", c->cmd->args);
    int status = c->cmd->run(c);
    client_close(c->client);
    if (fflush(stdout) != 0 || ferror(stdout))
        return call_fail("standard output cannot be written");
    return status;
}

int main(int argc, char **argv)
{
    struct call c = {.data = getenv("BIDE_DATA")};
    int i = 1;
    for (; i < argc && argv[i][0] == '-'; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            help_top(stdout);
            return EXIT_DONE;
        }
        if (strcmp(argv[i], "--version") == 0) {
            (void)puts("bide " BIDE_VERSION);
            return EXIT_DONE;
        }
        const char **into = strncmp(argv[i], "--data", 6) == 0        ? &c.data
                            : strncmp(argv[i], "--endpoint", 10) == 0 ? &c.endpoint
                                                                      : NULL;
        size_t n = into == &c.data ? 6 : 10;
        if (into == NULL || (argv[i][n] != '\0' && argv[i][n] != '=') || (argv[i][n] == '\0' && i + 1 == argc)) {
            (void)fprintf(stderr, "bide: %s: not an option here, or its value is missing\nTry: bide --help\n", argv[i]);
            return EXIT_USAGE;
        }
        *into = argv[i][n] == '=' ? argv[i] + n + 1 : argv[++i];
    }
    if (c.data == NULL || c.data[0] == '\0')
        c.data = "/var/lib/bide";
    if (i == argc) {
        help_top(stderr);
        return EXIT_USAGE;
    }
    int words = 0;
    c.cmd = find_cmd(argc - i, argv + i, &words);
    if (c.cmd == NULL)
        return unknown_verb(argc - i, argv + i);
    return run(&c, argc - i - words, argv + i + words);
}
