//! What a person and a program are told.

use std::fs;

use graven_verify::command::{VerifyArgs, exit_code, run};
use graven_verify::{Report, Verdict};

use crate::support::{Home, overwrite};

/// The text without what differs between two ledgers: hashes and byte counts.
fn masked(text: &str, home: &Home) -> String {
    let mut masked = String::new();
    let text = text.replace(home.root.path().to_str().unwrap(), "HOME");
    let mut rest = &text[..];
    while let Some(at) = rest.find("sha256:") {
        masked += &rest[..at];
        masked += "HASH";
        rest = &rest[at + "sha256:".len() + 64..];
    }
    masked + rest
}

fn output(home: &Home, args: &VerifyArgs) -> (u8, String) {
    let mut out = Vec::new();
    let result = run(args, &mut out);
    let mut text = String::from_utf8(anstream::adapter::strip_bytes(&out).into_vec()).unwrap();
    if let Err(error) = &result {
        text += &error.to_string();
    }
    (exit_code(&result), masked(&text, home))
}

fn args(home: &Home) -> VerifyArgs {
    VerifyArgs {
        dir: home.dir(),
        key: Some(format!("{}.vkey", home.dir().display())),
        at_least: None,
        json: false,
    }
}

fn unsealed() -> Home {
    let home = Home::with_blocks(2, 5, 3000);
    let mut writer = home.start(3000);
    writer.events(1);
    drop(writer);
    home
}

#[test]
fn a_good_report() {
    let home = unsealed();
    let (code, text) = output(&home, &args(&home));
    assert_eq!(code, 0);
    let expected = "\
good, with gaps: acme.example/test
  records     18: 15 sealed in 2 blocks, 3 unsealed
  kinds       0 syscall, 11 event, 1 gap, 6 system
  actions     11 trade.amended
               3 block.opened
               2 pipeline.started
               1 ledger.created
               1 records.lost
  gaps        1: 3 records lost in the kernel's ring (first: record 14)
  root        HASH
  checkpoint  size 15, cosigned 2023-11-14T22:13:20Z
  checked     18 records in 9,537 bytes, 2 headers recomputed,
              6 signatures verified, 15 tile hashes compared

2 notes, no fault
  unsealed, record 15
      3 records from 15 on are not yet sealed
  longer-tile, tile/0, byte 480
      the file is 96 bytes longer than the last header's size demands
";
    assert_eq!(text, expected);
}

/// Colours on a terminal only: what is good is green, what is missing yellow, a fault red.
#[test]
fn a_report_in_colours() {
    let home = Home::with_blocks(2, 5, 3000);
    let mut report = home.verify();
    let (green, yellow, red) = ("\x1b[1m\x1b[32m", "\x1b[33m", "\x1b[1m\x1b[31m");
    let first = |report: &Report| format!("{report:#}").lines().next().unwrap().to_owned();
    assert!(!report.to_string().contains('\x1b'), "control: none unless asked for");
    assert!(first(&report).starts_with(&format!("{green}good")), "{:?}", first(&report));
    assert!(first(&report).contains(&format!("{yellow}, with gaps")), "{:?}", first(&report));
    report.verdict = Verdict::Fault;
    assert!(first(&report).starts_with(&format!("{red}FAULT\x1b[0m:")), "{:?}", first(&report));
}

#[test]
fn a_report_of_a_fault() {
    let home = Home::with_blocks(2, 5, 3000);
    let path = home.segments()[1].clone();
    let edited = fs::read_to_string(&path).unwrap().replacen("\"ada\"", "\"eve\"", 1);
    overwrite(&path, edited.as_bytes());
    let (code, text) = output(&home, &args(&home));
    assert_eq!(code, 1);
    let faults = text.split("\n\n").nth(1).unwrap();
    let expected = "\
1 fault
  record-changed, record 6, segments/00000000000000000006.jsonl, byte 0
      record 6 hashes to HASH, but record 7 names HASH
";
    assert_eq!(faults, expected);
    assert!(text.starts_with("FAULT: acme.example/test\n"));
}

#[test]
fn a_report_without_a_key() {
    let home = Home::with_blocks(1, 1, 3000);
    let without = VerifyArgs { key: None, ..args(&home) };
    let (code, text) = output(&home, &without);
    assert_eq!(code, 4);
    assert!(text.starts_with("unproven: "), "{text}");
    assert!(text.ends_with("with --key.\n"), "{text}");
}

#[test]
fn a_report_for_programs() {
    let home = unsealed();
    let json = VerifyArgs { json: true, at_least: Some(home.paths().checkpoint()), ..args(&home) };
    let (code, text) = output(&home, &json);
    assert_eq!(code, 0);
    let expected = concat!(
        r#"{"actions":[{"action":"trade.amended","count":11},{"action":"block.opened","count":3},"#,
        r#"{"action":"pipeline.started","count":2},{"action":"ledger.created","count":1},"#,
        r#"{"action":"records.lost","count":1}],"blocks":2,"#,
        r#""checkpoint":{"cosigned_unix_s":1700000000,"root":"HASH","size":15},"#,
        r#""checks":{"bytes":9537,"headers":2,"records":18,"signatures":6,"superseded":0,"tile_hashes":15},"#,
        r#""faults":[],"faults_total":0,"gaps":1,"kinds":{"event":11,"gap":1,"syscall":0,"system":6},"#,
        r#""missing":{"decode":0,"downtime_ms":0,"downtimes":0,"first":14,"recursion":0,"ring":3,"stash":0},"#,
        r#""notes":[{"kind":"unsealed","record":15,"sentence":"3 records from 15 on are not yet sealed"},"#,
        r#"{"byte":480,"file":"tile/0","kind":"longer-tile","#,
        r#""sentence":"the file is 96 bytes longer than the last header's size demands"}],"#,
        r#""notes_total":2,"origin":"acme.example/test","records":18,"root":"HASH","sealed":15,"#,
        r#""unsealed":3,"verdict":"good"}"#,
        "\n"
    );
    assert_eq!(text, expected);
    // Its members are in canonical order.
    graven_record::canonical::object(text.trim_end().as_bytes(), |_, _| {}).unwrap();
}

#[test]
fn usage_errors_say_what_to_do() {
    let home = Home::with_blocks(1, 1, 3000);
    let mut no_ledger = args(&home);
    no_ledger.dir = home.root.path().into();
    let (code, text) = output(&home, &no_ledger);
    assert_eq!((code, &*text), (2, "HOME is not a ledger: there is no ledger.json in it"));
    let mut bad_key = args(&home);
    bad_key.key = Some("nonsense".into());
    let (code, text) = output(&home, &bad_key);
    assert_eq!(code, 2);
    assert!(text.starts_with("--key: neither a verifier key nor a file"), "{text}");
    // The private key given by mistake is not repeated.
    let mut private_key = args(&home);
    private_key.key = Some(home.key_path().to_str().unwrap().into());
    let (code, text) = output(&home, &private_key);
    assert_eq!(code, 2);
    assert!(!text.contains("PRIVATE+KEY"), "{text}");
    let mut no_note = args(&home);
    no_note.at_least = Some(home.dir().join("nothing"));
    let (code, text) = output(&home, &no_note);
    assert_eq!((code, &*text), (2, "--at-least: there is no file HOME/ledger/nothing"));
}
