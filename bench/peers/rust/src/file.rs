//! A file that grows: append, fdatasync, acknowledge. Nothing else is looked after.

use std::fs::File;
use std::io::Write as _;

use crate::load::{Load, Row, Shape, now};

/// Records of 600 bytes in a group of one MiB.
const GROUP: u64 = (1 << 20) / 601;

pub(crate) fn rows(load: &Load) -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        appends(load, Shape::One, 1, "an append and a sync for each")?,
        appends(load, Shape::Full, GROUP, "groups of 1 MiB")?,
    ])
}

fn appends(load: &Load, shape: Shape, group: u64, how: &'static str) -> anyhow::Result<Row> {
    let mut file = File::create_new(load.dir.join(format!("appends-{group}")))?;
    let mut meter = load.meter()?;
    let (mut sent, mut lines) = (0, Vec::new());
    while meter.goes_on() {
        let at = now();
        lines.clear();
        for n in sent..sent + group {
            lines.extend_from_slice(load.record(n));
            lines.push(b'\n');
        }
        file.write_all(&lines)?;
        file.sync_data()?;
        sent += group;
        meter.acknowledged(group, at);
    }
    meter.row("a plain file", shape, how)
}
