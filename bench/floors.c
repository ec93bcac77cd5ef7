/* Physical floors of the folder given: fdatasync of one writer, and LMDB commits with default flags. One JSON line
 * each.
 *
 *   floors DIR SECONDS
 */
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum { PAGE = 4096, LAID_OUT = 64 << 20, RECORD = 256 };

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "floors: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void report(const char *name, size_t batches, size_t records, int64_t us)
{
    (void)printf("{\"floor\": \"%s\", \"per_second\": %.0f, \"mean_us\": %.1f}\n", name,
                 (double)records * 1e6 / (double)us, (double)us / (double)batches);
}

static void sync_floor(const char *dir, int64_t for_us, int laid_out)
{
    char path[4096], page[PAGE];
    memset(page, 'x', sizeof page);
    (void)snprintf(path, sizeof path, "%s/floor.dat", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    if (laid_out) {
        for (int i = 0; i < LAID_OUT / PAGE; i++)
            if (write(fd, page, sizeof page) != PAGE)
                die("lay out");
        if (fsync(fd) < 0)
            die("fsync");
    }
    size_t n = 0;
    int64_t from = clock_mono_us();
    for (; clock_mono_us() - from < for_us; n++)
        if (pwrite(fd, page, sizeof page, (off_t)(laid_out ? n * PAGE % LAID_OUT : n * PAGE)) != PAGE ||
            fdatasync(fd) < 0)
            die("fdatasync");
    report(laid_out ? "fdatasync 4 KiB, file laid out" : "fdatasync 4 KiB, file growing", n, n, clock_mono_us() - from);
    close(fd);
    (void)unlink(path);
}

static void lmdb_floor(const char *dir, int64_t for_us, size_t batch)
{
    char path[4096], file[4200], name[64], value[RECORD];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    memset(value, 'x', sizeof value);
    (void)snprintf(path, sizeof path, "%s/floor.lmdb", dir);
    if (mkdir(path, 0700) < 0 || mdb_env_create(&env) != 0 || mdb_env_set_mapsize(env, 8ULL << 30) != 0 ||
        mdb_env_open(env, path, 0, 0600) != 0)
        die(path);
    uint64_t key = 0;
    size_t n = 0;
    int64_t from = clock_mono_us();
    for (; clock_mono_us() - from < for_us; n++) {
        if (mdb_txn_begin(env, NULL, 0, &txn) != 0 || mdb_dbi_open(txn, NULL, 0, &dbi) != 0)
            die("lmdb");
        for (size_t i = 0; i < batch; i++) {
            uint64_t big = __builtin_bswap64(key++);
            MDB_val k = {.mv_size = sizeof big, .mv_data = &big}, v = {.mv_size = sizeof value, .mv_data = value};
            if (mdb_put(txn, dbi, &k, &v, MDB_APPEND) != 0)
                die("lmdb put");
        }
        if (mdb_txn_commit(txn) != 0)
            die("lmdb commit");
    }
    (void)snprintf(name, sizeof name, "LMDB commit of %zu", batch);
    report(name, n, n * batch, clock_mono_us() - from);
    mdb_env_close(env);
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    (void)unlink(file);
    (void)snprintf(file, sizeof file, "%s/lock.mdb", path);
    (void)unlink(file);
    (void)rmdir(path);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: floors DIR SECONDS\n"), 2;
    int64_t us = atoi(argv[2]) * 1000000LL;
    sync_floor(argv[1], us, 0);
    sync_floor(argv[1], us, 1);
    lmdb_floor(argv[1], us, 1);
    lmdb_floor(argv[1], us, 16);
    lmdb_floor(argv[1], us, 64);
    return 0;
}
