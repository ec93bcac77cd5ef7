/* Error codes and error detail.
 *
 * A function that can fail returns int: 0, or one of the negative codes below. Codes are for programs; the text in an
 * optional struct err is for people. A struct err is written only on failure and every function that takes one
 * accepts NULL. Libraries report, they do not log.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum {
    ERR_NOMEM = -1,     /* out of memory */
    ERR_IO = -2,        /* the system refused; struct err holds errno */
    ERR_NOTFOUND = -3,  /* no such thing */
    ERR_EXISTS = -4,    /* there is one already */
    ERR_FULL = -5,      /* no room: map, disk, quota or a ceiling of ours */
    ERR_TOOBIG = -6,    /* the input is over its limit */
    ERR_INVALID = -7,   /* the input is wrong */
    ERR_CORRUPT = -8,   /* a stored record is not what was written */
    ERR_VERSION = -9,   /* a stored record or peer is newer than this program */
    ERR_BUSY = -10,     /* somebody else holds it */
    ERR_AGAIN = -11,    /* not now; the same call may succeed later */
    ERR_DENIED = -12,   /* not allowed */
    ERR_CONFLICT = -13, /* the thing is in a state that forbids this */
    ERR_SHUTDOWN = -14, /* the module is closing */
    ERR_INTERNAL = -15, /* our bug, reported where dying would be worse */
};

struct err {
    int code;       /* ERR_x, or 0 while nothing failed */
    int sys;        /* errno when a system call was the cause, else 0 */
    char text[400]; /* what failed, for a person; no trailing newline */
};

/* Out of memory where nothing can be refused any more: one line on stderr, and the end with BIDE_EXIT_NO_MEMORY. What
 * is on disk is whole, and a start goes on from it. */
enum { BIDE_EXIT_NO_MEMORY = 5 };
_Noreturn void bide_no_memory(const char *what);

#define BIDE_PRINTF(fmt_, first_) __attribute__((format(printf, fmt_, first_)))
#define BIDE_MUST_USE             __attribute__((warn_unused_result))

/* Fill e (when not NULL) and return code. The text is cut, never overrun; e->text itself may be an argument. */
int err_set(struct err *e, int code, const char *fmt, ...) BIDE_PRINTF(3, 4);

/* The same with errno's value sys; ": strerror(sys)" is appended to the text. */
int err_sys(struct err *e, int code, int sys, const char *fmt, ...) BIDE_PRINTF(4, 5);

/* "ERR_FULL" and so on; "ok" for 0; "ERR_UNKNOWN" for anything else. Static storage. */
const char *err_name(int code);

/* Our bug: print file, line, condition and the given detail on stderr and abort. On in every build: the store makes
 * dying safe, so a broken invariant never limps on. */
#define BIDE_ASSERT(cond_, ...)                                                                                        \
    do {                                                                                                               \
        if (__builtin_expect(!(cond_), 0))                                                                             \
            bide_assert_fail(__FILE__, __LINE__, #cond_, __VA_ARGS__);                                                 \
    } while (0)
_Noreturn void bide_assert_fail(const char *file, int line, const char *cond, const char *fmt, ...) BIDE_PRINTF(4, 5);

#endif
