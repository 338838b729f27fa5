//! `append` through the daemon that writes the ledger.

use std::io::{self, BufWriter, Write as _};
use std::net::Shutdown;
use std::thread;

use anyhow::{Context as _, bail};
use graven_daemon::control::{Answer, Request};

use super::{AppendArgs, Report, open_input};
use crate::daemon::unexpected;

pub(super) fn append(args: &AppendArgs) -> anyhow::Result<u8> {
    let dir = args.ledger.dir();
    args.ledger.leave_to_daemon()?;
    if !args.payload_fields.is_empty() {
        bail!("a daemon writes {}: name `payload_fields` in its configuration", dir.display());
    }
    let mut input = open_input(&args.input)?;
    let request = Request::Append { ledger: dir.canonicalize()?, strict: args.strict };
    let in_use = || format!("{} is in use by another process", dir.display());
    let mut client = args.ledger.socket().ask(&request).with_context(in_use)?;
    match client.answer().with_context(in_use)? {
        Answer::Ready { .. } => {}
        other => bail!(unexpected(&other)),
    }
    let mut sender = client.sender()?;
    // A daemon that has gone is told by its answers.
    let sent = thread::Builder::new().name("graven-reader".into()).spawn(move || {
        let copied = io::copy(&mut input, &mut sender);
        drop(sender.shutdown(Shutdown::Write));
        copied
    })?;
    let mut report = Report::new(args.receipts);
    let mut out = BufWriter::new(io::stdout().lock());
    loop {
        // Who waits for a receipt before the next event gets it.
        if client.would_wait() {
            out.flush()?;
        }
        match client.answer()? {
            Answer::Receipt { leaf, line, seq } => report.receipt(&mut out, line, &leaf, seq)?,
            Answer::Refused { line, error } => report.refusal(line, &error)?,
            Answer::Done { .. } => break,
            other => bail!(unexpected(&other)),
        }
    }
    out.flush()?;
    let strict_stop = args.strict && report.refused > 0;
    if !strict_stop {
        let copied =
            sent.join().unwrap_or_else(|_| Err(io::Error::other("the reader has panicked")));
        copied.context("failed to read the events")?;
    }
    Ok(report.finish())
}
