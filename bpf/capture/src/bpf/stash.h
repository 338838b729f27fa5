/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The call in progress of each watched task, the counters, and the way out to user space. */
#ifndef GRAVEN_STASH_H
#define GRAVEN_STASH_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "abi.h"

enum stash_state {
	IDLE = 0,
	IN_CALL = 1,
	SKIP_EXIT = 2, /* the next sys_exit has no entry: a child's first, or one begun unwatched */
};

struct stash {
	__u32 state;
	__u32 used;    /* bytes of items, a multiple of 8 */
	__u32 pending; /* bit i: operation i is to be run at exit */
	__u32 argv_at; /* where the ARGV item begins */
	__u32 root_done;
	__u32 reserved;
	/* Two forms of record, both ending where the items begin. */
	union {
		struct {
			struct graven_header header;
			struct graven_call call;
		};
		struct {
			__u8 unused[sizeof(struct graven_call) - sizeof(struct graven_exec)];
			struct graven_header exec_header;
			struct graven_exec exec;
		};
	};
	__u8 items[GRAVEN_ITEMS_BYTES + GRAVEN_SLACK_BYTES];
};

/* Set before loading. */
const volatile __u64 watched_cgroup_id = 0;
const volatile __u32 watched_level = 0;
const volatile __u32 wake_bytes = 64 * 1024;
const volatile struct graven_plan plans[GRAVEN_PLANS] = {};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct stash);
} stashes SEC(".maps");

/* Used by on_exec alone: a program never runs twice at once on one CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stash);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct graven_counters);
} counters SEC(".maps");

/* Masks in assembly: the compiler drops an `&` whose result it can prove, and the verifier, which
 * cannot prove it, then refuses the access. */
#define MASKED(offset)                                                                  \
	({                                                                              \
		__u64 masked_ = (offset);                                               \
		asm volatile("%0 &= %1" : "+r"(masked_) : "i"(GRAVEN_ITEMS_BYTES - 1)); \
		masked_;                                                                \
	})

static __always_inline struct graven_counters *my_counters(void)
{
	__u32 zero = 0;
	return bpf_map_lookup_elem(&counters, &zero);
}

/* Atomic because another task may be scheduled on this CPU in between on some kernels. */
#define COUNT(member)                                                 \
	do {                                                          \
		struct graven_counters *counters_ = my_counters();    \
		if (counters_)                                        \
			__sync_fetch_and_add(&counters_->member, 1);  \
	} while (0)

static __always_inline bool in_subtree(void)
{
	return bpf_get_current_ancestor_cgroup_id(watched_level) == watched_cgroup_id;
}

/* Of the task itself; nsproxy has the one for its children. */
static __always_inline __u32 pid_namespace(struct task_struct *task)
{
	struct pid *pid = task->thread_pid;
	struct pid_namespace *namespace;

	if (!pid)
		return 0;
	bpf_probe_read_kernel(&namespace, sizeof(namespace), &pid->numbers[pid->level].ns);
	return BPF_CORE_READ(namespace, ns.inum);
}

static __always_inline void fill_header(struct graven_header *header, struct task_struct *task,
					__u16 kind)
{
	__u64 ids = bpf_get_current_pid_tgid();
	struct nsproxy *namespaces = task->nsproxy;
	const struct cred *cred = task->cred;

	header->kind = kind;
	header->flags = 0;
	header->entry_ns = bpf_ktime_get_ns();
	header->cgroup_id = bpf_get_current_cgroup_id();
	header->pid = ids >> 32;
	header->tid = (__u32)ids;
	header->ppid = task->real_parent->tgid;
	header->uid = cred->uid.val;
	header->gid = cred->gid.val;
	header->euid = cred->euid.val;
	header->egid = cred->egid.val;
	/* An exiting task has left its namespaces already. */
	header->mnt_ns = namespaces ? namespaces->mnt_ns->ns.inum : 0;
	header->net_ns = namespaces ? namespaces->net_ns->ns.inum : 0;
	header->pid_ns = pid_namespace(task);
	header->watch = 0;
	bpf_get_current_comm(header->comm, sizeof(header->comm));
}

/* Numbers the record, then hands it over. A number without a record is a loss, and visible. */
static __always_inline void emit(struct graven_header *header, __u32 size)
{
	struct graven_counters *mine = my_counters();
	__u64 flags = BPF_RB_NO_WAKEUP;

	if (!mine)
		return;
	header->seq = __sync_fetch_and_add(&mine->seq, 1);
	header->cpu = bpf_get_smp_processor_id();
	header->size = size;
	/* A wake-up costs more than the whole rest: one for many records. */
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= wake_bytes)
		flags = BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_output(&ring, header, size, flags))
		__sync_fetch_and_add(&mine->dropped, 1);
	else
		__sync_fetch_and_add(&mine->emitted, 1);
}

#endif
