/* The handler's name as a program of the package. */
#ifndef EXEC_HANDLER_H
#define EXEC_HANDLER_H

#include <stddef.h>

enum { HANDLER_PATH_MAX = 1024, HANDLER_WHY_MAX = 512 };

/* NULL: path is the program below root, and it looks as if it could be run. Otherwise the error's type (static
 * storage), and why in words. */
const char *handler_find(const char *root, const char *handler, char path[HANDLER_PATH_MAX], char why[HANDLER_WHY_MAX]);

#endif
