/* Private face of the probe: the executor process runs it on the spawner that it is going to use. */
#ifndef BOX_PROBE_H
#define BOX_PROBE_H

#include "spawn.h"

/* As box_probe. Also tells s what boxes have to do without (relaxed). */
int probe_run(struct spawner *s, struct box_fences *ret, struct err *e) BIDE_MUST_USE;

#endif
