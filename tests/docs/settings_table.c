/* Prints the Markdown table of docs/settings.md from the settings' own table. */
#include <stdio.h>
#include <string.h>

#include "base/num.h"
#include "base/settings.h"

static void print_range(const struct setting_info *i)
{
    char lo[32], hi[32];
    switch (i->type) {
    case SETTING_DURATION:
        num_format_duration_ms((int64_t)i->min, lo, sizeof lo);
        num_format_duration_ms((int64_t)i->max, hi, sizeof hi);
        break;
    case SETTING_SIZE:
        num_format_size((uint64_t)i->min, lo, sizeof lo);
        num_format_size((uint64_t)i->max, hi, sizeof hi);
        break;
    case SETTING_INT:
    case SETTING_REAL:
    case SETTING_STRING:
        (void)snprintf(lo, sizeof lo, "%.0f", i->min);
        (void)snprintf(hi, sizeof hi, "%.0f", i->max);
        break;
    case SETTING_BOOL:
        (void)fputs("on, off", stdout);
        return;
    case SETTING_ENUM:
        for (const char *p = i->choices; *p != '\0'; p++)
            (void)(*p == '|' ? fputs(", ", stdout) : putchar(*p));
        return;
    }
    if (i->type != SETTING_STRING)
        (void)printf("%s to %s", strcmp(lo, "0ms") == 0 || strcmp(lo, "0B") == 0 ? "0" : lo, hi);
    else if (i->min == i->max)
        (void)printf("%s characters", lo);
    else
        (void)printf("%s to %s characters", lo, hi);
}

int main(void)
{
    (void)puts("| key | default | takes | changes at | |\n|---|---|---|---|---|");
    for (int k = 0; k < SETTING_COUNT; k++) {
        const struct setting_info *i = setting_info((enum setting)k);
        /* A default that is computed is said in words. */
        const char *tick = strchr(i->default_text, ' ') == NULL ? "`" : "";
        (void)printf("| `%s` | %s%s%s | ", i->key, tick, i->default_text, tick);
        print_range(i);
        (void)printf(" | %s | %s |\n", setting_live((enum setting)k) ? "SIGHUP" : "start", i->help);
    }
    return 0;
}
