/* Bugs put in on purpose (--bug NAME): each must be found, else the simulation is blind. They stand in functions of the
 * engine that are wrapped at link time, so that the engine's source knows nothing of them. */
#ifndef SIM_BUGS_H
#define SIM_BUGS_H

#include <stdint.h>

void bugs_clock_stepped(int64_t by_ms);

#endif
