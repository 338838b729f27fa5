//! SQLite: WAL, synchronous=FULL, so that a commit has synced its log.

use anyhow::ensure;
use rusqlite::Connection;

use crate::load::{Load, Row, Shape, now};

const BATCH: u64 = 1_024;

pub(crate) fn rows(load: &Load) -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        inserts(load, Shape::One, Way { batch: 1, page_bytes: 4_096 }, "a transaction for each")?,
        // Pages of 4 KiB, SQLite's default, hold six records and leave the rest empty: it takes fewer then.
        inserts(
            load,
            Shape::Full,
            Way { batch: BATCH, page_bytes: 16_384 },
            "transactions of 1,024, pages of 16 KiB",
        )?,
    ])
}

#[derive(Debug, Clone, Copy)]
struct Way {
    batch: u64,
    page_bytes: u32,
}

fn inserts(load: &Load, shape: Shape, way: Way, how: &'static str) -> anyhow::Result<Row> {
    let Way { batch, page_bytes } = way;
    let mut db = Connection::open(load.dir.join(format!("records-{batch}.db")))?;
    db.pragma_update(None, "page_size", page_bytes)?;
    // No other process: this spares SQLite its locks and the shared memory of the log's index.
    db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let mode: String = db.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let synchronous: i64 = db.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    ensure!(mode == "wal" && synchronous == 2, "SQLite chose {mode}, synchronous={synchronous}");
    db.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, record BLOB NOT NULL)", [])?;
    let mut meter = load.meter()?;
    let mut sent = 0;
    while meter.goes_on() {
        let at = now();
        let transaction = db.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO records (record) VALUES (?1)")?;
            for n in sent..sent + batch {
                insert.execute([load.record(n)])?;
            }
        }
        transaction.commit()?;
        sent += batch;
        meter.acknowledged(batch, at);
    }
    let stored: i64 = db.query_row("SELECT max(seq) FROM records", [], |row| row.get(0))?;
    let sent = i64::try_from(meter.all())?;
    ensure!(stored == sent, "{sent} inserted, but {stored} are there");
    meter.row("SQLite", shape, how)
}
