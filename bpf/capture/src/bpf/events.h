/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What happens outside the watched tasks: cgroups come and go, and the inventory is taken. */
#ifndef GRAVEN_EVENTS_H
#define GRAVEN_EVENTS_H

#include "follow.h"

static __always_inline void emit_cgroup(struct cgroup *cgroup, __u64 parent_id, __u32 index,
					struct graven_watch *watch, __u32 user)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stash *record = bpf_map_lookup_elem(&scratch, &user);
	__u32 used;
	long bytes;

	if (!record)
		return;
	fill_header(&record->cgroup_header, task, GRAVEN_CGROUP, cgroup_of(task),
		    pid_namespace(task));
	record->cgroup.cgroup_id = cgroup->kn->id;
	record->cgroup.parent_id = parent_id;
	record->cgroup.made = user == SCRATCH_MKDIR;
	bytes = bpf_probe_read_kernel_str(&record->items[sizeof(struct graven_item)], NAME_BYTES,
					  BPF_CORE_READ(cgroup, kn, name));
	close_item(record, 0,
		   (struct graven_item){ .kind = GRAVEN_STRING, .err = bytes < 0 ? bytes : 0,
					 .len = bytes > 0 ? bytes - 1 : 0 });
	used = record->used;
	if (used > sizeof(record->items))
		return;
	record->cgroup.items_bytes = used;
	emit(claim_of(index, watch), &record->cgroup_header,
	     sizeof(record->cgroup_header) + sizeof(record->cgroup) + used);
}

static __always_inline __u64 parent_of(struct cgroup *cgroup)
{
	struct cgroup *parent = (void *)cgroup->self.parent - bpf_core_field_offset(struct cgroup, self);

	return BPF_CORE_READ(parent, kn, id);
}

struct expected {
	__u8 text[GRAVEN_EXPECTED_BYTES]; /* padded with zeros */
};

/* Cgroups to be watched once they are made, by their path from the root of the hierarchy, or by their own
 * name wherever they are. A path begins with a slash, and a name has none. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, GRAVEN_EXPECTED);
	__type(key, struct expected);
	__type(value, __u32);
} expected SEC(".maps");

/* How many there are. */
volatile __u32 expected_known = 0;

/* Index of the watch that expects a cgroup of this path or name; `key` is written over. */
static __noinline __u32 watch_expecting(struct stash *key, __u64 text)
{
	struct expected *expecting;
	__u32 *index;
	long bytes;

	if (!key)
		return NO_WATCH;
	expecting = (void *)&key->items[0];
	__builtin_memset(expecting, 0, sizeof(*expecting));
	bytes = bpf_probe_read_kernel_str(expecting, sizeof(*expecting), (void *)text);
	/* One that fills the key may have been cut. */
	if (bytes <= 0 || bytes >= sizeof(*expecting))
		return NO_WATCH;
	index = bpf_map_lookup_elem(&expected, expecting);
	return index ? *index : NO_WATCH;
}

/* The watch that a new cgroup comes under: what was said of its path, else of its name, else its parent's. */
static __always_inline struct graven_watch *watch_of_new(struct cgroup *cgroup, const char *path,
							 __u64 parent_id, __u32 *index)
{
	__u32 user = SCRATCH_MKDIR;
	struct graven_watch *watch = 0;
	struct stash *key;

	if (expected_known) {
		key = bpf_map_lookup_elem(&scratch, &user);
		*index = watch_expecting(key, (__u64)path);
		watch = watch_at(*index);
		if (!watch) {
			*index = watch_expecting(key, (__u64)BPF_CORE_READ(cgroup, kn, name));
			watch = watch_at(*index);
		}
	}
	if (!watch) {
		*index = watch_on(parent_id);
		watch = watch_at(*index);
	}
	return watch;
}

/* Runs before any task can enter the new cgroup. */
SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(on_cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	struct graven_watch *watch;
	__u64 parent_id;
	__u32 index;

	/* The hierarchies of version 1 number their cgroups each for itself. */
	if (cgroup->root->hierarchy_id)
		return 0;
	parent_id = parent_of(cgroup);
	watch = watch_of_new(cgroup, path, parent_id, &index);
	if (!watch)
		return 0;
	if (put_watch_on(cgroup->kn->id, index))
		COUNT(watch, stash_failed);
	emit_cgroup(cgroup, parent_id, index, watch, SCRATCH_MKDIR);
	return 0;
}

SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(on_cgroup_rmdir, struct cgroup *cgroup, const char *path)
{
	__u64 id = cgroup->kn->id;
	struct graven_watch *watch;
	__u32 index;

	if (cgroup->root->hierarchy_id)
		return 0;
	index = watch_on(id);
	if (index == NO_WATCH)
		return 0;
	bpf_map_delete_elem(&watched, &id);
	watch = watch_at(index);
	if (watch)
		emit_cgroup(cgroup, parent_of(cgroup), index, watch, SCRATCH_RMDIR);
	return 0;
}

/* Argv of a task that is not the current one. */
static __always_inline void append_remote_argv(struct stash *record, struct task_struct *task)
{
	__u64 from = BPF_CORE_READ(task, mm, arg_start), start = record->used;
	__u64 bytes = BPF_CORE_READ(task, mm, arg_end) - from;
	__u32 flags = 0;
	int err;

	if (!from || is_full(record))
		return;
	if (bytes > BYTES_MAX) {
		bytes = BYTES_MAX;
		flags = GRAVEN_TRUNCATED;
	}
	asm volatile("" : "+r"(bytes));
	if (bytes > BYTES_MAX)
		return;
	err = bpf_copy_from_user_task(
		&record->items[MASKED(start) + sizeof(struct graven_item)], bytes, (void *)from,
		task, 0);
	close_item(record, start,
		   (struct graven_item){ .kind = GRAVEN_ARGV, .err = err, .len = err ? 0 : bytes,
					 .flags = flags });
}

/* Takes every task that runs in a watched cgroup under watch. Each thread gets its stash; one record is
 * made for each process, its leader's. The loader reads one inventory at a time. */
SEC("iter.s/task")
int take_inventory(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct stash *record, *stash;
	struct graven_watch *watch;
	__u64 before, claim, cgroup_id;
	__u32 index, user = SCRATCH_INVENTORY;

	/* Of a process that has ended, nobody asks any more. */
	if (!task || task->flags & PF_KTHREAD || !BPF_CORE_READ(task, signal, live.counter))
		return 0;
	cgroup_id = cgroup_of(task);
	index = watch_on(cgroup_id);
	watch = watch_at(index);
	if (index == NO_WATCH || !watch)
		return 0;
	claim = claim_of(index, watch);
	stash = bpf_task_storage_get(&stashes, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!stash) {
		COUNT(watch, stash_failed);
		return 0;
	}
	before = stash->claim;
	if (watch_of(before))
		return 0;
	stash->cgroup_id = cgroup_id;
	stash->pid_ns = pid_namespace(task);
	/* The task may be at its next call at this very moment: one of the two announces it. */
	if (__sync_val_compare_and_swap(&stash->claim, before, claim) != before)
		return 0;
	record = bpf_map_lookup_elem(&scratch, &user);
	/* A leader may have ended before its threads: then it has nothing left to tell but its ids. */
	if (!record || task->pid != task->tgid)
		return 0;
	begin_announcement(record, task, cgroup_id, GRAVEN_INVENTORY);
	append_remote_argv(record, task);
	end_announcement(record, claim);
	return 0;
}

/* Lists the threads that are watched and have not ended, each with the claim that its next call will be of; an
 * exclusion gives way to the claim before it. One that has run into another watch's cgroup is that one's. */
SEC("iter/task")
int list_followers(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	struct graven_follower follower = {};
	struct graven_watch *watch, *next;
	struct stash *stash;
	__u32 index;

	if (!task || task->exit_state || !task->bpf_storage)
		return 0;
	stash = bpf_task_storage_get(&stashes, task, 0, 0);
	if (!stash)
		return 0;
	follower.claim = stash->claim;
	watch = watch_of(follower.claim);
	if ((!watch || watch->flags & GRAVEN_EXCLUSION) && watch_of(stash->remembered))
		follower.claim = stash->remembered;
	index = watch_on(cgroup_of(task));
	next = watch_at(index);
	if (next && !(next->flags & GRAVEN_EXCLUSION) && index != (__u32)follower.claim)
		return 0;
	follower.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	follower.pid = task->tgid;
	bpf_seq_write(context->meta->seq, &follower, sizeof(follower));
	return 0;
}

#endif
