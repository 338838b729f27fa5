//! What goes wrong, said in one sentence with the remedy, and the exit code that goes with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use crate::support::{EVENT, GRAVEN, Ledger, code, have_root, root, stderr, text};

#[test]
fn a_ledger_that_is_not_there() {
    let ledger = Ledger::new();
    for args in [
        &["append", "--ledger", "none"][..],
        &["show", "0", "--ledger", "none"],
        &["verify", "none"],
    ] {
        let output = ledger.graven(args);
        assert_eq!(code(output.status), 2, "{}", text(&output));
        assert!(stderr(&output).contains("none"), "{}", text(&output));
    }
}

#[test]
fn a_ledger_is_never_made_over_another() {
    let ledger = Ledger::new();
    let output = ledger.graven(&["init", "ledger"]);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(stderr(&output).contains("already exists"), "{}", text(&output));
}

#[test]
fn a_key_never_lies_in_its_ledger() {
    let ledger = Ledger::new();
    let output = ledger.graven(&["init", "other", "--key", "other/key"]);
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(!ledger.home().join("other").exists());
    let mode = fs::metadata(ledger.home().join("ledger.key")).expect("a key").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_key_that_is_missing_or_open_to_others() {
    let ledger = Ledger::new();
    let key = ledger.home().join("ledger.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("it is ours");
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(stderr(&output).contains("chmod 600"), "{}", text(&output));
    fs::remove_file(&key).expect("it is ours");
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 2, "{}", text(&output));
    assert!(stderr(&output).contains("is missing"), "{}", text(&output));
}

#[test]
fn a_ledger_in_use_is_refused_to_a_second_writer() {
    let ledger = Ledger::new();
    let mut first = ledger
        .command(&["append", "--receipts"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    std::io::Write::write_all(
        first.stdin.as_mut().expect("a pipe"),
        format!("{EVENT}\n").as_bytes(),
    )
    .expect("it reads");
    std::io::Read::read_exact(first.stdout.as_mut().expect("a pipe"), &mut [0; 1])
        .expect("a receipt");
    let second = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(second.status), 2, "{}", text(&second));
    assert!(stderr(&second).contains("in use"), "{}", text(&second));
    drop(first.stdin.take());
    assert!(first.wait().expect("it ends").success());
    ledger.assert_good();
}

#[test]
fn an_old_copy_is_refused_by_the_signer() {
    let ledger = Ledger::new();
    assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
    let copy = |from: &str, to: &str| {
        let status = Command::new("cp").args(["-a", from, to]).current_dir(ledger.home()).status();
        assert!(status.expect("cp runs").success());
    };
    copy("ledger", "old");
    assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
    fs::copy(ledger.path().join("checkpoint"), ledger.home().join("note")).expect("a checkpoint");
    fs::rename(ledger.path(), ledger.home().join("new")).expect("ours");
    copy("old", "ledger");
    let output = ledger.feed(&["append"], EVENT.as_bytes());
    assert_eq!(code(output.status), 1, "{}", text(&output));
    assert!(stderr(&output).contains("an older copy was"), "{}", text(&output));
    let verify = ["verify", "ledger", "--key", "ledger.vkey"];
    assert!(ledger.graven(&verify).status.success(), "by itself the old copy is sound");
    let output = ledger.graven(&[&verify[..], &["--at-least", "note"]].concat());
    assert_eq!(code(output.status), 1, "{}", text(&output));
}

#[test]
fn verify_tells_apart_good_fault_usage_and_unproven() {
    let ledger = Ledger::new();
    assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
    let code_of = |args: &[&str]| code(ledger.graven(args).status);
    assert_eq!(code_of(&["verify", "ledger", "--key", "ledger.vkey"]), 0);
    assert_eq!(code_of(&["verify", "ledger"]), 4);
    assert_eq!(code_of(&["verify", "ledger", "--key", "no key"]), 2);
    assert_eq!(code_of(&["verify"]), 2);
    let segment = ledger.path().join("segments/00000000000000000000.jsonl");
    let text_of = fs::read_to_string(&segment).expect("a segment");
    fs::write(&segment, text_of.replace("\"T-17\"", "\"T-18\"")).expect("ours");
    let output = ledger.graven(&["verify", "ledger", "--key", "ledger.vkey"]);
    assert_eq!(code(output.status), 1, "{}", text(&output));
    assert!(text(&output).contains("record 3"), "{}", text(&output));
    assert!(text(&output).contains("segments/00000000000000000000.jsonl"), "{}", text(&output));
}

#[test]
fn a_full_disk_ends_the_run_and_leaves_a_ledger_that_verifies() {
    if !have_root("a full disk") {
        return;
    }
    let ledger = Ledger::new();
    assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
    // In a mount namespace of its own, the segments lie on a file system of half a mebibyte.
    let script = format!(
        "set -e; mount -t tmpfs -o size=512k none full; cp -a ledger/. full/; \
         yes '{EVENT}' | head -n 20000 | {GRAVEN} append --ledger full --key ledger.key || code=$?; \
         cp -a full after; exit ${{code:-0}}"
    );
    fs::create_dir(ledger.home().join("full")).expect("ours");
    let output = ledger.among_own_mounts(&script);
    assert_eq!(code(output.status), 3, "{}", text(&output));
    assert!(stderr(&output).contains("No space left on device"), "{}", text(&output));
    let output = ledger.graven(&["verify", "after", "--key", "ledger.vkey"]);
    assert!(output.status.success(), "{}", text(&output));
    // With room again, the run goes on from what stands.
    let output =
        ledger.feed(&["append", "--ledger", "after", "--key", "ledger.key"], EVENT.as_bytes());
    assert_eq!(code(output.status), 0, "{}", text(&output));
    let output = ledger.graven(&["verify", "after", "--key", "ledger.vkey"]);
    assert!(output.status.success(), "{}", text(&output));
}

#[test]
fn a_read_only_directory_is_an_io_error() {
    if !have_root("a read-only directory") {
        return;
    }
    let ledger = Ledger::new();
    let script = format!(
        "mount --bind ledger ledger && mount -o remount,bind,ro ledger && echo '{EVENT}' | {GRAVEN} append"
    );
    let output = ledger.among_own_mounts(&script);
    assert_eq!(code(output.status), 3, "{}", text(&output));
    assert!(stderr(&output).contains("Read-only file system"), "{}", text(&output));
}

/// Capture that cannot be had says why, in one sentence, with 125.
#[test]
fn capture_that_cannot_be_had_says_why() {
    if !have_root("capture refusals") {
        return;
    }
    let cases = [
        // Another user's world: nobody may load programs.
        ("chown -R 65534 . && exec setpriv --reuid 65534 --clear-groups", "root"),
        // A kernel without type information.
        ("mount -t tmpfs none /sys/kernel/btf && exec", "type information"),
        // A kernel in lockdown, or a profile that forbids bpf(2).
        ("exec strace -f -qq -o /dev/null -e trace=bpf -e inject=bpf:error=EPERM", "lockdown"),
        // A system without the version 2 hierarchy.
        (
            "for m in $(awk '$3 == \"cgroup2\" {print $2}' /proc/mounts); do umount -l $m; done; exec",
            "cgroup2",
        ),
    ];
    for (prepare, word) in cases {
        let ledger = Ledger::new();
        let script = format!("{prepare} {GRAVEN} exec -- true");
        let output = ledger.among_own_mounts(&script);
        assert_eq!(code(output.status), 125, "{prepare}: {}", text(&output));
        assert!(stderr(&output).contains(word), "{prepare}: {}", text(&output));
        assert_eq!(stderr(&output).trim().lines().count(), 1, "one sentence: {}", text(&output));
        ledger.assert_good();
    }
}

/// The doctor says what works, and the remedy for what does not.
#[test]
fn the_doctor_names_what_is_missing() {
    if !have_root("the doctor") {
        return;
    }
    let ledger = Ledger::new();
    let well = ledger.graven(&["doctor"]);
    assert_eq!(code(well.status), 0, "{}", text(&well));
    assert!(text(&well).contains("capture    ok"), "control: {}", text(&well));
    let nowhere = ledger.graven(&["doctor", "--dir", "none", "--json"]);
    assert_eq!(code(nowhere.status), 2, "no disk, no ledger: {}", text(&nowhere));
    let told: serde_json::Value = serde_json::from_slice(&nowhere.stdout).expect("JSON");
    assert_eq!(told["capture"], true);
    let script = format!("mount -t tmpfs none /sys/kernel/btf && exec {GRAVEN} doctor --dir none");
    let ill = ledger.among_own_mounts(&script);
    assert_eq!(code(ill.status), 2, "{}", text(&ill));
    for part in [
        "types      MISSING",
        "CONFIG_DEBUG_INFO_BTF",
        "capture    MISSING",
        "name a directory that exists",
        "capture does not work here; ",
    ] {
        assert!(text(&ill).contains(part), "no `{part}` in {}", text(&ill));
    }
    assert!(
        fs::read_dir(ledger.home()).expect("a directory").count() <= 4,
        "nothing is left behind"
    );
}

/// A verb that only shows is quiet about a reader who leaves, and its exit code says what it found.
#[test]
fn a_reader_who_leaves_hides_no_finding() {
    let ledger = Ledger::new();
    assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
    let piped = |args: &str| {
        let script = format!("{GRAVEN} {args} 2>err | true; exit ${{PIPESTATUS[0]}}");
        let ran = Command::new("bash")
            .args(["-c", &script])
            .current_dir(ledger.home())
            .status()
            .expect("bash runs");
        let said = fs::read_to_string(ledger.home().join("err")).expect("it is there");
        assert_eq!(said, "", "{args}");
        code(ran)
    };
    let good = "verify ledger --key ledger.vkey";
    assert_eq!(piped(good), 0);
    assert_eq!(piped(&format!("{good} --json")), 0);
    assert_eq!(piped("verify ledger"), 4);
    for verb in
        ["show 0", "tail --no-follow -n 100", "check --file-only none.toml", "completions bash"]
    {
        assert_eq!(piped(verb), if verb.starts_with("check") { 2 } else { 0 }, "{verb}");
    }
    let segment = ledger.path().join("segments/00000000000000000000.jsonl");
    let changed = fs::read_to_string(&segment).expect("a segment").replace("T-17", "T-71");
    fs::write(&segment, changed).expect("ours");
    assert_eq!(piped(good), 1, "a fault stays one");
    assert_eq!(piped(&format!("{good} --json")), 1);
}

/// Who may not read a ledger is told so, and not that there is none.
#[test]
fn a_ledger_of_another_user() {
    if !have_root("a ledger of another user") {
        return;
    }
    let ledger = Ledger::new();
    assert!(ledger.feed(&["append"], EVENT.as_bytes()).status.success());
    let home = fs::metadata(ledger.home()).expect("a home").permissions();
    fs::set_permissions(ledger.home(), fs::Permissions::from_mode(0o755)).expect("ours");
    fs::copy(GRAVEN, ledger.home().join("graven")).expect("a copy that all may run");
    let verbs = ["verify ledger", "tail ledger --no-follow", "show 0", "append"];
    for (verb, code_of) in verbs.into_iter().zip([3, 3, 3, 3]) {
        let script = format!("setpriv --reuid 65534 --clear-groups ./graven {verb} </dev/null");
        let ran = Command::new("sh")
            .args(["-c", &script])
            .current_dir(ledger.home())
            .output()
            .expect("sh runs");
        assert_eq!(code(ran.status), code_of, "{verb}: {}", text(&ran));
        let said = stderr(&ran);
        assert!(
            said.contains("you may not") && said.contains("run it with sudo"),
            "{verb}: {said}"
        );
    }
    fs::set_permissions(ledger.home(), home).expect("ours");
    ledger.assert_good();
}

#[test]
fn help_has_an_example_for_each_verb() {
    for verb in ["init", "exec", "append", "verify", "show", "check", "doctor"] {
        let output = Command::new(GRAVEN).args([verb, "--help"]).output().expect("graven runs");
        assert_eq!(code(output.status), 0);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(help.contains("Example") && help.contains(&format!("graven {verb}")), "{help}");
        assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    }
    let output = Command::new(GRAVEN).arg("exec").output().expect("graven runs");
    assert_eq!(code(output.status), 125, "a usage error of exec is no status of the command");
}

/// What `cargo tree` says, one package with its features a line.
fn tree(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--prefix", "none", "--format", "{p} {f}"])
        .args(args)
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", text(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The auditor's binary stands alone: it links no actor, no kernel interface and no async runtime.
#[test]
fn the_verifier_links_no_writer() {
    let tree = tree(&["-p", "graven-verify", "-e", "normal"]);
    assert!(tree.contains("graven-ledger"), "control: {tree}");
    for banned in ["actix", "libbpf", "tokio", "rdkafka", "graven-stages", "graven-capture"] {
        assert!(!tree.contains(banned), "the verifier links {banned}:\n{tree}");
    }
}

/// No test of the workspace, and no build of the product, has stages that a test may make panic.
#[test]
fn the_product_has_no_failpoints() {
    let armed = tree(&["-p", "graven-daemon", "--features", "failpoints"]);
    assert!(armed.contains("failpoints"), "control: {armed}");
    let tree = tree(&["--workspace"]);
    assert!(tree.contains("graven-stages") && !tree.contains("failpoints"), "{tree}");
}
