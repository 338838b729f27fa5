//! What a run says first: that it has begun, under which settings, and what there was before it.

use graven_ledger::{OpenedLedger, RECOVERED, Run};
use graven_record::{Canonical as _, Gap, Value, sha256};

use crate::batch::{OwnBody, OwnRecord};
use crate::clock;
use crate::facts;
use crate::graph::PipelineOptions;
use crate::kernel::gap_record;

/// What a run writes before anything else. Source: `schemas/format.md`, section 1.2.
pub(crate) fn first_records(
    ledger: &OpenedLedger,
    run: &Run,
    tiers: Value,
    options: &PipelineOptions,
) -> Vec<OwnRecord> {
    let mono_ns = clock::mono_ns();
    let system = |action, subject, detail| OwnRecord {
        action,
        subject,
        body: OwnBody::System(detail),
        mono_ns,
    };
    let mut records = Vec::new();
    // A crash can leave a `block.opened` alone.
    if ledger.chain.size() <= 1 {
        let info = &ledger.info;
        let detail = Value::object([
            ("created", info.created.as_str().into()),
            ("id", info.id.as_str().into()),
            ("key", info.key.as_str().into()),
            ("origin", info.origin.as_str().into()),
        ]);
        records.push(system("ledger.created", ("ledger", run.ledger.clone()), detail));
    }
    let settings = settings(options);
    let settings_sha256 = sha256(&settings.to_canonical()).to_string();
    let detail = Value::object([
        ("boot_id", facts::boot_id().into()),
        ("host", facts::host()),
        ("settings", settings),
        ("settings_sha256", settings_sha256.into()),
        ("tiers", tiers),
        ("versions", Value::object([("graven", env!("CARGO_PKG_VERSION").into())])),
    ]);
    records.push(system("pipeline.started", ("pipeline", run.trace_id.clone()), detail));
    for recovered in &ledger.recovered {
        let subject = ("ledger", run.ledger.clone());
        records.push(system(RECOVERED, subject, recovered.detail()));
    }
    if let Some(since) = ledger.silent_since {
        let gap = Gap {
            cpu: None,
            from: since.to_string().into(),
            lost: None,
            stage: "downtime",
            to: clock::now().to_string().into(),
        };
        records.push(gap_record(gap, &run.ledger));
    }
    records
}

/// The settings as they are hashed into `pipeline.started`.
fn settings(options: &PipelineOptions) -> Value {
    Value::object([
        ("block_ms_max", options.block_ms_max.into()),
        ("budget_bytes", (options.budget_bytes as u64).into()),
        ("heartbeat_s", options.heartbeat_s.into()),
        ("normalizers", (options.normalizers as u64).into()),
    ])
}
