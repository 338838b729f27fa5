/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The records this program hands to user space, and the plan it is given.
 *
 * The Rust mirror is `graven_abi::layout`. Both sides assert the same sizes and offsets, so
 * that one cannot be edited without the other. All integers are little-endian, all structs
 * are free of implicit padding, and every struct's size is a multiple of 8.
 */
#ifndef GRAVEN_ABI_H
#define GRAVEN_ABI_H

#include <linux/types.h>

#define GRAVEN_COMM_BYTES 16
#define GRAVEN_OPS_MAX 4
#define GRAVEN_PLANS 512
#define GRAVEN_WATCHES 64
#define GRAVEN_RINGS 32
#define GRAVEN_CGROUPS 16384
#define GRAVEN_CGROUP_BYTES 65536 /* a power of two: ids are masked with it */
#define GRAVEN_EXPECTED 1024
#define GRAVEN_EXPECTED_BYTES 256
#define GRAVEN_EXECUTABLES 1024
#define GRAVEN_EXECUTABLE_BYTES 256

/* An item may begin anywhere below ITEMS_BYTES (a power of two: offsets are masked with it) and
 * may run over into the slack, which therefore holds one whole PATH_MAX string. */
#define GRAVEN_ITEMS_BYTES 8192
#define GRAVEN_SLACK_BYTES 4352

enum graven_kind {
	GRAVEN_CALL = 1,
	GRAVEN_FORK = 2,
	GRAVEN_EXEC = 3,
	GRAVEN_EXIT = 4,
	GRAVEN_TASK = 5,   /* came under watch while it ran */
	GRAVEN_MOVED = 6,  /* found in another cgroup than before */
	GRAVEN_CGROUP = 7, /* made or removed below a watched one */
};

enum graven_reason {
	GRAVEN_INVENTORY = 1,  /* ran already when the watch was set */
	GRAVEN_JOINED = 2,     /* found in a watched cgroup */
	GRAVEN_EXECUTABLE = 3, /* executed a watched program */
};

enum graven_flag {
	GRAVEN_EXIT_ONLY = 1 << 0,  /* the entry was not seen: refused before its tracepoint */
	GRAVEN_NO_RETURN = 1 << 1,  /* the call has no result: the task ended inside it */
	GRAVEN_ITEMS_FULL = 1 << 2, /* an item was left out because the buffer was full */
	GRAVEN_CHANGED = 1 << 3,    /* exec: the kernel read another path than was there at entry */
};

enum graven_arch {
	GRAVEN_X86_64 = 1,
	GRAVEN_I386 = 2,
	GRAVEN_X32 = 3,
};

struct graven_header {
	__u16 kind;
	__u16 flags;
	__u32 size; /* of the whole record, this header included */
	__u64 seq;
	__u64 entry_ns;
	__u64 cgroup_id;
	__u32 cpu;
	__u32 pid; /* thread group id */
	__u32 tid;
	__u32 ppid;
	__u32 uid;
	__u32 gid;
	__u32 euid;
	__u32 egid;
	__u32 mnt_ns; /* inode numbers */
	__u32 pid_ns;
	__u32 net_ns;
	__u32 watch;
	char comm[GRAVEN_COMM_BYTES];
};

struct graven_call {
	__u64 exit_ns;
	__s64 ret;
	__u64 args[6];
	__u32 nr;
	__u16 arch;
	__u16 items_bytes;
};

struct graven_fork {
	__u32 child_pid;
	__u32 child_tid;
};

struct graven_exec {
	__u32 old_tid; /* the calling thread's id before it became the leader */
	__u32 items_bytes;
};

struct graven_exit {
	__u32 status;     /* in the form of wait(2) */
	__u32 group_dead; /* 1: the last thread of its group */
};

struct graven_task {
	__u32 reason;
	__u32 items_bytes;
	__u64 start_ns; /* CLOCK_BOOTTIME */
};

struct graven_moved {
	__u64 from_cgroup;
	__u64 to_cgroup;
};

struct graven_cgroup {
	__u64 cgroup_id;
	__u64 parent_id;
	__u32 made; /* 1 made, 0 removed */
	__u32 items_bytes;
};

enum graven_item_kind {
	GRAVEN_STRING = 1, /* without its NUL */
	GRAVEN_BYTES = 2,
	GRAVEN_ARGV = 3, /* strings, each with its NUL */
	GRAVEN_DIR = 4,  /* path components, deepest first, each with its NUL */
	GRAVEN_ROOT = 5, /* the same, of the task's root; absent where that is "/" */
	GRAVEN_EXE = 6,  /* the same, of the executable, from the mount namespace's root */
	GRAVEN_ENV = 7,  /* strings, each with its NUL; the last may be cut short */
};

enum graven_item_flag {
	GRAVEN_TRUNCATED = 1 << 0,
	GRAVEN_AT_EXIT = 1 << 1,     /* unreadable at entry, so read at the call's end */
	GRAVEN_DETACHED = 1 << 2,    /* not in any directory: memfd, pipe, socket */
	GRAVEN_UNREACHABLE = 1 << 3, /* not below the task's root */
};

/* Its `len` bytes follow, then zero to seven bytes up to a multiple of 8. */
struct graven_item {
	__u8 arg;
	__u8 kind;
	__s16 err; /* 0 or -errno of the read */
	__u16 len;
	__u16 flags;
};

enum graven_op_kind {
	GRAVEN_OP_NONE = 0,
	GRAVEN_OP_STRING = 1,
	GRAVEN_OP_PATH = 2,    /* other: argument with the directory, or NO_ARG for the cwd */
	GRAVEN_OP_FD_PATH = 3,
	GRAVEN_OP_ARGV = 4,
	GRAVEN_OP_BYTES = 5,    /* other: argument with the count, or NO_ARG for max_bytes;
				 * scale: log2 of bytes for each */
	GRAVEN_OP_ADDR_OUT = 6, /* other: argument that points to the length; read at exit */
	GRAVEN_OP_MSG_NAME = 7, /* msg_name of a struct msghdr */
	GRAVEN_OP_MSG_NAME_OUT = 8, /* the same, written by the call; read at exit */
};

#define GRAVEN_NO_ARG 0xff

struct graven_op {
	__u8 kind;
	__u8 arg;
	__u8 other;
	__u8 scale;
	__u16 max_bytes;
	__u16 reserved;
};

/* Operations on the same call, in order; the first GRAVEN_OP_NONE ends them. */
struct graven_plan {
	struct graven_op ops[GRAVEN_OPS_MAX];
};

enum graven_watch_flag {
	GRAVEN_WANTS_ENV = 1 << 0, /* exec records carry the environment */
	GRAVEN_EXCLUSION = 1 << 1, /* leaves out every call; who comes from no watch is let go again */
};

struct graven_watch {
	__u32 generation; /* 0: none; otherwise another number each time that the index is used anew */
	__u32 ring;
	__u32 flags;
	__u32 wake_bytes;
	__u64 left_out[GRAVEN_PLANS / 64]; /* bit n: x86_64 call n is counted, not recorded */
};

/* A thread that is watched, as the list of followers has it. */
struct graven_follower {
	__u64 claim;
	__u64 start_ns; /* of its process, CLOCK_BOOTTIME */
	__u32 pid;
	__u32 reserved;
};

struct graven_left_out {
	__u64 calls[GRAVEN_PLANS];
};

struct graven_counters {
	__u64 seq; /* records numbered: emitted + dropped */
	__u64 emitted;
	__u64 dropped;
	__u64 stash_failed;
	__u64 skipped_mid_call;
};

_Static_assert(sizeof(struct graven_header) == 96, "header");
_Static_assert(__builtin_offsetof(struct graven_header, seq) == 8, "header.seq");
_Static_assert(__builtin_offsetof(struct graven_header, cpu) == 32, "header.cpu");
_Static_assert(__builtin_offsetof(struct graven_header, euid) == 56, "header.euid");
_Static_assert(__builtin_offsetof(struct graven_header, watch) == 76, "header.watch");
_Static_assert(__builtin_offsetof(struct graven_header, comm) == 80, "header.comm");
_Static_assert(sizeof(struct graven_call) == 72, "call");
_Static_assert(__builtin_offsetof(struct graven_call, args) == 16, "call.args");
_Static_assert(__builtin_offsetof(struct graven_call, nr) == 64, "call.nr");
_Static_assert(__builtin_offsetof(struct graven_call, items_bytes) == 70, "call.items_bytes");
_Static_assert(sizeof(struct graven_fork) == 8, "fork");
_Static_assert(sizeof(struct graven_exec) == 8, "exec");
_Static_assert(sizeof(struct graven_exit) == 8, "exit");
_Static_assert(sizeof(struct graven_task) == 16, "task");
_Static_assert(__builtin_offsetof(struct graven_task, start_ns) == 8, "task.start_ns");
_Static_assert(sizeof(struct graven_moved) == 16, "moved");
_Static_assert(sizeof(struct graven_cgroup) == 24, "cgroup");
_Static_assert(__builtin_offsetof(struct graven_cgroup, made) == 16, "cgroup.made");
_Static_assert(sizeof(struct graven_item) == 8, "item");
_Static_assert(__builtin_offsetof(struct graven_item, len) == 4, "item.len");
_Static_assert(sizeof(struct graven_op) == 8, "op");
_Static_assert(__builtin_offsetof(struct graven_op, max_bytes) == 4, "op.max_bytes");
_Static_assert(sizeof(struct graven_plan) == 32, "plan");
_Static_assert(sizeof(struct graven_watch) == 80, "watch");
_Static_assert(__builtin_offsetof(struct graven_watch, left_out) == 16, "watch.left_out");
_Static_assert(sizeof(struct graven_follower) == 24, "follower");
_Static_assert(__builtin_offsetof(struct graven_follower, pid) == 16, "follower.pid");
_Static_assert(sizeof(struct graven_left_out) == 4096, "left_out");
_Static_assert(sizeof(struct graven_counters) == 40, "counters");

#endif
