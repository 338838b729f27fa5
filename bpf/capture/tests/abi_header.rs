//! The constants of the C header are those of its Rust mirror. (Sizes and offsets are asserted on both
//! sides when they are compiled.)

use graven_abi::layout::{
    CGROUP_BYTES, CGROUPS, EXECUTABLE_BYTES, EXECUTABLES, EXPECTED, EXPECTED_BYTES, ITEMS_BYTES,
    NO_ARG, OPS_MAX, PLANS, RINGS, SLACK_BYTES, WATCHES, flag, item_flag, item_kind, kind, op_kind,
    reason, watch_flag,
};

const HEADER: &str = include_str!("../src/bpf/abi.h");

/// The value that the header gives `name`: a number, or `1 << number`.
fn value_of(name: &str) -> u64 {
    let mut words = HEADER.split_ascii_whitespace().skip_while(|word| *word != name).skip(1);
    let mut first = words.next().unwrap_or_else(|| panic!("{name} is not in the header"));
    if first == "=" {
        first = words.next().expect("a value");
    }
    let number = |word: &str| {
        let word = word.trim_end_matches(',');
        word.strip_prefix("0x")
            .map_or_else(|| word.parse(), |hex| u64::from_str_radix(hex, 16))
            .expect("a number")
    };
    let second = words.next();
    if second == Some("<<") {
        number(first) << number(words.next().expect("a shift"))
    } else {
        number(first)
    }
}

#[test]
fn constants_agree() {
    let sizes = [
        ("GRAVEN_ITEMS_BYTES", ITEMS_BYTES),
        ("GRAVEN_SLACK_BYTES", SLACK_BYTES),
        ("GRAVEN_OPS_MAX", OPS_MAX),
        ("GRAVEN_PLANS", PLANS),
        ("GRAVEN_WATCHES", WATCHES),
        ("GRAVEN_RINGS", RINGS),
        ("GRAVEN_CGROUPS", CGROUPS),
        ("GRAVEN_CGROUP_BYTES", CGROUP_BYTES),
        ("GRAVEN_EXPECTED", EXPECTED),
        ("GRAVEN_EXPECTED_BYTES", EXPECTED_BYTES),
        ("GRAVEN_EXECUTABLES", EXECUTABLES),
        ("GRAVEN_EXECUTABLE_BYTES", EXECUTABLE_BYTES),
    ];
    for (name, value) in sizes {
        assert_eq!(value_of(name), value as u64, "{name}");
    }
    let words = [
        ("GRAVEN_CALL", kind::CALL),
        ("GRAVEN_FORK", kind::FORK),
        ("GRAVEN_EXEC", kind::EXEC),
        ("GRAVEN_EXIT", kind::EXIT),
        ("GRAVEN_TASK", kind::TASK),
        ("GRAVEN_MOVED", kind::MOVED),
        ("GRAVEN_CGROUP", kind::CGROUP),
        ("GRAVEN_EXIT_ONLY", flag::EXIT_ONLY),
        ("GRAVEN_NO_RETURN", flag::NO_RETURN),
        ("GRAVEN_ITEMS_FULL", flag::ITEMS_FULL),
        ("GRAVEN_CHANGED", flag::CHANGED),
        ("GRAVEN_TRUNCATED", item_flag::TRUNCATED),
        ("GRAVEN_AT_EXIT", item_flag::AT_EXIT),
        ("GRAVEN_DETACHED", item_flag::DETACHED),
        ("GRAVEN_UNREACHABLE", item_flag::UNREACHABLE),
        ("GRAVEN_X86_64", graven_abi::Arch::X86_64.number()),
        ("GRAVEN_I386", graven_abi::Arch::I386.number()),
        ("GRAVEN_X32", graven_abi::Arch::X32.number()),
    ];
    for (name, value) in words {
        assert_eq!(value_of(name), u64::from(value), "{name}");
    }
    let numbers = [
        ("GRAVEN_INVENTORY", reason::INVENTORY),
        ("GRAVEN_JOINED", reason::JOINED),
        ("GRAVEN_EXECUTABLE", reason::EXECUTABLE),
        ("GRAVEN_WANTS_ENV", watch_flag::WANTS_ENV),
        ("GRAVEN_EXCLUSION", watch_flag::EXCLUSION),
    ];
    for (name, value) in numbers {
        assert_eq!(value_of(name), u64::from(value), "{name}");
    }
    let bytes = [
        ("GRAVEN_STRING", item_kind::STRING),
        ("GRAVEN_BYTES", item_kind::BYTES),
        ("GRAVEN_ARGV", item_kind::ARGV),
        ("GRAVEN_DIR", item_kind::DIR),
        ("GRAVEN_ROOT", item_kind::ROOT),
        ("GRAVEN_EXE", item_kind::EXE),
        ("GRAVEN_ENV", item_kind::ENV),
        ("GRAVEN_OP_NONE", op_kind::NONE),
        ("GRAVEN_OP_STRING", op_kind::STRING),
        ("GRAVEN_OP_PATH", op_kind::PATH),
        ("GRAVEN_OP_FD_PATH", op_kind::FD_PATH),
        ("GRAVEN_OP_ARGV", op_kind::ARGV),
        ("GRAVEN_OP_BYTES", op_kind::BYTES),
        ("GRAVEN_OP_ADDR_OUT", op_kind::ADDR_OUT),
        ("GRAVEN_OP_MSG_NAME", op_kind::MSG_NAME),
        ("GRAVEN_OP_MSG_NAME_OUT", op_kind::MSG_NAME_OUT),
        ("GRAVEN_NO_ARG", NO_ARG),
    ];
    for (name, value) in bytes {
        assert_eq!(value_of(name), u64::from(value), "{name}");
    }
}
