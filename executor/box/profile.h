/* What a box is made of, as an ordered list of operations: a policy that can be printed can be reviewed and compared.
 * Pure: builds the list from facts, touches nothing. child.c executes it, in order, between clone and exec.
 *
 * The order is the security argument; each step's reason stands next to it in profile.c.
 */
#ifndef BOX_PROFILE_H
#define BOX_PROFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "box.h"
#include "executor_proto/manifest.h"
#include "executor_proto/proto.h"

enum {
    PROFILE_OPS_MAX = 128,
    PROFILE_TREES_MAX = 32,
    PROFILE_UID_INSIDE = 993, /* the one id that exists in a box, as on Lambda */
    PROFILE_API_PORT = 9001,
};

enum op_kind {
    OP_IDS,          /* become uid and gid n; -1: the host's ids that the parent chose */
    OP_PARENT_DEATH, /* die with the executor process */
    OP_SLAVE,        /* no mount of ours reaches the host */
    OP_GRAB,         /* take the mounts at src as tree number n, read-only */
    OP_LOWER,        /* the folder src will be a layer, over those named before */
    OP_OVERLAY,      /* take the layers, merged, as tree number n */
    OP_ROOT,         /* a fresh tmpfs over src becomes the new root's place */
    OP_DIR,          /* make folder dst */
    OP_DIRS,         /* make folder dst and those above it */
    OP_LINK,         /* make symlink dst with text src */
    OP_FILE,         /* make file dst with content src */
    OP_PUT,          /* mount tree n at dst */
    OP_TMPFS,        /* tmpfs of n bytes at dst */
    OP_PROC,         /* fresh proc at dst */
    OP_NO_USERNS,    /* no user namespace below this one: kernel-enforced */
    OP_PROC_SYS,     /* dst read-only */
    OP_MASK,         /* hide dst behind an empty file or folder, when it exists */
    OP_HOSTNAME,
    OP_LOOPBACK, /* lo up */
    OP_LISTEN,   /* the Runtime API's listener on 127.0.0.1:n, handed to the executor process */
    OP_PIVOT,    /* the new root becomes the root, the host's goes */
    OP_CHDIR,    /* src, and check that it is below the root */
    OP_CODE_CWD, /* sandbox = off: the code's folder on the host is the working directory */
    OP_ROOT_RO,  /* the root read-only */
    OP_SESSION,  /* a session without a terminal; descriptors 0, 1, 2 are /dev/null, the log pipe, the log pipe */
    OP_RLIMIT,   /* resource m to n, hard and soft */
    OP_CAPS,     /* no capability, bounding and ambient sets empty */
    OP_NNP,      /* no_new_privs */
    OP_N_KINDS,
};

struct op {
    enum op_kind kind;
    int m;
    int64_t n;
    const char *src, *dst; /* constants, or borrowed from the facts */
};

/* Trees that the parent has already made (as root: the box then needs no right to walk to them). */
enum {
    TREE_CODE,
    TREE_RUNTIME,
    TREE_LAYERS,
    TREE_READ_ONLY,
    TREE_FIRST_FREE = TREE_READ_ONLY + MANIFEST_READ_ONLY_MAX
};

enum { HOST_LINKS = 4, HOST_DEVICES = 5, HOST_ETC_MAX = 4 };

/* What the host looks like; found once by host.c. */
struct host {
    char link[HOST_LINKS][64];   /* text of the symlinks /bin /lib /lib64 /sbin; "" when it is a folder */
    bool link_here[HOST_LINKS];  /* exists at all */
    bool etc_here[HOST_ETC_MAX]; /* host_etc[i] exists */
    char resolv[2048];           /* text of /etc/resolv.conf, for network = host */
};
extern const char *const host_links[HOST_LINKS];
extern const char *const host_etc[HOST_ETC_MAX];
void host_look(struct host *h);

struct profile_in {
    enum box_mode mode;
    enum box_network network;
    bool as_root;                             /* code and runtime trees are there; else they are taken by path */
    bool no_proc;                             /* relaxed on a host that denies it */
    bool has_code, has_runtime;               /* a trial box has neither */
    const char *code_path, *runtime_path;     /* not as_root */
    const struct manifest_paths *read_only;   /* the runtime's folders of the host that are there; NULL: none */
    size_t n_layers;                          /* at /opt */
    const char *layer_path[PROTO_LAYERS_MAX]; /* not as_root */
    const struct host *host;
    uint32_t tmp_mb;
    uint32_t nproc;
};

struct profile {
    struct op op[PROFILE_OPS_MAX];
    size_t n;
    int n_trees;
    uint64_t clone_flags; /* CLONE_NEW* */
};

/* The list. The strings of in must live as long as p. */
void profile_build(struct profile *p, const struct profile_in *in);

/* One operation per line, for people and for comparing. */
int profile_print(const struct profile *p, struct buf *out) BIDE_MUST_USE;

/* "pivot", "tmpfs" and so on: the step's name in messages; static storage. */
const char *profile_op_name(enum op_kind k);

#endif
