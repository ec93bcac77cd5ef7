/* The C library's faces that the engine sees: clocks, randomness, free disk, memory, threads. Each __wrap_x takes the
 * place of x in every object of this program (see CMakeLists.txt), and in no shared library. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/statvfs.h>
#include <time.h>
#include <ucontext.h>

#include "sim.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* --- time --------------------------------------------------------------------------------------------------------- */

int __wrap_clock_gettime(clockid_t id, struct timespec *ts);
int __wrap_clock_gettime(clockid_t id, struct timespec *ts)
{
    int64_t us = sim.mono_us + (id == CLOCK_REALTIME ? sim.wall_offset_us : 0);
    ts->tv_sec = (time_t)(us / 1000000);
    ts->tv_nsec = us % 1000000 * 1000;
    return 0;
}

int64_t sim_wall_ms(void)
{
    return (sim.mono_us + sim.wall_offset_us) / 1000;
}

/* --- randomness --------------------------------------------------------------------------------------------------- */

ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags);
ssize_t __wrap_getrandom(void *p, size_t n, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < n; i += sizeof(uint64_t)) {
        uint64_t r = sim_rand();
        memcpy((char *)p + i, &r, n - i < sizeof r ? n - i : sizeof r);
    }
    return (ssize_t)n;
}

/* --- the disk has room; what is full is the map --------------------------------------------------------------------
 */

int __wrap_fstatvfs(int fd, struct statvfs *v);
int __wrap_fstatvfs(int fd, struct statvfs *v)
{
    (void)fd;
    *v = (struct statvfs){.f_bavail = 1 << 30, .f_frsize = 4096, .f_bsize = 4096};
    return 0;
}

/* --- memory: what an engine had goes with it -----------------------------------------------------------------------
 */

struct block {
    struct block *next, *prev;
    size_t len;
    uint64_t mark; /* last: right before what the caller gets */
};

enum { BLOCK_MARK_LIVE = 0x51e9e0be };

static struct block blocks = {.next = &blocks, .prev = &blocks};
static bool owned; /* what is allocated belongs to the engine */

void *__real_malloc(size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
    struct block *b = n < SIZE_MAX / 2 ? __real_malloc(sizeof *b + n) : NULL;
    if (b == NULL)
        return NULL;
    *b = (struct block){.next = b, .prev = b, .len = n, .mark = BLOCK_MARK_LIVE};
    if (owned) {
        b->next = &blocks;
        b->prev = blocks.prev;
        b->prev->next = b->next->prev = b;
    }
    return b + 1;
}

void *__wrap_calloc(size_t n, size_t size)
{
    void *p = size == 0 || n < SIZE_MAX / size ? __wrap_malloc(n * size) : NULL;
    if (p != NULL)
        memset(p, 0, n * size);
    return p;
}

/* Memory that a shared library allocated has no block before it. */
__attribute__((no_sanitize_address)) static struct block *block_of(void *p)
{
    struct block *b = (struct block *)p - 1;
    uint64_t mark = *(volatile uint64_t *)&b->mark;
    return mark == BLOCK_MARK_LIVE ? b : NULL;
}

void __wrap_free(void *p)
{
    struct block *b = p != NULL ? block_of(p) : NULL;
    if (b == NULL) {
        __real_free(p);
        return;
    }
    b->next->prev = b->prev;
    b->prev->next = b->next;
    b->mark = 0;
    __real_free(b);
}

void *__wrap_realloc(void *p, size_t n)
{
    void *to = __wrap_malloc(n);
    if (p == NULL || to == NULL)
        return to;
    size_t len = block_of(p)->len;
    memcpy(to, p, len < n ? len : n);
    __wrap_free(p);
    return to;
}

char *__wrap_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *to = __wrap_malloc(n);
    return to != NULL ? memcpy(to, s, n) : NULL;
}

void *sim_alloc(size_t n)
{
    void *p = __real_malloc(n);
    if (p == NULL)
        sim_violation("the simulation is out of memory");
    return memset(p, 0, n);
}

/* --- threads -------------------------------------------------------------------------------------------------------
 */

enum { FIBERS_MAX = 8, FIBER_STACK = 1 << 20, FIBER_ID = 1000 };

struct fiber {
    ucontext_t context;
    void *stack;
    void *(*main)(void *arg);
    void *arg;
    const pthread_cond_t *waits; /* NULL: can run */
    int64_t until_us;            /* it waits no longer; INT64_MAX: as long as it takes */
    bool over;
};

static struct fiber fibers[FIBERS_MAX];
static uint32_t n_fibers;
static int here = -1; /* which runs; -1: the simulation itself */
static ucontext_t main_context;

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg);
int __wrap_pthread_join(pthread_t t, void **ret);
pthread_t __wrap_pthread_self(void);
int __wrap_pthread_setname_np(pthread_t t, const char *name);
int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *mu);
int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *mu, const struct timespec *at);
int __wrap_pthread_cond_signal(pthread_cond_t *c);

/* The sanitizer has to be told whose stack it looks at. */
static void to_fiber(struct fiber *f)
{
#if defined(__SANITIZE_ADDRESS__)
    void *fake;
    __sanitizer_start_switch_fiber(&fake, f->stack, FIBER_STACK);
    (void)swapcontext(&main_context, &f->context);
    __sanitizer_finish_switch_fiber(fake, NULL, NULL);
#else
    (void)swapcontext(&main_context, &f->context);
#endif
}

#if defined(__SANITIZE_ADDRESS__)
static const void *main_stack;
static size_t main_stack_len;
#endif

static void to_main(struct fiber *f, bool for_good)
{
    (void)for_good;
#if defined(__SANITIZE_ADDRESS__)
    void *fake;
    __sanitizer_start_switch_fiber(for_good ? NULL : &fake, main_stack, main_stack_len);
    (void)swapcontext(&f->context, &main_context);
    __sanitizer_finish_switch_fiber(fake, &main_stack, &main_stack_len);
#else
    (void)swapcontext(&f->context, &main_context);
#endif
}

static void fiber_main(void)
{
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(NULL, &main_stack, &main_stack_len);
#endif
    struct fiber *f = &fibers[here];
    (void)f->main(f->arg);
    f->over = true;
    to_main(f, true);
}

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
    (void)attr;
    if (n_fibers == FIBERS_MAX)
        sim_violation("the engine has more threads than the simulation knows of");
    struct fiber *f = &fibers[n_fibers];
    void *stack = f->stack;
    if (stack == NULL)
        stack = mmap(NULL, FIBER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED)
        return -1;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack, FIBER_STACK); /* a crash left it in the middle of something */
#endif
    *f = (struct fiber){.stack = stack, .main = start, .arg = arg};
    (void)getcontext(&f->context);
    f->context.uc_stack.ss_sp = stack;
    f->context.uc_stack.ss_size = FIBER_STACK;
    makecontext(&f->context, fiber_main, 0);
    *ret = FIBER_ID + n_fibers++;
    return 0;
}

pthread_t __wrap_pthread_self(void)
{
    return here < 0 ? 1 : FIBER_ID + (pthread_t)here;
}

int __wrap_pthread_setname_np(pthread_t t, const char *name)
{
    (void)t;
    (void)name;
    return 0;
}

uint32_t fiber_count(void)
{
    return n_fibers;
}

bool fiber_runnable(uint32_t i)
{
    const struct fiber *f = &fibers[i];
    return !f->over && (f->waits == NULL || f->until_us <= sim.mono_us);
}

int64_t fiber_next_us(void)
{
    int64_t at = INT64_MAX;
    for (uint32_t i = 0; i < n_fibers; i++)
        if (!fibers[i].over)
            at = fibers[i].waits == NULL ? sim.mono_us : fibers[i].until_us < at ? fibers[i].until_us : at;
    return at;
}

void fiber_run(uint32_t i)
{
    here = (int)i;
    to_fiber(&fibers[i]);
    here = -1;
}

bool fiber_here(void)
{
    return here >= 0;
}

void fiber_yield(void)
{
    to_main(&fibers[here], false);
}

/* CLOCK_MONOTONIC. False: the time is over. */
static bool wait_for(pthread_cond_t *c, pthread_mutex_t *mu, int64_t until_us)
{
    if (here < 0)
        sim_violation("the simulation's own thread waits for a condition");
    struct fiber *f = &fibers[here];
    f->waits = c;
    f->until_us = until_us;
    (void)pthread_mutex_unlock(mu);
    fiber_yield();
    (void)pthread_mutex_lock(mu);
    bool signalled = f->waits == NULL;
    f->waits = NULL;
    return signalled;
}

int __wrap_pthread_cond_wait(pthread_cond_t *c, pthread_mutex_t *mu)
{
    (void)wait_for(c, mu, INT64_MAX);
    return 0;
}

int __wrap_pthread_cond_timedwait(pthread_cond_t *c, pthread_mutex_t *mu, const struct timespec *at)
{
    return wait_for(c, mu, (int64_t)at->tv_sec * 1000000 + at->tv_nsec / 1000) ? 0 : ETIMEDOUT;
}

int __wrap_pthread_cond_signal(pthread_cond_t *c)
{
    for (uint32_t i = 0; i < n_fibers; i++)
        if (fibers[i].waits == c)
            fibers[i].waits = NULL;
    return 0;
}

int __wrap_pthread_join(pthread_t t, void **ret)
{
    uint32_t i = (uint32_t)(t - FIBER_ID);
    (void)ret;
    while (!fibers[i].over) {
        if (fibers[i].waits != NULL && fibers[i].until_us == INT64_MAX)
            sim_violation("a thread is joined that waits for ever");
        fiber_run(i);
    }
    return 0;
}

/* --- an engine's life ----------------------------------------------------------------------------------------------
 */

void host_begin(void)
{
    owned = true;
    n_fibers = 0;
}

void host_end(bool check)
{
    size_t n = 0;
    owned = false;
    n_fibers = 0;
    while (blocks.next != &blocks) {
        n++;
        __wrap_free(blocks.next + 1);
    }
    if (check && n > 0)
        sim_violation("an engine that stopped in order left %zu blocks of memory behind", n);
}
