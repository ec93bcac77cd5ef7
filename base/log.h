/* The daemon's own log: one line per fact on stderr, key=value text or JSON. Programs log; libraries report errors
 * instead (debug excepted). Never log payloads or credentials.
 *
 * Levels follow fault: error (operator must act), warn (degraded but going on), info (state changes), debug.
 * Thread-safe; a line is one write(2).
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Process-wide. fd is borrowed (stderr in production, a pipe in tests). */
void log_setup(enum log_level level, enum log_format format, int fd);
bool log_enabled(enum log_level level);

/* area: the module's name ("store"). The text is "msg" or "msg key=value ...": one line, no newline; control bytes and
 * what is not UTF-8 are escaped before they are written, and what is over 1000 bytes is cut. area: at most 32 bytes, no
 * quotes. errno is kept. */
void log_write(enum log_level level, const char *area, const char *fmt, ...) BIDE_PRINTF(3, 4);

#define log_error(area_, ...) log_write(LOG_LEVEL_ERROR, area_, __VA_ARGS__)
#define log_warn(area_, ...)  log_write(LOG_LEVEL_WARN, area_, __VA_ARGS__)
#define log_info(area_, ...)  log_write(LOG_LEVEL_INFO, area_, __VA_ARGS__)
#define log_debug(area_, ...) log_write(LOG_LEVEL_DEBUG, area_, __VA_ARGS__)

#endif
