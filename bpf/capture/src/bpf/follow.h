/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* How a task comes under watch, moves between watches, and is let go.
 *
 * Watched is whatever runs in a watched cgroup, whatever has executed a watched program, and whatever
 * was watched before: a task keeps its stash when it leaves, and hands one to each child. An exclusion
 * suspends that, and does not end it.
 */
#ifndef GRAVEN_FOLLOW_H
#define GRAVEN_FOLLOW_H

#include "fetch.h"

/* Fills in the record of a task that comes under watch, but for its argv. */
static __always_inline void begin_announcement(struct stash *record, struct task_struct *task,
					       __u64 cgroup_id, __u32 reason)
{
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);

	fill_header(&record->task_header, task, GRAVEN_TASK, cgroup_id, pid_namespace(task));
	record->task.reason = reason;
	record->task.start_ns = task->start_boottime;
	record->used = 0;
	if (exe)
		append_walk(record, (__u64)BPF_CORE_READ(exe, f_path.mnt),
			    (__u64)BPF_CORE_READ(exe, f_path.dentry), 0, GRAVEN_EXE);
}

static __always_inline void end_announcement(struct stash *record, __u64 claim)
{
	__u32 used = record->used;

	if (used > sizeof(record->items))
		return;
	record->task.items_bytes = used;
	emit(claim, &record->task_header, sizeof(record->task_header) + sizeof(record->task) + used);
}

/* Announces the current task, in its own stash: no call is in progress there. */
static __noinline int announce(struct stash *stash, struct task_struct *task, __u32 reason)
{
	__u64 from = BPF_CORE_READ(task, mm, arg_start);

	begin_announcement(stash, task, stash->cgroup_id, reason);
	if (from)
		append_strings(stash, from, BPF_CORE_READ(task, mm, arg_end) - from,
			       0 | GRAVEN_ARGV << 8);
	end_announcement(stash, stash->claim);
	return 0;
}

/* Sets the stash's claim. An exclusion remembers the claim before it: a task that goes into an excluded
 * cgroup is not let go when it comes out again. */
static __always_inline void put_claim(struct stash *stash, __u64 claim, struct graven_watch *watch)
{
	struct graven_watch *before = watch_of(stash->claim);

	if (!(watch->flags & GRAVEN_EXCLUSION))
		stash->remembered = 0;
	else if (before && !(before->flags & GRAVEN_EXCLUSION))
		stash->remembered = stash->claim;
	stash->claim = claim;
}

/* Takes the current task under watch `index`; returns its stash, or none. */
static __noinline struct stash *adopt(struct task_struct *task, __u32 index, __u32 reason)
{
	struct graven_watch *watch = watch_at(index);
	struct stash *stash;
	__u64 before, claim;

	if (!watch)
		return 0;
	claim = claim_of(index, watch);
	stash = bpf_task_storage_get(&stashes, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!stash) {
		COUNT(watch, stash_failed);
		return 0;
	}
	before = stash->claim;
	stash->cgroup_id = cgroup_of(task);
	stash->pid_ns = pid_namespace(task);
	/* The inventory may be at this very task: one of the two announces it. */
	if (!before && __sync_val_compare_and_swap(&stash->claim, 0, claim))
		return stash;
	put_claim(stash, claim, watch);
	announce(stash, task, reason);
	return stash;
}

/* The current task's stash, made now if the task is found in a watched cgroup. */
static __always_inline struct stash *followed(struct task_struct *task)
{
	struct stash *stash = stash_of(task);
	__u32 index;

	if (stash && watch_of(stash->claim))
		return stash;
	index = watch_on(cgroup_of(task));
	return index == NO_WATCH ? 0 : adopt(task, index, GRAVEN_JOINED);
}

/* Not inlined, nor is anything else with a record on its stack: of the 512 bytes that all calls below one
 * another have together, a walk needs most. */
static __noinline int emit_moved(struct stash *stash, struct task_struct *task, __u64 to_cgroup)
{
	struct {
		struct graven_header header;
		struct graven_moved moved;
	} record = {};

	fill_header(&record.header, task, GRAVEN_MOVED, to_cgroup, stash->pid_ns);
	record.moved.from_cgroup = stash->cgroup_id;
	record.moved.to_cgroup = to_cgroup;
	emit(stash->claim, &record.header, sizeof(record));
	return 0;
}

/* The task is in another cgroup than before, or its watch was dropped. Returns the stash to go on with,
 * or none. Leaving is no way out: where no watch is on the new cgroup, the old one goes on, and after an
 * exclusion the one before it. */
static __noinline struct stash *reconsider(struct stash *stash, struct task_struct *task)
{
	__u64 claim = stash->claim, cgroup_id = cgroup_of(task);
	__u32 next = watch_on(cgroup_id);
	struct graven_watch *watch = watch_of(claim);
	bool let_go = !watch;

	if (next != NO_WATCH && !watch_at(next))
		next = NO_WATCH;
	if (watch) {
		emit_moved(stash, task, cgroup_id);
		let_go = watch->flags & GRAVEN_EXCLUSION;
	}
	if (next != NO_WATCH && (!watch || next != (__u32)claim))
		return adopt(task, next, GRAVEN_JOINED);
	if (next == NO_WATCH && let_go) {
		if (!watch_of(stash->remembered)) {
			bpf_task_storage_delete(&stashes, task);
			return 0;
		}
		stash->claim = stash->remembered;
		stash->remembered = 0;
		emit_moved(stash, task, cgroup_id);
	}
	stash->cgroup_id = cgroup_id;
	return stash;
}

/* For on_exec: the stack is too small for it. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct executable);
} executable_key SEC(".maps");

/* Index of the watch on the program that the record's EXE item names. */
static __always_inline __u32 watch_on_executable(struct stash *record)
{
	__u32 zero = 0, *index, bytes;
	struct graven_item *item = (void *)&record->items[0];
	struct executable *key;

	if (!executables_known)
		return NO_WATCH;
	key = bpf_map_lookup_elem(&executable_key, &zero);
	bytes = item->len;
	/* A longer path cannot have been asked for; a truncated one is another. */
	if (!key || !bytes || bytes >= GRAVEN_EXECUTABLE_BYTES || item->flags)
		return NO_WATCH;
	__builtin_memset(key, 0, sizeof(*key));
	if (bpf_probe_read_kernel(key, bytes & (GRAVEN_EXECUTABLE_BYTES - 1), item + 1))
		return NO_WATCH;
	index = bpf_map_lookup_elem(&executables, key);
	return index ? *index : NO_WATCH;
}

#endif
