/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One record for each system call of the watched tasks, and for their forks, execs and exits. */
#include "events.h"

char LICENSE[] SEC("license") = "GPL";

#define NR_EXECVE 59
#define NR_EXIT 60
#define NR_EXIT_GROUP 231
#define NR_EXECVEAT 322
#define NR_I386_EXIT 1
#define NR_I386_EXIT_GROUP 252

static __always_inline __u16 arch_of(struct task_struct *task, __u32 nr)
{
	if (task->thread_info.status & TS_COMPAT)
		return GRAVEN_I386;
	/* All ones is no call of x32 but one that a tracer or seccomp has cancelled. */
	return nr & X32_SYSCALL_BIT && nr != ~0u ? GRAVEN_X32 : GRAVEN_X86_64;
}

static __always_inline void begin_call(struct stash *stash, struct task_struct *task,
				       struct pt_regs *regs, __u16 arch, __u32 nr)
{
	struct graven_call *call = &stash->call;

	fill_header(&stash->header, task, GRAVEN_CALL, stash->cgroup_id, stash->pid_ns);
	stash->used = 0;
	stash->pending = 0;
	stash->root_done = 0;
	call->exit_ns = 0;
	call->ret = 0;
	call->nr = nr;
	call->arch = arch;
	if (arch == GRAVEN_I386) {
		call->args[0] = (__u32)regs->bx;
		call->args[1] = (__u32)regs->cx;
		call->args[2] = (__u32)regs->dx;
		call->args[3] = (__u32)regs->si;
		call->args[4] = (__u32)regs->di;
		call->args[5] = (__u32)regs->bp;
		return;
	}
	call->args[0] = regs->di;
	call->args[1] = regs->si;
	call->args[2] = regs->dx;
	call->args[3] = regs->r10;
	call->args[4] = regs->r8;
	call->args[5] = regs->r9;
}

/* Not inlined: the verifier would follow it from each of its callers. */
__noinline int emit_call(struct stash *stash)
{
	__u32 used;

	if (!stash)
		return 0;
	used = stash->used;
	if (used > sizeof(stash->items))
		return 0;
	stash->call.items_bytes = used;
	stash->state = IDLE;
	emit(stash->claim, &stash->header, sizeof(stash->header) + sizeof(stash->call) + used);
	return 0;
}

/* A call that the task does not return from. */
static __always_inline void end_without_return(struct stash *stash)
{
	stash->header.flags |= GRAVEN_NO_RETURN;
	emit_call(stash);
}

static __always_inline bool never_returns(struct graven_call *call)
{
	if (call->arch == GRAVEN_I386)
		return call->nr == NR_I386_EXIT || call->nr == NR_I386_EXIT_GROUP;
	return (call->nr & ~X32_SYSCALL_BIT) == NR_EXIT ||
	       (call->nr & ~X32_SYSCALL_BIT) == NR_EXIT_GROUP;
}

/* The stash and the watch for a call that begins. */
static __always_inline struct stash *stash_for_call(struct task_struct *task)
{
	struct stash *stash = stash_of(task);
	__u64 cgroup_id = cgroup_of(task);
	__u32 index;

	if (!stash) {
		index = watch_on(cgroup_id);
		return index == NO_WATCH ? 0 : adopt(task, index, GRAVEN_JOINED);
	}
	if (stash->state == IN_CALL)
		end_without_return(stash);
	if (stash->cgroup_id == cgroup_id && watch_of(stash->claim))
		return stash;
	return reconsider(stash, task);
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs, long nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stash *stash = stash_for_call(task);
	struct graven_watch *watch;
	__u16 arch;

	if (!stash)
		return 0;
	watch = watch_of(stash->claim);
	if (!watch)
		return 0;
	arch = arch_of(task, nr);
	if (leaves_out(watch, arch, nr)) {
		stash->state = LEFT_OUT;
		return 0;
	}
	begin_call(stash, task, regs, arch, nr);
	stash->state = IN_CALL;
	if (has_plan(stash))
		run_plan(stash, ~0u, AT_ENTRY);
	if (never_returns(&stash->call))
		end_without_return(stash);
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stash *stash = stash_of(task);
	struct graven_watch *watch;
	__u32 state, nr;

	if (!stash)
		return 0;
	state = stash->state;
	stash->state = IDLE;
	if (state == SKIP_EXIT || state == LEFT_OUT)
		return 0;
	/* No comparison of numbers: rt_sigreturn leaves another one in the registers. */
	if (state == IN_CALL) {
		stash->call.exit_ns = bpf_ktime_get_ns();
		stash->call.ret = ret;
		if (stash->pending)
			run_plan(stash, stash->pending, AGAIN);
		emit_call(stash);
		return 0;
	}
	watch = watch_of(stash->claim);
	if (!watch)
		return 0;
	if (state == NEW) {
		COUNT(watch, skipped_mid_call);
		return 0;
	}
	/* seccomp answered before the entry's tracepoint. */
	nr = regs->orig_ax;
	if (leaves_out(watch, arch_of(task, nr), nr))
		return 0;
	begin_call(stash, task, regs, arch_of(task, nr), nr);
	stash->header.flags |= GRAVEN_EXIT_ONLY;
	stash->call.exit_ns = stash->header.entry_ns;
	stash->call.ret = ret;
	if (has_plan(stash))
		run_plan(stash, ~0u, AT_EXIT);
	emit_call(stash);
	return 0;
}

static __noinline int emit_fork(struct stash *stash, struct task_struct *parent,
				struct task_struct *child)
{
	struct {
		struct graven_header header;
		struct graven_fork fork;
	} record = {};

	fill_header(&record.header, parent, GRAVEN_FORK, cgroup_of(parent), stash->pid_ns);
	record.fork.child_pid = child->tgid;
	record.fork.child_tid = child->pid;
	emit(stash->claim, &record.header, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct stash *stash = followed(parent), *inherited;
	struct graven_watch *watch;

	if (!stash)
		return 0;
	inherited = bpf_task_storage_get(&stashes, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (inherited) {
		inherited->claim = stash->claim;
		inherited->remembered = stash->remembered;
		/* The parent's, even where the child was born in another: its first call shows that. */
		inherited->cgroup_id = stash->cgroup_id;
		inherited->pid_ns = pid_namespace(child);
		inherited->state = SKIP_EXIT;
	} else {
		watch = watch_of(stash->claim);
		if (watch)
			COUNT(watch, stash_failed);
	}
	emit_fork(stash, parent, child);
	return 0;
}

/* Replaces what was read of the caller's memory by what the kernel executed, and says so where the path is
 * another: a thread has changed it in between. */
static __always_inline void correct_exec(struct stash *stash, struct task_struct *task,
					 __u64 filename)
{
	__u32 nr = stash->call.nr, first = sizeof(struct graven_item);
	bool below;
	__u64 from;

	if (stash->call.arch != GRAVEN_X86_64)
		return;
	if (nr == NR_EXECVE) {
		if (path_changed(stash, filename, 0, first + STRING_BYTES, false))
			stash->header.flags |= GRAVEN_CHANGED;
		stash->used = 0;
		stash->root_done = 0;
		fetch_path(stash, filename, AT_FDCWD, 0, FROM_EXEC);
	} else if (nr == NR_EXECVEAT) {
		below = (int)stash->call.args[0] != AT_FDCWD && stash->items[first] != '/';
		if (path_changed(stash, filename, 1, stash->argv_at, below))
			stash->header.flags |= GRAVEN_CHANGED;
		stash->used = stash->argv_at;
		/* The kernel's copy names the directory by its descriptor: second best. */
		if (stash->pending & 1)
			fetch_string(stash, filename, 1, FROM_EXEC);
	} else {
		return;
	}
	stash->pending = 0;
	from = BPF_CORE_READ(task, mm, arg_start);
	append_strings(stash, from, BPF_CORE_READ(task, mm, arg_end) - from,
		       (nr == NR_EXECVE ? 1 : 2) | GRAVEN_ARGV << 8);
}

/* The stash of a task that has executed a program, made now if that program is watched. */
static __always_inline struct stash *stash_after_exec(struct task_struct *task,
						      struct stash *record)
{
	struct stash *stash = followed(task);
	struct graven_watch *watch = stash ? watch_of(stash->claim) : 0;
	__u32 index;

	if (watch && !(watch->flags & GRAVEN_EXCLUSION))
		return stash;
	index = watch_on_executable(record);
	return index == NO_WATCH ? stash : adopt(task, index, GRAVEN_EXECUTABLE);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid, struct linux_binprm *binprm)
{
	__u32 user = SCRATCH_EXEC, used;
	struct stash *record, *stash;
	struct graven_watch *watch;
	struct file *exe;
	__u64 from;

	/* Nearly every exec of the machine ends here. */
	if (!task->bpf_storage && !executables_known && watch_on(cgroup_of(task)) == NO_WATCH)
		return 0;
	record = bpf_map_lookup_elem(&scratch, &user);
	if (!record)
		return 0;
	exe = BPF_CORE_READ(task, mm, exe_file);
	record->used = 0;
	append_walk(record, (__u64)BPF_CORE_READ(exe, f_path.mnt),
		    (__u64)BPF_CORE_READ(exe, f_path.dentry), 0, GRAVEN_EXE);
	stash = stash_after_exec(task, record);
	if (!stash)
		return 0;
	watch = watch_of(stash->claim);
	if (!watch)
		return 0;
	if (stash->state == IN_CALL)
		correct_exec(stash, task, (__u64)BPF_CORE_READ(binprm, filename));
	from = BPF_CORE_READ(task, mm, env_start);
	if (watch->flags & GRAVEN_WANTS_ENV)
		append_strings(record, from, BPF_CORE_READ(task, mm, env_end) - from,
			       0 | GRAVEN_ENV << 8);
	used = record->used;
	if (used > sizeof(record->items))
		return 0;
	fill_header(&record->exec_header, task, GRAVEN_EXEC, cgroup_of(task), stash->pid_ns);
	record->exec.old_tid = old_tid;
	record->exec.items_bytes = used;
	emit(stash->claim, &record->exec_header,
	     sizeof(record->exec_header) + sizeof(record->exec) + used);
	return 0;
}

static __noinline int emit_exit(struct stash *stash, struct task_struct *task)
{
	struct {
		struct graven_header header;
		struct graven_exit exit;
	} record = {};

	fill_header(&record.header, task, GRAVEN_EXIT, cgroup_of(task), stash->pid_ns);
	record.exit.status = task->exit_code;
	record.exit.group_dead = BPF_CORE_READ(task, signal, live.counter) == 0;
	emit(stash->claim, &record.header, sizeof(record));
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct stash *stash = followed(task);

	if (!stash)
		return 0;
	if (stash->state == IN_CALL)
		end_without_return(stash);
	emit_exit(stash, task);
	return 0;
}
