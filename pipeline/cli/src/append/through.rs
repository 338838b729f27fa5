//! `append` through the daemon that writes the ledger.

use std::io::{self, BufWriter, Write as _};
use std::net::Shutdown;
use std::thread;

use anyhow::{Context as _, bail};
use graven_daemon::control::{Answer, Request};

use super::{AppendArgs, Report, open_input};
use crate::daemon::unexpected;

pub(super) fn append(args: &AppendArgs) -> anyhow::Result<u8> {
    if !args.payload_fields.is_empty() {
        let dir = args.ledger.dir().display();
        bail!("a daemon writes {dir}: name `payload_fields` in its configuration");
    }
    let mut input = open_input(&args.input)?;
    let request = |ledger| Request::Append { ledger, strict: args.strict };
    let (mut client, _) = args.ledger.hand_over(request)?;
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
        match client.answer()? {
            Answer::Receipt { leaf, line, seq } => report.receipt(&mut out, line, &leaf, seq)?,
            Answer::Refused { line, error } => report.refusal(line, &error)?,
            Answer::Done { .. } => break,
            other => bail!(unexpected(&other)),
        }
        // Whoever waits for a receipt before the next event has it now.
        if !client.has_answer() {
            out.flush()?;
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
