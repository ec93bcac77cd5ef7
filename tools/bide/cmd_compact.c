/* bide compact. */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"
#include "compact.h"

int cmd_compact(struct call *c)
{
    struct compacted done;
    struct err e = {0};
    if (c->endpoint != NULL)
        return call_usage(c, "works on the files of a stopped daemon: give --data, not --endpoint");
    if (compact_store(c->data, NULL, NULL, &done, &e) < 0)
        return call_fail("compact: %s", e.text);
    if (c->json)
        (void)printf("{\"before_bytes\":%" PRIu64 ",\"after_bytes\":%" PRIu64 ",\"events\":%" PRIu64 "}\n",
                     done.before_bytes, done.after_bytes, done.events);
    else
        (void)printf("%s: %.1f MB before, %.1f MB after; verified: %" PRIu64 " events accepted\n", c->data,
                     (double)done.before_bytes / 1e6, (double)done.after_bytes / 1e6, done.events);
    return EXIT_DONE;
}
