/* Waiting, for verbs that wait. */
#ifndef BIDE_TICK_H
#define BIDE_TICK_H

#include <stdint.h>

int64_t tick_ms(void); /* monotonic */
/* Sleeps; a signal that is handled ends it early. */
void tick_sleep(int64_t ms);

#endif
