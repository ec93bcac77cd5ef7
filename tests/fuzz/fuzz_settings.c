/* The settings file. Of what is taken, every setting is within its bounds and, given again as KEY=VALUE, means the
 * same; what is refused is refused with the file's name and with words.
 */
#include <stdio.h>

#include "base/num.h"
#include "base/settings.h"
#include "fuzz.h"

/* A setting in words that --set takes. */
static void put_setting(const struct settings *s, enum setting k, char *out, size_t cap)
{
    const struct setting_info *i = setting_info(k);
    char value[64];
    int64_t v = settings_int(s, k);
    switch (i->type) {
    case SETTING_STRING:
    case SETTING_ENUM:
        (void)snprintf(out, cap, "%s=%s", i->key, settings_str(s, k));
        return;
    case SETTING_REAL:
        (void)snprintf(value, sizeof value, "%.17f", settings_real(s, k));
        break;
    case SETTING_DURATION:
        num_format_duration_ms(v, value, sizeof value);
        break;
    case SETTING_SIZE:
        num_format_size((uint64_t)v, value, sizeof value);
        break;
    case SETTING_BOOL:
        (void)snprintf(value, sizeof value, "%s", v != 0 ? "on" : "off");
        break;
    case SETTING_INT:
        (void)snprintf(value, sizeof value, "%lld", (long long)v);
    }
    (void)snprintf(out, cap, "%s=%s", i->key, value);
}

static void check_setting(const struct settings *s, const struct settings *again, enum setting k)
{
    const struct setting_info *i = setting_info(k);
    bool is_text = i->type == SETTING_STRING || i->type == SETTING_ENUM, is_real = i->type == SETTING_REAL;
    double v = is_text   ? (double)strlen(settings_str(s, k))
               : is_real ? settings_real(s, k)
                         : (double)settings_int(s, k);
    BIDE_ASSERT(i->type == SETTING_ENUM || i->type == SETTING_BOOL || (v >= i->min && v <= i->max),
                "%s is out of its bounds: %g", i->key, v);
    BIDE_ASSERT(settings_int(s, k) == settings_int(again, k) || is_text || is_real, "%s", i->key);
    BIDE_ASSERT(!is_real || settings_real(s, k) == settings_real(again, k), "%s", i->key);
    BIDE_ASSERT(!is_text || strcmp(settings_str(s, k), settings_str(again, k)) == 0, "%s", i->key);
}

static void check_roles(const struct settings *s)
{
    const struct setting_role *r;
    size_t n = settings_roles(s, &r);
    BIDE_ASSERT(n <= SETTINGS_ROLES_MAX, "%zu roles", n);
    for (size_t i = 0; i < n; i++) {
        BIDE_ASSERT(r[i].name[0] != '\0' && r[i].n_allow <= ROLE_ALLOW_MAX, "role %s", r[i].name);
        BIDE_ASSERT(strcmp(r[i].network, "none") == 0 || strcmp(r[i].network, "host") == 0 ||
                        strcmp(r[i].network, "outbound") == 0,
                    "network %s", r[i].network);
        for (size_t k = 0; k < i; k++)
            BIDE_ASSERT(strcmp(r[i].name, r[k].name) != 0, "role %s is there twice", r[i].name);
    }
}

static void check_again(const struct settings *s)
{
    static char text[SETTING_COUNT][8192];
    const char *sets[SETTING_COUNT];
    struct settings *again = NULL;
    struct err e = {0};
    for (int k = 0; k < SETTING_COUNT; k++) {
        put_setting(s, (enum setting)k, text[k], sizeof text[k]);
        sets[k] = text[k];
    }
    int rc = settings_load(&again, NULL, sets, SETTING_COUNT, &e);
    BIDE_ASSERT(rc == 0, "given again they are refused: %s", e.text);
    for (int k = 0; k < SETTING_COUNT; k++)
        check_setting(s, again, (enum setting)k);
    settings_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings *s = NULL;
    struct err e = {0};
    char *text = exact(data, size);
    int rc = settings_parse(&s, "f.conf", text, size, NULL, 0, &e);
    if (rc == 0) {
        check_roles(s);
        check_again(s);
        settings_free(s);
    } else {
        BIDE_ASSERT((rc == ERR_INVALID || rc == ERR_TOOBIG) && e.code == rc && e.text[0] != '\0', "refused with %s: %s",
                    err_name(rc), e.text);
    }
    free(text);
    return 0;
}
