/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Where a file is: its path components, collected from the file upwards. */
#ifndef GRAVEN_WALK_H
#define GRAVEN_WALK_H

#include "stash.h"

/* Components and mount points together. */
#define WALK_STEPS_MAX 192
#define NAME_BYTES 256 /* NAME_MAX and the NUL */

struct walk {
	struct stash *stash;
	struct dentry *dentry;
	struct mount *mount;
	struct dentry *mount_root; /* of `mount` */
	struct dentry *root_dentry;
	struct mount *root_mount;
	__u64 offset;
	__u32 flags;
	bool done;
	bool bounded; /* the walk is to end at the root given, not at the top */
};

static __always_inline struct mount *mount_of(struct vfsmount *vfsmount)
{
	return (void *)vfsmount - bpf_core_field_offset(struct mount, mnt);
}

/* Three members that lie side by side, on every kernel seen: one read instead of three. */
struct mount_links {
	struct mount *parent;
	struct dentry *mountpoint;
	struct dentry *root;
};

static __always_inline void read_links(struct mount *mount, struct mount_links *links)
{
	__u32 at = bpf_core_field_offset(struct mount, mnt_parent);

	if (bpf_core_field_offset(struct mount, mnt_mountpoint) == at + 8 &&
	    bpf_core_field_offset(struct mount, mnt) == at + 16 &&
	    bpf_core_field_offset(struct vfsmount, mnt_root) == 0) {
		bpf_probe_read_kernel(links, sizeof(*links), (void *)mount + at);
		return;
	}
	links->parent = BPF_CORE_READ(mount, mnt_parent);
	links->mountpoint = BPF_CORE_READ(mount, mnt_mountpoint);
	links->root = BPF_CORE_READ(mount, mnt.mnt_root);
}

static long walk_step(__u32 index, struct walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct mount *mount = walk->mount;
	struct dentry *parent;
	struct stash *stash = walk->stash;
	long bytes;

	if (walk->bounded && dentry == walk->root_dentry && mount == walk->root_mount)
		goto done;
	if (dentry == walk->mount_root) {
		struct mount *above = BPF_CORE_READ(mount, mnt_parent);

		if (above == mount) {
			if (walk->bounded)
				walk->flags |= GRAVEN_UNREACHABLE;
			goto done;
		}
		walk->dentry = BPF_CORE_READ(mount, mnt_mountpoint);
		walk->mount = above;
		walk->mount_root = BPF_CORE_READ(above, mnt.mnt_root);
		return 0;
	}
	if (!stash || walk->offset >= GRAVEN_ITEMS_BYTES) {
		walk->flags |= GRAVEN_TRUNCATED;
		goto done;
	}
	bytes = bpf_probe_read_kernel_str(&stash->items[MASKED(walk->offset)], NAME_BYTES,
					  BPF_CORE_READ(dentry, d_name.name));
	if (bytes <= 0) {
		walk->flags |= GRAVEN_TRUNCATED;
		goto done;
	}
	walk->offset += bytes;
	parent = BPF_CORE_READ(dentry, d_parent);
	if (parent == dentry) {
		walk->flags |= GRAVEN_DETACHED;
		goto done;
	}
	walk->dentry = parent;
	return 0;
done:
	walk->done = true;
	return 1;
}

/* Closes the item that begins at `start` and whose payload has `bytes` bytes. */
static __always_inline void close_item(struct stash *stash, __u64 start, struct graven_item head)
{
	struct graven_item *item = (void *)&stash->items[MASKED(start)];

	*item = head;
	stash->used = (start + sizeof(*item) + head.len + 7) & ~7u;
}

static __always_inline bool is_full(struct stash *stash)
{
	if (stash->used < GRAVEN_ITEMS_BYTES)
		return false;
	stash->header.flags |= GRAVEN_ITEMS_FULL;
	return true;
}

/* Appends the path of {vfsmount, dentry} as an item; `what` is its argument and kind.
 * A root item that would be empty is left out. */
__noinline int append_walk(struct stash *stash, __u64 vfsmount, __u64 dentry, __u32 arg, __u32 kind)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct walk walk = {};
	struct mount *mount;
	__u64 start;

	if (!stash || is_full(stash))
		return 0;
	start = stash->used;
	walk.stash = stash;
	walk.dentry = (void *)dentry;
	mount = mount_of((void *)vfsmount);
	walk.mount = mount;
	walk.mount_root = BPF_CORE_READ(mount, mnt.mnt_root);
	walk.offset = start + sizeof(struct graven_item);
	walk.bounded = kind == GRAVEN_DIR;
	if (walk.bounded) {
		walk.root_dentry = BPF_CORE_READ(task, fs, root.dentry);
		walk.root_mount = mount_of(BPF_CORE_READ(task, fs, root.mnt));
	}
	bpf_loop(WALK_STEPS_MAX, walk_step, &walk, 0);
	if (!walk.done)
		walk.flags |= GRAVEN_TRUNCATED;
	walk.offset -= start + sizeof(struct graven_item);
	if (kind == GRAVEN_ROOT && !walk.offset)
		return 0;
	close_item(stash, start,
		   (struct graven_item){ .arg = arg, .kind = kind, .len = walk.offset,
					 .flags = walk.flags });
	return 0;
}

/* Appends the path of an open file, or of the working directory for AT_FDCWD. */
__noinline int append_directory(struct stash *stash, int fd, __u32 arg)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct file *file = 0;

	if (!stash)
		return 0;
	if (fd == AT_FDCWD)
		return append_walk(stash, (__u64)BPF_CORE_READ(task, fs, pwd.mnt),
				   (__u64)BPF_CORE_READ(task, fs, pwd.dentry), arg, GRAVEN_DIR);
	if (fd >= 0 && (__u32)fd < BPF_CORE_READ(task, files, fdt, max_fds)) {
		struct file **table = BPF_CORE_READ(task, files, fdt, fd);

		bpf_probe_read_kernel(&file, sizeof(file), &table[fd]);
	}
	if (!file) {
		if (!is_full(stash))
			close_item(stash, stash->used,
				   (struct graven_item){ .arg = arg, .kind = GRAVEN_DIR,
							 .err = -EBADF });
		return 0;
	}
	return append_walk(stash, (__u64)BPF_CORE_READ(file, f_path.mnt),
			   (__u64)BPF_CORE_READ(file, f_path.dentry), arg, GRAVEN_DIR);
}

/* Whether the task's root is the top of its mounts: nearly always, so found out without a walk. */
static __always_inline bool root_is_top(struct task_struct *task)
{
	struct vfsmount *vfsmount = task->fs->root.mnt;
	struct mount *mount = mount_of(vfsmount);
	struct mount_links links, above;

	if (vfsmount->mnt_root != task->fs->root.dentry)
		return false;
	read_links(mount, &links);
	if (links.parent == mount)
		return true;
	/* The real root is mounted on the initial file system's. */
	read_links(links.parent, &above);
	return above.parent == links.parent && links.mountpoint == above.root;
}

/* Names the task's root once a call, where it is not the top of its mounts (chroot). */
static __always_inline void append_root(struct stash *stash, struct task_struct *task)
{
	if (stash->root_done)
		return;
	stash->root_done = 1;
	if (!root_is_top(task))
		append_walk(stash, (__u64)BPF_CORE_READ(task, fs, root.mnt),
			    (__u64)BPF_CORE_READ(task, fs, root.dentry), 0, GRAVEN_ROOT);
}

#endif
