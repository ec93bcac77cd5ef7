/* A look at JSON text without building anything from it: is it valid, and what are some of its members? For text whose
 * size is bounded already. Pure: no memory, no library, so that a static program may carry it too.
 */
#ifndef BASE_JSCAN_H
#define BASE_JSCAN_H

#include <stdbool.h>
#include <stddef.h>

enum { JSCAN_KEY_MAX = 15 };

/* A member whose string is wanted. */
struct jscan_member {
    const char *key; /* at most JSCAN_KEY_MAX bytes */
    char *out; /* gets its text, NUL-terminated and cut to whole characters; "" where it is missing or no string */
    size_t cap;
    size_t len; /* of the text */
};

/* The length of the character of UTF-8, in its only form, that begins at p; 0: there is none. */
size_t jscan_utf8(const void *p, size_t len);

/* One whole value of any kind, nested at most depth_max deep? Bytes above 0x7f are not looked at. */
bool jscan_valid(const void *json, size_t len, int depth_max);

/* The same, and nothing in it that parsers differ about: text is UTF-8, escapes make whole characters and no NUL,
 * numbers are far from the ends of a double. What is plain is taken by every parser; of what is not, one has to be
 * asked. */
bool jscan_plain(const void *json, size_t len, int depth_max);

/* The same for one whole object, and its members' texts. False: no such thing, and every out is "". */
bool jscan_object(const void *json, size_t len, int depth_max, struct jscan_member *want, size_t n_want);

#endif
