/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Runs a call's plan: reads what its arguments point to. */
#ifndef GRAVEN_FETCH_H
#define GRAVEN_FETCH_H

#include "walk.h"

#define STRING_BYTES 4104 /* PATH_MAX and more, so that a longer string shows as such */
#define BYTES_MAX 4096
#define ARGV_MAX 4096
#define ADDRESS_BYTES 128 /* struct sockaddr_storage */

enum phase {
	AT_ENTRY,
	AGAIN,     /* at exit, what could not be read at entry */
	AT_EXIT,   /* at exit, in place of an entry that was not seen */
	RESULT,    /* at exit, what the kernel wrote there */
	FROM_EXEC, /* the string is the kernel's own copy */
};

static __always_inline __u32 item_flags(__u32 phase)
{
	return phase == AGAIN || phase == AT_EXIT ? GRAVEN_AT_EXIT : 0;
}

/* Leaves the item out at entry, so that it is read again at exit; later notes the failure. */
static __always_inline int failed(struct stash *stash, __u32 phase, __u32 arg, __u32 kind, long err)
{
	if (phase == AT_ENTRY)
		return 1;
	close_item(stash, stash->used,
		   (struct graven_item){ .arg = arg, .kind = kind, .err = err,
					 .flags = item_flags(phase) });
	return 0;
}

/* Every fetch_ function returns 1 if it is to be called again at exit. */
__noinline int fetch_string(struct stash *stash, __u64 address, __u32 arg, __u32 phase)
{
	__u64 start;
	__u8 *to;
	__u32 flags = item_flags(phase);
	long bytes;

	if (!stash || is_full(stash))
		return 0;
	start = stash->used;
	to = &stash->items[MASKED(start) + sizeof(struct graven_item)];
	if (phase == FROM_EXEC)
		bytes = bpf_probe_read_kernel_str(to, STRING_BYTES, (void *)address);
	else
		bytes = bpf_probe_read_user_str(to, STRING_BYTES, (void *)address);
	if (bytes <= 0)
		return failed(stash, phase, arg, GRAVEN_STRING, bytes);
	if (bytes >= STRING_BYTES)
		flags |= GRAVEN_TRUNCATED;
	close_item(stash, start,
		   (struct graven_item){ .arg = arg, .kind = GRAVEN_STRING, .len = bytes - 1,
					 .flags = flags });
	return 0;
}

__noinline int fetch_path(struct stash *stash, __u64 address, int directory, __u32 arg, __u32 phase)
{
	__u64 start;
	int again;

	if (!stash || is_full(stash))
		return 0;
	start = stash->used;
	again = fetch_string(stash, address, arg, phase);
	/* The directory was noted at entry; at exit it may be another one (chdir). */
	if (phase == AGAIN)
		return again;
	/* A string that could not be read may turn out to be relative. */
	if (again || stash->items[MASKED(start) + sizeof(struct graven_item)] != '/')
		append_directory(stash, directory, arg);
	append_root(stash, bpf_get_current_task_btf());
	return again;
}

__noinline int fetch_bytes(struct stash *stash, __u64 address, __u64 bytes, __u32 max_bytes,
			   __u32 arg_and_phase)
{
	__u32 arg = arg_and_phase & 0xff, phase = arg_and_phase >> 8;
	__u32 flags = item_flags(phase);
	__u64 start;

	if (!stash || !address || is_full(stash))
		return 0;
	if (max_bytes > BYTES_MAX)
		max_bytes = BYTES_MAX;
	if (bytes > max_bytes) {
		bytes = max_bytes;
		flags |= GRAVEN_TRUNCATED;
	}
	/* The bound again, where the compiler cannot see that it is the same. */
	asm volatile("" : "+r"(bytes));
	if (bytes > BYTES_MAX)
		return 0;
	start = stash->used;
	if (bpf_probe_read_user(&stash->items[MASKED(start) + sizeof(struct graven_item)], bytes,
				(void *)address))
		return failed(stash, phase, arg, GRAVEN_BYTES, -EFAULT);
	close_item(stash, start,
		   (struct graven_item){ .arg = arg, .kind = GRAVEN_BYTES, .len = bytes,
					 .flags = flags });
	return 0;
}

struct argv_walk {
	struct stash *stash;
	__u64 pointers;
	__u64 offset;
	__u32 flags;
	bool done;
};

static long argv_step(__u32 index, struct argv_walk *walk)
{
	struct stash *stash = walk->stash;
	void *string = 0;
	long bytes;

	if (bpf_probe_read_user(&string, sizeof(string), (void *)(walk->pointers + index * 8)))
		goto fault;
	if (!string) {
		walk->done = true;
		return 1;
	}
	if (!stash || walk->offset >= GRAVEN_ITEMS_BYTES)
		return 1;
	bytes = bpf_probe_read_user_str(&stash->items[MASKED(walk->offset)], BYTES_MAX, string);
	if (bytes < 0)
		goto fault;
	if (bytes >= BYTES_MAX)
		walk->flags |= GRAVEN_TRUNCATED;
	walk->offset += bytes;
	return 0;
fault:
	walk->flags |= 1u << 31;
	walk->done = true;
	return 1;
}

__noinline int fetch_argv(struct stash *stash, __u64 pointers, __u32 arg, __u32 phase)
{
	struct argv_walk walk = {};
	__u64 start;

	if (!stash)
		return 0;
	start = stash->used;
	stash->argv_at = start;
	if (is_full(stash))
		return 0;
	walk.stash = stash;
	walk.pointers = pointers;
	walk.offset = start + sizeof(struct graven_item);
	walk.flags = item_flags(phase);
	if (pointers) /* NULL is allowed, and means an empty list */
		bpf_loop(ARGV_MAX, argv_step, &walk, 0);
	else
		walk.done = true;
	if (walk.flags >> 31)
		return failed(stash, phase, arg, GRAVEN_ARGV, -EFAULT);
	if (!walk.done)
		walk.flags |= GRAVEN_TRUNCATED;
	close_item(stash, start,
		   (struct graven_item){ .arg = arg, .kind = GRAVEN_ARGV,
					 .len = walk.offset - start - sizeof(struct graven_item),
					 .flags = walk.flags });
	return 0;
}

/* Appends argv or environment as they lie in the program's memory: strings one after the other. */
__noinline int append_strings(struct stash *stash, __u64 from, __u64 bytes, __u32 arg_and_kind)
{
	__u64 start, first, rest = 0;
	__u32 flags = 0;
	int err = 0;

	if (!stash || is_full(stash))
		return 0;
	start = stash->used;
	first = bytes;
	if (first > BYTES_MAX)
		first = BYTES_MAX;
	if (bpf_probe_read_user(&stash->items[MASKED(start) + sizeof(struct graven_item)], first,
				(void *)from))
		err = -EFAULT;
	/* Two reads, since neither may run past the slack. */
	if (bytes > BYTES_MAX && start + sizeof(struct graven_item) + BYTES_MAX < GRAVEN_ITEMS_BYTES) {
		rest = bytes - BYTES_MAX;
		if (rest > BYTES_MAX)
			rest = BYTES_MAX;
		if (bpf_probe_read_user(
			    &stash->items[MASKED(start + sizeof(struct graven_item) + BYTES_MAX)],
			    rest, (void *)(from + BYTES_MAX)))
			err = -EFAULT;
	}
	if (first + rest < bytes)
		flags = GRAVEN_TRUNCATED;
	close_item(stash, start,
		   (struct graven_item){ .arg = arg_and_kind, .kind = arg_and_kind >> 8, .err = err,
					 .len = err ? 0 : first + rest, .flags = flags });
	return 0;
}

static __always_inline int fetch_address_out(struct stash *stash, __u64 address, __u64 length_at,
					     __u32 arg, __u32 phase)
{
	__u32 bytes = 0;

	if (phase == AT_ENTRY)
		return 1;
	/* The kernel has written nothing for a call that failed. */
	if (!address || stash->call.ret < 0)
		return 0;
	if (bpf_probe_read_user(&bytes, sizeof(bytes), (void *)length_at))
		return failed(stash, phase, arg, GRAVEN_BYTES, -EFAULT);
	if (bytes > ADDRESS_BYTES)
		bytes = ADDRESS_BYTES;
	/* Not flagged as read at exit: that is the right time to read a result. */
	return fetch_bytes(stash, address, bytes, ADDRESS_BYTES, arg | RESULT << 8);
}

static __always_inline int fetch_message_name(struct stash *stash, __u64 address, __u32 arg,
					      __u32 phase)
{
	struct user_msghdr message = {};

	if (bpf_probe_read_user(&message, sizeof(message), (void *)address))
		return is_full(stash) ? 0 : failed(stash, phase, arg, GRAVEN_BYTES, -EFAULT);
	return fetch_bytes(stash, message.name, (__u32)message.name_bytes, ADDRESS_BYTES,
			   arg | phase << 8);
}

static __always_inline int fetch_message_name_out(struct stash *stash, __u64 address, __u32 arg,
						  __u32 phase)
{
	if (phase == AT_ENTRY)
		return 1;
	/* The kernel has written nothing for a call that failed. */
	if (stash->call.ret < 0)
		return 0;
	return fetch_message_name(stash, address, arg, RESULT);
}

/* The argument `index` of the call; nothing for an index out of range. */
static __always_inline __u64 argument(struct stash *stash, __u32 index)
{
	return index < 6 ? stash->call.args[index] : 0;
}

__noinline int run_op(struct stash *stash, __u32 index, __u32 phase)
{
	const volatile struct graven_op *op;
	__u32 arg, nr;
	__u64 value;

	if (!stash)
		return 0;
	nr = stash->call.nr;
	if (nr >= GRAVEN_PLANS || index >= GRAVEN_OPS_MAX)
		return 0;
	op = &plans[nr].ops[index];
	arg = op->arg;
	value = argument(stash, arg);
	switch (op->kind) {
	case GRAVEN_OP_STRING:
		return fetch_string(stash, value, arg, phase);
	case GRAVEN_OP_PATH:
		return fetch_path(stash, value,
				  op->other == GRAVEN_NO_ARG ? AT_FDCWD :
							       (int)argument(stash, op->other),
				  arg, phase);
	case GRAVEN_OP_FD_PATH:
		append_directory(stash, (int)value, arg);
		append_root(stash, bpf_get_current_task_btf());
		return 0;
	case GRAVEN_OP_ARGV:
		return fetch_argv(stash, value, arg, phase);
	case GRAVEN_OP_BYTES:
		return fetch_bytes(stash, value,
				   op->other == GRAVEN_NO_ARG ?
					   op->max_bytes :
					   (__u64)(__u32)argument(stash, op->other) << (op->scale & 7),
				   op->max_bytes, arg | phase << 8);
	case GRAVEN_OP_ADDR_OUT:
		return fetch_address_out(stash, value, argument(stash, op->other), arg, phase);
	case GRAVEN_OP_MSG_NAME:
		return fetch_message_name(stash, value, arg, phase);
	case GRAVEN_OP_MSG_NAME_OUT:
		return fetch_message_name_out(stash, value, arg, phase);
	}
	return 0;
}

static __always_inline bool has_plan(struct stash *stash)
{
	return stash->call.arch == GRAVEN_X86_64 && stash->call.nr < GRAVEN_PLANS &&
	       plans[BELOW(GRAVEN_PLANS, stash->call.nr)].ops[0].kind != GRAVEN_OP_NONE;
}

static __always_inline void run_plan(struct stash *stash, __u32 which, __u32 phase)
{
	__u32 pending = 0;

	for (__u32 index = 0; index < GRAVEN_OPS_MAX; index++) {
		if (plans[BELOW(GRAVEN_PLANS, stash->call.nr)].ops[index].kind == GRAVEN_OP_NONE)
			break;
		if (which & (1u << index) && run_op(stash, index, phase))
			pending |= 1u << index;
	}
	stash->pending = pending;
}

struct comparison {
	struct stash *stash;
	__u64 one, other; /* where they begin in the items */
	__u64 bytes;
	bool differs;
};

static __always_inline __u64 word_at(struct stash *stash, __u64 at)
{
	asm volatile("" : "+r"(at));
	return at <= sizeof(stash->items) - 8 ? *(__u64 *)&stash->items[at] : 0;
}

static long compare_step(__u32 index, struct comparison *of)
{
	__u64 at = index * 8, rest = of->bytes - at, mask = ~0ull;
	struct stash *stash = of->stash;

	if (!stash || at >= of->bytes)
		return 1;
	if (rest < 8)
		mask >>= (8 - rest) * 8;
	of->differs = ((word_at(stash, of->one + at) ^ word_at(stash, of->other + at)) & mask) != 0;
	return of->differs;
}

/* Whether the kernel has another path than was read of argument `arg` at entry, which is the first item. Of a
 * path below a descriptor, the kernel's has it at its end. Writes over the items from `scratch` on. */
__noinline int path_changed(struct stash *stash, __u64 filename, __u32 arg, __u32 scratch, __u32 is_end)
{
	struct comparison of = {};
	struct graven_item *first;
	__u64 length;
	long bytes;

	if (!stash || !stash->used || scratch >= GRAVEN_ITEMS_BYTES)
		return 0;
	first = (void *)&stash->items[0];
	if (first->kind != GRAVEN_STRING || first->arg != arg || first->err)
		return 0;
	length = first->len;
	bytes = bpf_probe_read_kernel_str(&stash->items[MASKED(scratch)], STRING_BYTES,
					  (void *)filename);
	if (bytes <= 0)
		return 0;
	bytes -= 1;
	if (bytes < length || (!is_end && bytes != length))
		return 1;
	of.stash = stash;
	of.one = sizeof(*first);
	of.other = scratch + bytes - length;
	of.bytes = length;
	bpf_loop(STRING_BYTES / 8 + 1, compare_step, &of, 0);
	return of.differs;
}

#endif
