/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is kept of each watched task: its watch, and its call in progress. */
#ifndef GRAVEN_STASH_H
#define GRAVEN_STASH_H

#include "watch.h"

enum stash_state {
	NEW = 0,       /* just come under watch: a sys_exit before any sys_enter began unwatched */
	IDLE = 1,
	IN_CALL = 2,
	SKIP_EXIT = 3, /* a child's first sys_exit is of a call that it did not enter */
	LEFT_OUT = 4,  /* in a call that the watch leaves out */
};

struct stash {
	__u64 claim;      /* 0 while nobody has made it */
	__u64 remembered; /* under an exclusion: the claim before, which goes on when the task leaves */
	__u64 cgroup_id;  /* where the task was last seen */
	__u32 state;
	__u32 pid_ns;
	__u32 used;    /* bytes of items, a multiple of 8 */
	__u32 pending; /* bit i: operation i is to be run at exit */
	__u32 argv_at; /* where the ARGV item begins */
	__u32 root_done;
	/* Forms of record, all of them ending where the items begin. */
	union {
		struct {
			struct graven_header header;
			struct graven_call call;
		};
		struct {
			__u8 before_exec[sizeof(struct graven_call) - sizeof(struct graven_exec)];
			struct graven_header exec_header;
			struct graven_exec exec;
		};
		struct {
			__u8 before_task[sizeof(struct graven_call) - sizeof(struct graven_task)];
			struct graven_header task_header;
			struct graven_task task;
		};
		struct {
			__u8 before_cgroup[sizeof(struct graven_call) -
					   sizeof(struct graven_cgroup)];
			struct graven_header cgroup_header;
			struct graven_cgroup cgroup;
		};
	};
	__u8 items[GRAVEN_ITEMS_BYTES + GRAVEN_SLACK_BYTES];
};

/* Set before loading. */
const volatile struct graven_plan plans[GRAVEN_PLANS] = {};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct stash);
} stashes SEC(".maps");

/* For records of events outside any call: one for each program that makes them, since a program never
 * runs twice at once on one CPU. */
enum scratch_user {
	SCRATCH_EXEC,
	SCRATCH_INVENTORY,
	SCRATCH_MKDIR,
	SCRATCH_RMDIR,
	SCRATCH_USERS,
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, SCRATCH_USERS);
	__type(key, __u32);
	__type(value, struct stash);
} scratch SEC(".maps");

/* Masks in assembly: the compiler drops an `&` whose result it can prove, and the verifier, which
 * cannot prove it, then refuses the access. */
#define BELOW(bound, value)                                               \
	({                                                                \
		__u64 masked_ = (value);                                  \
		asm volatile("%0 &= %1" : "+r"(masked_) : "i"((bound) - 1)); \
		masked_;                                                  \
	})
#define MASKED(offset) BELOW(GRAVEN_ITEMS_BYTES, offset)

/* The task's stash, if it has one. Nearly no task of the machine has: that is found out without a call. */
static __always_inline struct stash *stash_of(struct task_struct *task)
{
	return task->bpf_storage ? bpf_task_storage_get(&stashes, task, 0, 0) : 0;
}

#endif
