//! What a person and a program are told.
use crate::support::Home;

#[test]
fn a_good_ledger_reads_well() {
    let home = Home::with_blocks(4, 10, 4000);
    let report = home.assert_good();
    println!("{report}");
    println!("{}", serde_json::to_string(&report).unwrap());
}
