/* papers: makes what is installed beside the programs from the tables they are driven by, at build time.
 *
 *   papers page FILE     the manual page FILE, its lines @verbs@, @bide-options@, @bided-options@, @settings@ filled in
 *   papers conf          a settings file with every key and its default, commented out
 *   papers bash          completion for bash
 *   papers options       every option, one per line, for the documents' test
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../bide/cmd.h"
#include "../bide/opts.h"
#include "../bided/options.h"
#include "base/settings.h"

/* --- scdoc -------------------------------------------------------------------------------------------------------- */

/* Text with what scdoc would take for markup made plain. */
static void put_scd(const char *text)
{
    for (; *text != '\0'; text++) {
        if (strchr("*_\\#~", *text) != NULL)
            (void)putchar('\\');
        (void)putchar(*text);
    }
}

static void put_option(const char *name, const char *arg, const char *help)
{
    (void)printf("*--%s*", name);
    if (arg != NULL) {
        (void)fputs(" _", stdout);
        put_scd(arg);
        (void)putchar('_');
    }
    (void)fputs("\n\t", stdout);
    put_scd(help);
    (void)fputs("\n\n", stdout);
}

static void put_verbs(void)
{
    for (size_t i = 0; i < n_cmds; i++) {
        const struct cmd *c = &cmds[i];
        (void)printf("## bide %s ", c->name);
        put_scd(c->args);
        (void)fputs("\n\n", stdout);
        (void)printf("%c", c->summary[0] >= 'a' && c->summary[0] <= 'z' ? c->summary[0] - 32 : c->summary[0]);
        put_scd(c->summary + 1);
        (void)fputs(".\n", stdout);
        put_scd(c->help);
        (void)fputs(c->help[0] != '\0' ? "\n\n" : "\n", stdout);
        for (const struct opt *o = c->opts; o->name != NULL; o++)
            put_option(o->name, o->arg, o->help);
    }
}

static void put_bide_options(void)
{
    for (const struct opt *o = common_opts; o->name != NULL; o++)
        put_option(o->name, o->arg, o->help);
}

static void put_bided_options(void)
{
    for (const struct option_row *o = option_rows; o->name != NULL; o++)
        put_option(o->name, o->arg, o->help);
}

static void put_settings(void)
{
    for (int k = 0; k < SETTING_COUNT; k++) {
        const struct setting_info *i = setting_info((enum setting)k);
        (void)fputs("*", stdout);
        put_scd(i->key);
        (void)fputs("* (default ", stdout);
        put_scd(i->default_text);
        (void)fputs(")\n\t", stdout);
        put_scd(i->help);
        (void)fputs(".", stdout);
        if (i->choices != NULL) {
            (void)fputs(" One of ", stdout);
            put_scd(i->choices);
            (void)fputs(".", stdout);
        }
        (void)fputs("\n\n", stdout);
    }
}

static int page(const char *path)
{
    static const struct {
        const char *mark;
        void (*put)(void);
    } marks[] = {{"@verbs@\n", put_verbs},
                 {"@bide-options@\n", put_bide_options},
                 {"@bided-options@\n", put_bided_options},
                 {"@settings@\n", put_settings}};
    char line[4096];
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        (void)fprintf(stderr, "papers: %s: %s\n", path, strerror(errno));
        return 1;
    }
    while (fgets(line, sizeof line, f) != NULL) {
        bool filled = false;
        for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
            if (strcmp(line, marks[i].mark) == 0) {
                marks[i].put();
                filled = true;
            }
        }
        if (!filled)
            (void)fputs(line, stdout);
    }
    (void)fclose(f);
    return 0;
}

/* --- settings file ------------------------------------------------------------------------------------------------ */

static void conf(void)
{
    (void)puts("# Settings of bided: every key, commented out, with its default. See bide.conf(5).\n"
               "# To look at changes before they count:   bided --check --config THIS_FILE --data DIR\n"
               "# Durations: 200ms 5s 2m 6h 7d. Sizes: 64KiB 64MiB 4GiB. Booleans: on off.");
    for (int k = 0; k < SETTING_COUNT; k++) {
        const struct setting_info *i = setting_info((enum setting)k);
        bool computed = strchr(i->default_text, ' ') != NULL;
        (void)printf("\n# %s", i->help);
        if (i->choices != NULL)
            (void)printf(" (%s)", i->choices);
        if (computed)
            (void)printf("; default: %s\n# %s =\n", i->default_text, i->key);
        else if (i->type == SETTING_STRING)
            (void)printf("\n#%s = \"%s\"\n", i->key, i->default_text);
        else
            (void)printf("\n#%s = %s\n", i->key, i->default_text);
    }
    (void)puts(
        "\n# A role: the last part of a function's Role names it. Without one of its name a function has the role\n"
        "# \"default\", and without that no network.\n"
        "#role \"web\" {\n#    network = host\n#}");
}

/* --- bash --------------------------------------------------------------------------------------------------------- */

static void put_words(const struct opt *list)
{
    for (const struct opt *o = list; o->name != NULL; o++)
        (void)printf("--%s ", o->name);
}

static void put_verb_cases(void)
{
    for (size_t i = 0; i < n_cmds; i++) {
        const char *space = strchr(cmds[i].name, ' ');
        bool bare = space != NULL && strcmp(space + 1, "ls") == 0;
        (void)printf("    \"%s\"", cmds[i].name);
        if (bare)
            (void)printf(" | \"%.*s\"", (int)(space - cmds[i].name), cmds[i].name);
        (void)printf(") opts=\"");
        put_words(cmds[i].opts);
        (void)printf("\" args=\"%s\" ;;\n", cmds[i].args);
    }
}

static void put_groups(void)
{
    for (size_t i = 0; i < n_cmds; i++) {
        const char *space = strchr(cmds[i].name, ' ');
        size_t n = space != NULL ? (size_t)(space - cmds[i].name) : 0;
        if (space == NULL || (i > 0 && strncmp(cmds[i - 1].name, cmds[i].name, n + 1) == 0))
            continue;
        (void)printf("    %.*s) words=\"", (int)n, cmds[i].name);
        for (size_t j = i; j < n_cmds; j++)
            if (strncmp(cmds[j].name, cmds[i].name, n + 1) == 0)
                (void)printf("%s ", cmds[j].name + n + 1);
        (void)puts("\" ;;");
    }
}

static void bash(void)
{
    (void)fputs("# bash completion for bide; made from its table of verbs\n"
                "_bide()\n"
                "{\n"
                "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
                "  local first='' second='' words='' opts='' args='' i\n"
                "  local -a reach=()\n"
                "  COMPREPLY=()\n"
                "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
                "    case ${COMP_WORDS[i]} in\n"
                "    --data | --endpoint) reach+=(\"${COMP_WORDS[i]}\" \"${COMP_WORDS[i + 1]}\"); i=$((i + 1)) ;;\n"
                "    -*) ;;\n"
                "    *) if [[ -z $first ]]; then first=${COMP_WORDS[i]}; elif [[ -z $second ]]; then "
                "second=${COMP_WORDS[i]}; fi ;;\n"
                "    esac\n"
                "  done\n"
                "  case $first in\n",
                stdout);
    put_groups();
    (void)fputs("  esac\n"
                "  local verb=$first\n"
                "  [[ -n $words && -n $second ]] && verb=\"$first $second\"\n"
                "  case $verb in\n",
                stdout);
    put_verb_cases();
    (void)fputs("  esac\n"
                "  case $prev in\n"
                "  --data) COMPREPLY=($(compgen -d -- \"$cur\")); return ;;\n"
                "  --file | --config) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
                "  --function) args=NAME first=x second=x words= ;;\n"
                "  --state) COMPREPLY=($(compgen -W 'queued running waiting done dead cancelled replayed' -- "
                "\"$cur\")); return ;;\n"
                "  --condition)\n"
                "    COMPREPLY=($(compgen -W 'RetriesExhausted EventAgeExceeded ZeroReservedConcurrency Disrupted "
                "FunctionDeleted "
                "Corrupt' -- \"$cur\"))\n"
                "    return\n"
                "    ;;\n"
                "  esac\n"
                "  if [[ $cur == -* ]]; then\n"
                "    COMPREPLY=($(compgen -W \"$opts ",
                stdout);
    put_words(common_opts);
    (void)fputs("\" -- \"$cur\"))\n"
                "  elif [[ -z $first ]]; then\n"
                "    COMPREPLY=($(compgen -W \"",
                stdout);
    for (size_t i = 0; i < n_cmds; i++) {
        size_t n = strcspn(cmds[i].name, " ");
        if (i == 0 || strncmp(cmds[i - 1].name, cmds[i].name, n) != 0 || strcspn(cmds[i - 1].name, " ") != n)
            (void)printf("%.*s ", (int)n, cmds[i].name);
    }
    (void)fputs("\" -- \"$cur\"))\n"
                "  elif [[ -n $words && -z $second ]]; then\n"
                "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                "  elif [[ $args == NAME* ]]; then\n"
                "    COMPREPLY=($(compgen -W \"$(bide \"${reach[@]}\" functions --json 2>/dev/null |\n"
                "      sed -n 's/.*\"FunctionName\": *\"\\([^\"]*\\)\".*/\\1/p')\" -- \"$cur\"))\n"
                "  elif [[ $args == PATH* || $args == DIR* || $args == FILE* ]]; then\n"
                "    COMPREPLY=($(compgen -f -- \"$cur\"))\n"
                "  fi\n"
                "}\n"
                "complete -o filenames -F _bide bide\n",
                stdout);
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static void options(void)
{
    for (const struct opt *o = common_opts; o->name != NULL; o++)
        (void)printf("bide\t--%s%s%s\n", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
    for (size_t i = 0; i < n_cmds; i++) {
        const char *args = cmds[i].args;
        (void)printf("bide %s%s%s\t\n", cmds[i].name, args[0] != '\0' ? " " : "", args);
        for (const struct opt *o = cmds[i].opts; o->name != NULL; o++)
            (void)printf("bide %s%s%s\t--%s%s%s\n", cmds[i].name, args[0] != '\0' ? " " : "", args, o->name,
                         o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
    }
    for (const struct option_row *o = option_rows; o->name != NULL; o++)
        (void)printf("bided\t--%s%s%s\n", o->name, o->arg != NULL ? " " : "", o->arg != NULL ? o->arg : "");
}

int main(int argc, char **argv)
{
    int status = 0;
    if (argc == 3 && strcmp(argv[1], "page") == 0) {
        status = page(argv[2]);
    } else if (argc == 2 && strcmp(argv[1], "conf") == 0) {
        conf();
    } else if (argc == 2 && strcmp(argv[1], "bash") == 0) {
        bash();
    } else if (argc == 2 && strcmp(argv[1], "options") == 0) {
        options();
    } else {
        (void)fputs("usage: papers page FILE | conf | bash | options\n", stderr);
        return 2;
    }
    return fflush(stdout) != 0 || ferror(stdout) ? 1 : status;
}
