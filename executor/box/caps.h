/* Capabilities: all away, for good. */
#ifndef BOX_CAPS_H
#define BOX_CAPS_H

#include "base/err.h"

/* Bounding, ambient, permitted, effective and inheritable sets empty; checked. */
int caps_drop_all(struct err *e) BIDE_MUST_USE;
int caps_no_new_privs(struct err *e) BIDE_MUST_USE;

#endif
