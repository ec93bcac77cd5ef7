#include "profile.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

const char *const host_links[HOST_LINKS] = {"/bin", "/lib", "/lib64", "/sbin"};

/* The little of /etc that programs below /usr cannot do without: trust anchors, the loader's cache, and the link farm
 * behind names like /usr/bin/awk. Everything else there is generated. */
const char *const host_etc[HOST_ETC_MAX] = {"/etc/ssl/certs", "/etc/ca-certificates", "/etc/alternatives",
                                            "/etc/ld.so.cache"};

static const char *const names[OP_N_KINDS] = {
    [OP_IDS] = "ids",
    [OP_PARENT_DEATH] = "parent-death",
    [OP_SLAVE] = "slave",
    [OP_GRAB] = "grab",
    [OP_ROOT] = "root",
    [OP_DIR] = "dir",
    [OP_DIRS] = "dirs",
    [OP_LOWER] = "lower",
    [OP_OVERLAY] = "overlay",
    [OP_LINK] = "link",
    [OP_FILE] = "file",
    [OP_PUT] = "put",
    [OP_TMPFS] = "tmpfs",
    [OP_PROC] = "proc",
    [OP_NO_USERNS] = "no-userns",
    [OP_PROC_SYS] = "proc-sys",
    [OP_MASK] = "mask",
    [OP_HOSTNAME] = "hostname",
    [OP_LOOPBACK] = "loopback",
    [OP_LISTEN] = "listen",
    [OP_PIVOT] = "pivot",
    [OP_CHDIR] = "chdir",
    [OP_CODE_CWD] = "code-cwd",
    [OP_ROOT_RO] = "root-ro",
    [OP_SESSION] = "session",
    [OP_RLIMIT] = "rlimit",
    [OP_CAPS] = "caps",
    [OP_NNP] = "nnp",
};

const char *profile_op_name(enum op_kind k)
{
    return (unsigned)k < OP_N_KINDS ? names[k] : "?";
}

void host_look(struct host *h)
{
    memset(h, 0, sizeof *h);
    for (int i = 0; i < HOST_LINKS; i++) {
        ssize_t n = readlink(host_links[i], h->link[i], sizeof h->link[i] - 1);
        h->link[i][n > 0 ? n : 0] = '\0';
        h->link_here[i] = access(host_links[i], F_OK) == 0;
    }
    for (int i = 0; i < HOST_ETC_MAX; i++)
        h->etc_here[i] = access(host_etc[i], F_OK) == 0;
    FILE *f = fopen("/etc/resolv.conf", "re");
    if (f != NULL) {
        h->resolv[fread(h->resolv, 1, sizeof h->resolv - 1, f)] = '\0';
        (void)fclose(f);
    }
}

static void add(struct profile *p, struct op o)
{
    BIDE_ASSERT(p->n < PROFILE_OPS_MAX, "%zu operations", p->n);
    p->op[p->n++] = o;
}

static void add1(struct profile *p, enum op_kind k)
{
    add(p, (struct op){.kind = k});
}

static int grab(struct profile *p, const char *src)
{
    BIDE_ASSERT(p->n_trees < PROFILE_TREES_MAX, "%d trees", p->n_trees);
    add(p, (struct op){.kind = OP_GRAB, .n = p->n_trees, .src = src});
    return p->n_trees++;
}

static void put(struct profile *p, int tree, const char *dst)
{
    add(p, (struct op){.kind = OP_PUT, .n = tree, .dst = dst});
}

static void dir(struct profile *p, const char *dst)
{
    add(p, (struct op){.kind = OP_DIR, .dst = dst});
}

static void file(struct profile *p, const char *dst, const char *content)
{
    add(p, (struct op){.kind = OP_FILE, .src = content, .dst = dst});
}

static void symlink_op(struct profile *p, const char *dst, const char *text)
{
    add(p, (struct op){.kind = OP_LINK, .src = text, .dst = dst});
}

/* --- files ----------------------------------------------------------------------------------------------------------
 */

static const char *const devices[HOST_DEVICES] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"};

struct trees {
    int usr, code, runtime, layers;
    int read_only[MANIFEST_READ_ONLY_MAX];
    int link[HOST_LINKS];
    int etc[HOST_ETC_MAX];
    int dev[HOST_DEVICES];
};

/* One layer is a folder like the code, several are merged. */
static int grab_layers(struct profile *p, const struct profile_in *in)
{
    if (in->n_layers == 0)
        return -1;
    if (in->as_root)
        return TREE_LAYERS;
    if (in->n_layers == 1)
        return grab(p, in->layer_path[0]);
    for (size_t i = 0; i < in->n_layers; i++)
        add(p, (struct op){.kind = OP_LOWER, .src = in->layer_path[i]});
    add(p, (struct op){.kind = OP_OVERLAY, .n = p->n_trees});
    return p->n_trees++;
}

/* Everything that comes from the host is taken before the new root covers a part of it. */
static void grab_all(struct profile *p, const struct profile_in *in, struct trees *t)
{
    t->usr = grab(p, "/usr");
    for (int i = 0; i < HOST_LINKS; i++)
        t->link[i] = in->host->link_here[i] && in->host->link[i][0] == '\0' ? grab(p, host_links[i]) : -1;
    for (int i = 0; i < HOST_ETC_MAX; i++)
        t->etc[i] = in->host->etc_here[i] ? grab(p, host_etc[i]) : -1;
    for (int i = 0; i < HOST_DEVICES; i++)
        t->dev[i] = grab(p, devices[i]);
    t->code = !in->has_code ? -1 : in->as_root ? TREE_CODE : grab(p, in->code_path);
    t->runtime = !in->has_runtime ? -1 : in->as_root ? TREE_RUNTIME : grab(p, in->runtime_path);
    t->layers = grab_layers(p, in);
    for (size_t i = 0; in->read_only != NULL && i < in->read_only->n; i++)
        t->read_only[i] = in->as_root ? TREE_READ_ONLY + (int)i : grab(p, in->read_only->path[i]);
}

/* Never the host's /etc: names and keys of the host are none of a function's business. The time zone is UTC, as on
 * Lambda. */
static void add_etc(struct profile *p, const struct profile_in *in, const struct trees *t)
{
    dir(p, "/etc");
    file(p, "/etc/passwd",
         "root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:993:993:sandbox:/tmp:/usr/sbin/nologin\n"
         "nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
    file(p, "/etc/group", "root:x:0:\nsandbox:x:993:\nnogroup:x:65534:\n");
    file(p, "/etc/hosts", "127.0.0.1 localhost box\n::1 localhost\n");
    file(p, "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n");
    file(p, "/etc/resolv.conf", in->network == BOX_NETWORK_HOST ? in->host->resolv : "");
    symlink_op(p, "/etc/localtime", "/usr/share/zoneinfo/UTC");
    dir(p, "/etc/ssl");
    for (int i = 0; i < HOST_ETC_MAX; i++)
        if (t->etc[i] >= 0) {
            if (strcmp(host_etc[i], "/etc/ld.so.cache") == 0)
                file(p, host_etc[i], "");
            else
                dir(p, host_etc[i]);
            put(p, t->etc[i], host_etc[i]);
        }
}

static void add_dev(struct profile *p, const struct trees *t)
{
    dir(p, "/dev");
    for (int i = 0; i < HOST_DEVICES; i++) {
        file(p, devices[i], "");
        put(p, t->dev[i], devices[i]);
    }
    symlink_op(p, "/dev/fd", "/proc/self/fd");
    symlink_op(p, "/dev/stdin", "/proc/self/fd/0");
    symlink_op(p, "/dev/stdout", "/proc/self/fd/1");
    symlink_op(p, "/dev/stderr", "/proc/self/fd/2");
}

/* Files that describe or steer the whole host. Those that a kernel does not have are skipped. */
static void add_proc(struct profile *p)
{
    static const char *const masks[] = {
        "/proc/kcore",       "/proc/keys",          "/proc/key-users", "/proc/sysrq-trigger", "/proc/timer_list",
        "/proc/kallsyms",    "/proc/latency_stats", "/proc/config.gz", "/proc/sched_debug",   "/proc/scsi",
        "/proc/kpagecgroup", "/proc/kpagecount",    "/proc/acpi",      "/proc/kpageflags",    "/proc/kmsg",
        "/proc/asound",      "/proc/slabinfo",
    };
    add(p, (struct op){.kind = OP_PROC, .dst = "/proc"});
    /* Before /proc/sys becomes read-only. */
    add(p, (struct op){.kind = OP_NO_USERNS, .dst = "/proc/sys/user/max_user_namespaces"});
    add(p, (struct op){.kind = OP_PROC_SYS, .dst = "/proc/sys"});
    for (size_t i = 0; i < sizeof masks / sizeof masks[0]; i++)
        add(p, (struct op){.kind = OP_MASK, .dst = masks[i]});
}

/* Every mount target lies on our own fresh tmpfs: no path in it can be a symlink of somebody else's (CVE-2021-30465,
 * CVE-2025-31133). */
static void add_files(struct profile *p, const struct profile_in *in)
{
    static const char *const dirs[] = {"/usr", "/var", "/var/task", "/var/runtime", "/opt", "/tmp", "/proc", "/empty"};
    struct trees t;
    add1(p, OP_SLAVE);
    grab_all(p, in, &t);
    add(p, (struct op){.kind = OP_ROOT, .src = "/usr"}); /* the one folder that every host has and that is no link */
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++)
        dir(p, dirs[i]);
    put(p, t.usr, "/usr");
    for (int i = 0; i < HOST_LINKS; i++) {
        if (in->host->link[i][0] != '\0')
            symlink_op(p, host_links[i], in->host->link[i]);
        else if (t.link[i] >= 0) {
            dir(p, host_links[i]);
            put(p, t.link[i], host_links[i]);
        }
    }
    add_etc(p, in, &t);
    add_dev(p, &t);
    if (t.code >= 0)
        put(p, t.code, "/var/task");
    if (t.runtime >= 0)
        put(p, t.runtime, "/var/runtime");
    if (t.layers >= 0)
        put(p, t.layers, "/opt");
    for (size_t i = 0; in->read_only != NULL && i < in->read_only->n; i++) {
        add(p, (struct op){.kind = OP_DIRS, .dst = in->read_only->path[i]});
        put(p, t.read_only[i], in->read_only->path[i]);
    }
    add(p, (struct op){.kind = OP_TMPFS, .dst = "/tmp", .n = (int64_t)in->tmp_mb << 20});
    if (!in->no_proc)
        add_proc(p);
}

/* --- limits of a process ---------------------------------------------------------------------------------------------
 */

static void limit(struct profile *p, int resource, int64_t n)
{
    add(p, (struct op){.kind = OP_RLIMIT, .m = resource, .n = n});
}

/* Hard and soft, so that nothing of it can be raised again. No RLIMIT_AS: it breaks JVM, Go, Node.js and sanitizers. */
static void add_rlimits(struct profile *p, const struct profile_in *in)
{
    /* Not 0: for a core_pattern that is a pipe the kernel ignores 0 and runs the host's handler; 1 is the value that
     * stops both kinds of dump. The filter keeps it from being lowered. */
    limit(p, RLIMIT_CORE, 1);
    limit(p, RLIMIT_NOFILE, 1024); /* as on Lambda */
    /* A little more than /tmp holds, so that a full /tmp is ENOSPC and never SIGXFSZ. */
    limit(p, RLIMIT_FSIZE, ((int64_t)in->tmp_mb + 1) << 20);
    limit(p, RLIMIT_MEMLOCK, 65536);
    limit(p, RLIMIT_MSGQUEUE, 0);
    limit(p, RLIMIT_SIGPENDING, 1024);
    limit(p, RLIMIT_RTPRIO, 0);
    limit(p, RLIMIT_NICE, 0);
    limit(p, RLIMIT_NPROC, (int64_t)in->nproc + 2); /* init and its child before the exec */
}

/* --- the whole -------------------------------------------------------------------------------------------------------
 */

static void build_bare(struct profile *p)
{
    add(p, (struct op){.kind = OP_IDS, .n = -1});
    add1(p, OP_PARENT_DEATH);
    add(p, (struct op){.kind = OP_LISTEN, .n = 0});
    add1(p, OP_CODE_CWD);
    add1(p, OP_SESSION);
}

void profile_build(struct profile *p, const struct profile_in *in)
{
    memset(p, 0, sizeof *p);
    p->n_trees = TREE_FIRST_FREE;
    if (in->mode == BOX_OFF) {
        build_bare(p);
        return;
    }
    p->clone_flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
    if (in->network == BOX_NETWORK_NONE)
        p->clone_flags |= CLONE_NEWNET;
    /* A change of uid clears the parent-death signal, so it comes first. */
    add(p, (struct op){.kind = OP_IDS, .n = PROFILE_UID_INSIDE});
    add1(p, OP_PARENT_DEATH);
    add_files(p, in);
    add1(p, OP_HOSTNAME);
    if (in->network == BOX_NETWORK_NONE)
        add1(p, OP_LOOPBACK);
    /* On the host's network no port can be promised. */
    add(p, (struct op){.kind = OP_LISTEN, .n = in->network == BOX_NETWORK_NONE ? PROFILE_API_PORT : 0});
    add1(p, OP_PIVOT);
    add1(p, OP_ROOT_RO);
    add(p, (struct op){.kind = OP_CHDIR, .src = "/var/task"});
    add1(p, OP_SESSION);
    add_rlimits(p, in);
    add1(p, OP_CAPS);
    add1(p, OP_NNP);
}

int profile_print(const struct profile *p, struct buf *out)
{
    int rc = buf_printf(out, "clone %#llx\n", (unsigned long long)p->clone_flags);
    for (size_t i = 0; i < p->n && rc == 0; i++) {
        const struct op *o = &p->op[i];
        rc = buf_puts(out, profile_op_name(o->kind));
        if (rc == 0 && o->src != NULL)
            rc = buf_printf(out, " from %.*s", (int)strcspn(o->src, "\n"), o->src);
        if (rc == 0 && o->dst != NULL)
            rc = buf_printf(out, " at %s", o->dst);
        if (rc == 0 && (o->n != 0 || o->m != 0))
            rc = buf_printf(out, " %d %lld", o->m, (long long)o->n);
        if (rc == 0)
            rc = buf_putc(out, '\n');
    }
    return rc;
}
