/* An engine's life: opened and ended as tools/bided does it. */
#ifndef SIM_LIFE_H
#define SIM_LIFE_H

#include "sim.h"

extern const char life_package[]; /* the SHA-256 of the only package there is */

void life_start(void);
/* In order, as at SIGTERM; when sim.crash is set afterwards it did not come to that. */
void life_stop(void);
void life_crash(void); /* sim.crash says why */
void life_verify(void);

#endif
