/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* One record for each system call of the watched tasks, and for their forks, execs and exits.
 *
 * Watched is whatever runs in the cgroup subtree, and whatever was watched before: a task keeps
 * its stash when it leaves the subtree, and hands one to each child.
 */
#include "fetch.h"

char LICENSE[] SEC("license") = "GPL";

#define NR_EXECVE 59
#define NR_EXIT 60
#define NR_EXIT_GROUP 231
#define NR_EXECVEAT 322
#define NR_I386_EXIT 1
#define NR_I386_EXIT_GROUP 252

static __always_inline void begin_call(struct stash *stash, struct task_struct *task,
				       struct pt_regs *regs, __u32 nr)
{
	struct graven_call *call = &stash->call;

	fill_header(&stash->header, task, GRAVEN_CALL);
	stash->used = 0;
	stash->pending = 0;
	stash->root_done = 0;
	call->exit_ns = 0;
	call->ret = 0;
	call->nr = nr;
	if (task->thread_info.status & TS_COMPAT) {
		call->arch = GRAVEN_I386;
		call->args[0] = (__u32)regs->bx;
		call->args[1] = (__u32)regs->cx;
		call->args[2] = (__u32)regs->dx;
		call->args[3] = (__u32)regs->si;
		call->args[4] = (__u32)regs->di;
		call->args[5] = (__u32)regs->bp;
		return;
	}
	/* All ones is no call of x32 but one that a tracer or seccomp has cancelled. */
	call->arch = nr & X32_SYSCALL_BIT && nr != ~0u ? GRAVEN_X32 : GRAVEN_X86_64;
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
	emit(&stash->header, sizeof(stash->header) + sizeof(stash->call) + used);
	return 0;
}

static __always_inline bool never_returns(struct graven_call *call)
{
	if (call->arch == GRAVEN_I386)
		return call->nr == NR_I386_EXIT || call->nr == NR_I386_EXIT_GROUP;
	return (call->nr & ~X32_SYSCALL_BIT) == NR_EXIT ||
	       (call->nr & ~X32_SYSCALL_BIT) == NR_EXIT_GROUP;
}

SEC("tp_btf/sys_enter")
int BPF_PROG(on_sys_enter, struct pt_regs *regs, long nr)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stash *stash = bpf_task_storage_get(&stashes, task, 0, 0);

	if (!stash) {
		if (!in_subtree())
			return 0;
		stash = bpf_task_storage_get(&stashes, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (!stash) {
			COUNT(stash_failed);
			return 0;
		}
	}
	if (stash->state == IN_CALL) {
		stash->header.flags |= GRAVEN_NO_RETURN;
		emit_call(stash);
	}
	begin_call(stash, task, regs, nr);
	stash->state = IN_CALL;
	if (has_plan(stash))
		run_plan(stash, ~0u, AT_ENTRY);
	if (never_returns(&stash->call)) {
		stash->header.flags |= GRAVEN_NO_RETURN;
		emit_call(stash);
	}
	return 0;
}

SEC("tp_btf/sys_exit")
int BPF_PROG(on_sys_exit, struct pt_regs *regs, long ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct stash *stash = bpf_task_storage_get(&stashes, task, 0, 0);

	if (!stash) {
		if (in_subtree())
			COUNT(skipped_mid_call);
		return 0;
	}
	if (stash->state == SKIP_EXIT) {
		stash->state = IDLE;
		return 0;
	}
	/* No comparison of numbers: rt_sigreturn leaves another one in the registers. */
	if (stash->state == IN_CALL) {
		stash->call.exit_ns = bpf_ktime_get_ns();
		stash->call.ret = ret;
		if (stash->pending)
			run_plan(stash, stash->pending, AGAIN);
	} else {
		/* seccomp answered before the entry's tracepoint. */
		begin_call(stash, task, regs, regs->orig_ax);
		stash->header.flags |= GRAVEN_EXIT_ONLY;
		stash->call.exit_ns = stash->header.entry_ns;
		stash->call.ret = ret;
		if (has_plan(stash))
			run_plan(stash, ~0u, AT_EXIT);
	}
	emit_call(stash);
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct {
		struct graven_header header;
		struct graven_fork fork;
	} record = {};
	struct stash *stash;

	if (!bpf_task_storage_get(&stashes, parent, 0, 0) && !in_subtree())
		return 0;
	stash = bpf_task_storage_get(&stashes, child, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (stash)
		stash->state = SKIP_EXIT; /* the child returns from a call that it did not enter */
	else
		COUNT(stash_failed);
	fill_header(&record.header, parent, GRAVEN_FORK);
	record.fork.child_pid = child->tgid;
	record.fork.child_tid = child->pid;
	emit(&record.header, sizeof(record));
	return 0;
}

/* Replaces what was read of the caller's memory by what the kernel executed. */
static __always_inline void correct_exec(struct stash *stash, struct task_struct *task,
					 __u64 filename)
{
	__u32 nr = stash->call.nr;
	__u64 from;

	if (stash->call.arch != GRAVEN_X86_64)
		return;
	if (nr == NR_EXECVE) {
		stash->used = 0;
		stash->root_done = 0;
		fetch_path(stash, filename, AT_FDCWD, 0, FROM_EXEC);
	} else if (nr == NR_EXECVEAT) {
		stash->used = stash->argv_at;
		/* The kernel's copy names the directory by its descriptor: second best. */
		if (stash->pending & 1)
			fetch_string(stash, filename, 1, FROM_EXEC);
	} else {
		return;
	}
	stash->pending = 0;
	from = BPF_CORE_READ(task, mm, arg_start);
	append_argv(stash, from, BPF_CORE_READ(task, mm, arg_end) - from, nr == NR_EXECVE ? 1 : 2);
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_tid, struct linux_binprm *binprm)
{
	struct stash *stash = bpf_task_storage_get(&stashes, task, 0, 0);
	struct file *exe = BPF_CORE_READ(task, mm, exe_file);
	struct stash *record;
	__u32 zero = 0, used;

	if (!stash) {
		if (!in_subtree())
			return 0;
		stash = bpf_task_storage_get(&stashes, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
		if (stash)
			stash->state = SKIP_EXIT;
		else
			COUNT(stash_failed);
	} else if (stash->state == IN_CALL) {
		correct_exec(stash, task, (__u64)BPF_CORE_READ(binprm, filename));
	}
	record = bpf_map_lookup_elem(&scratch, &zero);
	if (!record)
		return 0;
	record->used = 0;
	append_walk(record, (__u64)BPF_CORE_READ(exe, f_path.mnt),
		    (__u64)BPF_CORE_READ(exe, f_path.dentry), 0, GRAVEN_EXE);
	used = record->used;
	if (used > sizeof(record->items))
		return 0;
	fill_header(&record->exec_header, task, GRAVEN_EXEC);
	record->exec.old_tid = old_tid;
	record->exec.items_bytes = used;
	emit(&record->exec_header, sizeof(record->exec_header) + sizeof(record->exec) + used);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct stash *stash = bpf_task_storage_get(&stashes, task, 0, 0);
	struct {
		struct graven_header header;
		struct graven_exit exit;
	} record = {};

	if (!stash && !in_subtree())
		return 0;
	if (stash && stash->state == IN_CALL) {
		stash->header.flags |= GRAVEN_NO_RETURN;
		emit_call(stash);
	}
	fill_header(&record.header, task, GRAVEN_EXIT);
	record.exit.status = task->exit_code;
	record.exit.group_dead = BPF_CORE_READ(task, signal, live.counter) == 0;
	emit(&record.header, sizeof(record));
	return 0;
}
