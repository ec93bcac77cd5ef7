/* Mounts: trees taken from the host, the new root and what is put into it, the change of roots. Between clone and pivot
 * the working directory is the new root, and destinations ("/etc/passwd") mean places below it.
 *
 * Runs in the cloned child unless said otherwise. Every function gives 0 or ERR_IO with path and errno in e.
 */
#ifndef BOX_MNT_H
#define BOX_MNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A detached copy of the mounts at path (with dir_fd, or AT_FDCWD; "" with a dir_fd is the descriptor itself), without
 * set-user-id, without devices unless it is one, read-only. In *ret_fd, close-on-exec. The parent calls it too. */
int mnt_tree(int dir_fd, const char *path, int *ret_fd, struct err *e) BIDE_MUST_USE;

/* The same of several folders merged, the last of dirs on top. dirs are from this mount namespace. The parent calls it
 * too. */
int mnt_overlay(const int *dirs, size_t n, int *ret_fd, struct err *e) BIDE_MUST_USE;

int mnt_slave(struct err *e) BIDE_MUST_USE;
int mnt_root(const char *over, struct err *e) BIDE_MUST_USE; /* also makes it the working directory */
int mnt_dir(const char *dst, struct err *e) BIDE_MUST_USE;
int mnt_dirs(const char *dst, struct err *e) BIDE_MUST_USE; /* and those above it */
int mnt_link(const char *text, const char *dst, struct err *e) BIDE_MUST_USE;
int mnt_file(const char *content, const char *dst, struct err *e) BIDE_MUST_USE;
int mnt_put(int tree_fd, const char *dst, struct err *e) BIDE_MUST_USE;
int mnt_tmpfs(const char *dst, int64_t bytes, struct err *e) BIDE_MUST_USE;
int mnt_proc(const char *dst, struct err *e) BIDE_MUST_USE;
int mnt_read_only(const char *dst, struct err *e) BIDE_MUST_USE; /* a folder of proc */
int mnt_mask(const char *dst, struct err *e) BIDE_MUST_USE;      /* not there is fine */
int mnt_write(const char *dst, const char *text, struct err *e) BIDE_MUST_USE;
int mnt_pivot(struct err *e) BIDE_MUST_USE;
/* After mnt_pivot. */
int mnt_root_read_only(struct err *e) BIDE_MUST_USE;
int mnt_chdir(const char *path, struct err *e) BIDE_MUST_USE;

#endif
