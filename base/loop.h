/* One event loop per thread: descriptors, timers, and work posted from other threads. The only other file that names
 * the event library is httpd.c; no type of it shows here.
 *
 *   struct loop *l;
 *   loop_new(&l, &err);
 *   loop_watch(l, fd, LOOP_READ, on_readable, arg, &w);
 *   loop_run(l);                    // until loop_stop()
 *   loop_free(l);
 *
 * A loop, its watches and its timers belong to the thread that runs loop_run; only loop_post and loop_stop may be
 * called from others. Timers run on CLOCK_MONOTONIC.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct loop;
struct loop_watch;
struct loop_timer;

enum { LOOP_READ = 1, LOOP_WRITE = 2 };

typedef void loop_watch_cb(int fd, int what, void *arg); /* what: LOOP_READ | LOOP_WRITE */
typedef void loop_cb(void *arg);
typedef void loop_signal_cb(int signo, void *arg);

/* Once per process, before the first loop_new and before threads. Aborts when the library cannot be prepared. */
void loop_global_init(void);

int loop_new(struct loop **ret, struct err *e) BIDE_MUST_USE;
void loop_free(struct loop *l); /* NULL is fine; posted work that did not run is dropped */

/* Run callbacks until loop_stop. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l); /* any thread; the turn in progress ends first */

/* Run cb(arg) once on the loop's thread, in the order posted. Any thread. The wake-up is one eventfd write per batch,
 * not per item. ERR_NOMEM: cb will not run. */
int loop_post(struct loop *l, loop_cb *cb, void *arg) BIDE_MUST_USE;

/* Persistent watch. The descriptor stays the caller's; unwatch before closing it. Safe inside callbacks. */
int loop_watch(struct loop *l, int fd, int what, loop_watch_cb *cb, void *arg, struct loop_watch **ret) BIDE_MUST_USE;
void loop_unwatch(struct loop_watch *w); /* NULL is fine */

/* One-shot timer object, created idle. arm replaces an earlier setting; delay_ms < 0 counts as 0. */
int loop_timer_new(struct loop *l, loop_cb *cb, void *arg, struct loop_timer **ret) BIDE_MUST_USE;
void loop_timer_arm(struct loop_timer *t, int64_t delay_ms);
void loop_timer_cancel(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* Persistent signal handler, delivered on the loop. Lives as long as the loop. */
int loop_signal(struct loop *l, int signo, loop_signal_cb *cb, void *arg) BIDE_MUST_USE;

/* The library's base, for httpd.c alone. */
struct event_base;
struct event_base *loop_event_base(struct loop *l);

#endif
