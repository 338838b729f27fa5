/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What is watched for whom, the counters, and the way out to user space. */
#ifndef GRAVEN_WATCH_H
#define GRAVEN_WATCH_H

#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "abi.h"

#define NO_WATCH (~0u)

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, GRAVEN_WATCHES);
	__type(key, __u32);
	__type(value, struct graven_watch);
} watches SEC(".maps");

/* Cgroup id -> index of its watch. Kept up to date here, so that no cgroup slips through. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRAVEN_CGROUPS);
	__type(key, __u64);
	__type(value, __u32);
} watched SEC(".maps");

/* One byte for all cgroups whose ids end alike: while it is 0, none of them is watched, which spares nearly
 * every call of the machine the look-up. Bytes and not bits, so that setting one disturbs no other, and never
 * cleared: a cgroup may share its byte with others. */
__u8 perhaps_watched[GRAVEN_CGROUP_BYTES] = {};

struct executable {
	__u8 path[GRAVEN_EXECUTABLE_BYTES]; /* as a walk collects it, padded with zeros */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRAVEN_EXECUTABLES);
	__type(key, struct executable);
	__type(value, __u32);
} executables SEC(".maps");

/* How many there are: with none, an exec of an unwatched process costs no look-up. */
volatile __u32 executables_known = 0;

/* One ring for each ledger, so that a stalled one costs only itself. Rings have any size. */
struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 << 10);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, GRAVEN_RINGS);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GRAVEN_RINGS);
	__type(key, __u32);
	__type(value, struct graven_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, GRAVEN_RINGS);
	__type(key, __u32);
	__type(value, struct graven_left_out);
} left_out SEC(".maps");

/* A task's claim names its watch: the index, and above it the generation, which is never 0. */
static __always_inline __u64 claim_of(__u32 index, struct graven_watch *watch)
{
	return (__u64)watch->generation << 32 | index;
}

/* The watch of a claim, unless it was dropped since. */
static __always_inline struct graven_watch *watch_of(__u64 claim)
{
	__u32 index = (__u32)claim;
	struct graven_watch *watch = bpf_map_lookup_elem(&watches, &index);

	return watch && claim && watch->generation == claim >> 32 ? watch : 0;
}

/* Index of the watch that a cgroup is under, or NO_WATCH. */
static __always_inline __u32 watch_on(__u64 cgroup_id)
{
	__u32 *index;

	if (!perhaps_watched[cgroup_id & (GRAVEN_CGROUP_BYTES - 1)])
		return NO_WATCH;
	index = bpf_map_lookup_elem(&watched, &cgroup_id);
	return index ? *index : NO_WATCH;
}

/* Puts a cgroup under a watch; 0 unless there are too many. */
static __always_inline long put_watch_on(__u64 cgroup_id, __u32 index)
{
	perhaps_watched[cgroup_id & (GRAVEN_CGROUP_BYTES - 1)] = 1;
	return bpf_map_update_elem(&watched, &cgroup_id, &index, BPF_ANY);
}

/* The watch of that index if it is set. */
static __always_inline struct graven_watch *watch_at(__u32 index)
{
	struct graven_watch *watch = bpf_map_lookup_elem(&watches, &index);

	return watch && watch->generation ? watch : 0;
}

/* Atomic because another task may be scheduled on this CPU in between on some kernels. */
#define COUNT(watch, member)                                                           \
	do {                                                                           \
		__u32 slot_ = (watch)->ring;                                           \
		struct graven_counters *counters_ = bpf_map_lookup_elem(&counters, &slot_); \
		if (counters_)                                                         \
			__sync_fetch_and_add(&counters_->member, 1);                   \
	} while (0)

/* Whether the watch leaves the call out; if so, it is counted by its number. Calls of other
 * architectures have other numbers, and are never left out. */
static __always_inline bool leaves_out(struct graven_watch *watch, __u16 arch, __u64 nr)
{
	struct graven_left_out *counted;
	__u32 slot = watch->ring;

	if (arch != GRAVEN_X86_64 || nr >= GRAVEN_PLANS)
		return false;
	if (!(watch->left_out[nr / 64 & 7] >> (nr & 63) & 1))
		return false;
	counted = bpf_map_lookup_elem(&left_out, &slot);
	if (counted)
		__sync_fetch_and_add(&counted->calls[nr & (GRAVEN_PLANS - 1)], 1);
	return true;
}

static __always_inline __u64 cgroup_of(struct task_struct *task)
{
	return task->cgroups->dfl_cgrp->kn->id;
}

/* Of the task itself; nsproxy has the one for its children. */
static __always_inline __u32 pid_namespace(struct task_struct *task)
{
	/* Read as a number: Linux 6.1 allows no arithmetic on a pointer whose type it knows. */
	struct pid *pid = BPF_CORE_READ(task, thread_pid);
	struct pid_namespace *namespace = 0;

	bpf_probe_read_kernel(&namespace, sizeof(namespace),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      BPF_CORE_READ(pid, level) * bpf_core_type_size(struct upid) +
				      bpf_core_field_offset(struct upid, ns));
	return BPF_CORE_READ(namespace, ns.inum);
}

static __always_inline void fill_header(struct graven_header *header, struct task_struct *task,
					__u16 kind, __u64 cgroup_id, __u32 pid_ns)
{
	struct nsproxy *namespaces = task->nsproxy;
	const struct cred *cred = task->cred;

	header->kind = kind;
	header->flags = 0;
	header->entry_ns = bpf_ktime_get_ns();
	header->cgroup_id = cgroup_id;
	header->pid = task->tgid;
	header->tid = task->pid;
	header->ppid = task->real_parent->tgid;
	header->uid = cred->uid.val;
	header->gid = cred->gid.val;
	header->euid = cred->euid.val;
	header->egid = cred->egid.val;
	/* A task that is ending may have left its namespaces. */
	header->mnt_ns = namespaces ? namespaces->mnt_ns->ns.inum : 0;
	header->net_ns = namespaces ? namespaces->net_ns->ns.inum : 0;
	header->pid_ns = pid_ns;
	((__u64 *)header->comm)[0] = *(__u64 *)&task->comm[0];
	((__u64 *)header->comm)[1] = *(__u64 *)&task->comm[8];
}

/* Numbers the record, then hands it over. A number without a record is a loss, and visible. */
static __always_inline void emit(__u64 claim, struct graven_header *header, __u32 size)
{
	struct graven_watch *watch = watch_of(claim);
	struct graven_counters *mine;
	__u64 flags = BPF_RB_NO_WAKEUP;
	__u32 slot;
	void *ring;

	if (!watch)
		return;
	slot = watch->ring;
	mine = bpf_map_lookup_elem(&counters, &slot);
	if (!mine)
		return;
	header->seq = __sync_fetch_and_add(&mine->seq, 1);
	header->cpu = bpf_get_smp_processor_id();
	header->size = size;
	header->watch = (__u32)claim;
	ring = bpf_map_lookup_elem(&rings, &slot);
	/* A wake-up costs more than the whole rest: one for many records. */
	if (ring && bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA) >= watch->wake_bytes)
		flags = BPF_RB_FORCE_WAKEUP;
	if (ring && !bpf_ringbuf_output(ring, header, size, flags))
		__sync_fetch_and_add(&mine->emitted, 1);
	else
		__sync_fetch_and_add(&mine->dropped, 1);
}

#endif
