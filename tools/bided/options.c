#include "options.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/settings.h"

enum { OPT_DATA, OPT_LISTEN, OPT_CONFIG, OPT_SET, OPT_CHECK, OPT_VERSION, OPT_HELP, OPTS };
const struct option_row option_rows[] = {
    [OPT_DATA] = {"data", "DIR", "data directory (default $BIDE_DATA, then /var/lib/bide); made when missing"},
    [OPT_LISTEN] = {"listen", "ADDR:PORT", "where to serve (default 127.0.0.1:9310; port 0 picks one)"},
    [OPT_CONFIG] = {"config", "FILE", "settings file"},
    [OPT_SET] = {"set", "KEY=VALUE", "one setting; wins over the file; may be repeated"},
    [OPT_CHECK] = {"check", NULL,
                   "look at settings, directory, address, sandbox and runtimes, say what was found, change nothing"},
    [OPT_VERSION] = {"version", NULL, "print the version"},
    [OPT_HELP] = {"help", NULL, "this text"},
    [OPTS] = {0},
};

static void help(void)
{
    (void)puts("Usage: bided [--data DIR] [--listen ADDR:PORT] [--config FILE] [--set KEY=VALUE]... [--check]\n\n"
               "Runs AWS Lambda's asynchronous contract on this machine.\n\nOptions:");
    for (const struct option_row *o = option_rows; o->name != NULL; o++) {
        char left[48];
        (void)snprintf(left, sizeof left, "--%s %s", o->name, o->arg != NULL ? o->arg : "");
        (void)printf("  %-19s %s\n", left, o->help);
    }
    (void)puts("\nSettings (docs/settings.md):");
    for (int k = 0; k < SETTING_COUNT; k++) {
        const struct setting_info *i = setting_info((enum setting)k);
        (void)printf("  %-28s %s (default %s)\n", i->key, i->help, i->default_text);
    }
}

static int wrong(int *ret_exit)
{
    (void)fputs("Try: bided --help\n", stderr);
    *ret_exit = EXIT_BAD_USAGE;
    return -1;
}

int options_parse(int argc, char **argv, const char *version, struct options *o, int *ret_exit)
{
    static char listen_set_text[160];
    struct option longs[OPTS + 1] = {0};
    int c;
    for (int i = 0; i < OPTS; i++)
        longs[i] =
            (struct option){option_rows[i].name, option_rows[i].arg != NULL ? required_argument : no_argument, NULL, i};
    *ret_exit = EXIT_SUCCESS;
    o->data = getenv("BIDE_DATA");
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
        switch (c) {
        case OPT_DATA:
            o->data = optarg;
            break;
        case OPT_CONFIG:
            o->config = optarg;
            break;
        case OPT_CHECK:
            o->check = true;
            break;
        case OPT_LISTEN:
        case OPT_SET:
            if (o->n_sets == SETS_MAX) {
                (void)fprintf(stderr, "bided: more than %d settings on the command line\n", SETS_MAX);
                return wrong(ret_exit);
            }
            if (c == OPT_LISTEN)
                (void)snprintf(listen_set_text, sizeof listen_set_text, "listen=%s", optarg);
            o->sets[o->n_sets++] = c == OPT_LISTEN ? listen_set_text : optarg;
            break;
        case OPT_VERSION:
            (void)printf("bided %s\n", version);
            return -1;
        case OPT_HELP:
        case 'h':
            help();
            return -1;
        default:
            return wrong(ret_exit);
        }
    }
    if (optind < argc) {
        (void)fprintf(stderr, "bided: \"%s\": takes no arguments\n", argv[optind]);
        return wrong(ret_exit);
    }
    if (o->data == NULL || o->data[0] == '\0')
        o->data = "/var/lib/bide";
    return 0;
}
