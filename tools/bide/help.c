/* Help: the whole, a group of verbs, one verb. */
#include "help.h"

#include <string.h>

#include "opts.h"

enum { LEFT = 26, WIDTH = 100 };

const char *help_option(const struct opt *o)
{
    static char text[96];
    (void)snprintf(text, sizeof text, "--%s%s%s", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
    return text;
}

/* text from column LEFT on, broken at blanks; column says where the line stands. */
static void put_wrapped(FILE *out, const char *text, size_t column)
{
    if (column >= LEFT) {
        (void)fputc('\n', out);
        column = 0;
    }
    for (const char *p = text; *p != '\0';) {
        size_t n = strlen(p), room = WIDTH - LEFT;
        if (n > room) {
            for (n = room; n > 0 && p[n] != ' '; n--)
                ;
            if (n == 0)
                n = strcspn(p, " ");
        }
        (void)fprintf(out, "%*s%.*s\n", (int)(LEFT - column), "", (int)n, p);
        p += n + strspn(p + n, " ");
        column = 0;
    }
}

static void put_options(FILE *out, const struct opt *list)
{
    for (const struct opt *o = list; o->name != NULL; o++)
        put_wrapped(out, o->help, (size_t)fprintf(out, "  %s", help_option(o)));
}

static void put_verbs(FILE *out, const char *group)
{
    size_t n = strlen(group);
    for (size_t i = 0; i < n_cmds; i++)
        if (strncmp(cmds[i].name, group, n) == 0)
            (void)fprintf(out, "  %-16s %s\n", cmds[i].name, cmds[i].summary);
}

void help_top(FILE *out)
{
    (void)fputs("Usage: bide [--data DIR | --endpoint URL] VERB [...]\n\nWorks on a running bided.\n\nVerbs:\n", out);
    put_verbs(out, "");
    (void)fputs("\nOptions, before or after the verb:\n", out);
    put_options(out, common_opts);
    (void)fputs("\n`bide help VERB` tells more. Exit status: 0 done, 1 failed, 2 wrong usage.\n", out);
}

void help_group(const char *word, FILE *out)
{
    char group[64];
    (void)snprintf(group, sizeof group, "%.60s ", word);
    (void)fprintf(out, "Usage: bide %s VERB [...]\n\nVerbs:\n", word);
    put_verbs(out, group);
    (void)fprintf(out, "\n%s`bide help %s VERB` tells more.\n",
                  opts_find(word, "ls") != NULL ? "Without a verb: ls. " : "", word);
}

void help_verb(const struct cmd *cmd, FILE *out)
{
    (void)fprintf(out, "Usage: bide %s%s%s%s\n\n%s.\n", cmd->name, cmd->args[0] != '\0' ? " " : "", cmd->args,
                  cmd->opts[0].name != NULL ? " [OPTIONS]" : "", cmd->summary);
    if (cmd->help[0] != '\0')
        (void)fprintf(out, "%s\n", cmd->help);
    if (cmd->opts[0].name != NULL) {
        (void)fputs("\nOptions:\n", out);
        put_options(out, cmd->opts);
    }
    (void)fputs("\nOptions of every verb:\n", out);
    put_options(out, common_opts);
}

int cmd_help(struct call *c)
{
    if (c->n_args == 0) {
        help_top(stdout);
        return EXIT_DONE;
    }
    const struct cmd *cmd = opts_find(c->args[0], c->n_args > 1 ? c->args[1] : NULL);
    if (cmd != NULL)
        help_verb(cmd, stdout);
    else if (c->n_args == 1 && opts_is_group(c->args[0]))
        help_group(c->args[0], stdout);
    else
        return call_usage(c, "there is no verb \"%s%s%s\"", c->args[0], c->n_args > 1 ? " " : "",
                          c->n_args > 1 ? c->args[1] : "");
    return EXIT_DONE;
}
