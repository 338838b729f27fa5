//! Prometheus metrics on a loopback address, served by a thread that can do nothing else.
#![expect(clippy::cast_precision_loss, reason = "gauges are floating-point numbers")]

mod bounded;

use std::fmt;
use std::net::{self, SocketAddr};
use std::thread;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use graven_stages::{Figures, Latency, SinkFigures, StageFigures, Standing};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::control::{LedgerStatus, Order, RingStatus, Status, TierStatus, WormState};
use crate::privileges;
use bounded::Bounded;

/// Listens; a port that is taken is an error at start.
pub(crate) fn listen(listen: SocketAddr) -> anyhow::Result<net::TcpListener> {
    net::TcpListener::bind(listen).with_context(|| {
        format!("failed to listen on {listen} for metrics; choose another [metrics] listen")
    })
}

/// Serves from a thread of its own.
pub(crate) fn serve(listener: net::TcpListener, orders: mpsc::Sender<Order>) -> anyhow::Result<()> {
    listener.set_nonblocking(true)?;
    thread::Builder::new().name("graven-metrics".into()).spawn(move || {
        if let Err(error) = answer(listener, orders) {
            tracing::error!(error = format!("{error:#}"), "metrics are no longer served");
        }
    })?;
    Ok(())
}

fn answer(listener: net::TcpListener, orders: mpsc::Sender<Order>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::from_std(listener)?;
        privileges::confine_to_serving()?;
        let app = Router::new().route("/metrics", get(metrics)).with_state(orders);
        Ok(axum::serve(Bounded::over(listener), app).await?)
    })
}

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(orders): State<mpsc::Sender<Order>>) -> impl IntoResponse {
    let (reply, replied) = oneshot::channel();
    let text = match orders.send(Order::Status(reply)).await {
        Ok(()) => replied.await.ok().and_then(|status| encode(status).ok()),
        Err(_) => None,
    };
    match text {
        Some(text) => Ok(([(header::CONTENT_TYPE, OPENMETRICS)], text)),
        None => Err((StatusCode::SERVICE_UNAVAILABLE, "the daemon is stopping\n")),
    }
}

/// A status as `OpenMetrics` text.
pub(crate) fn encode(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("graven");
    registry.register_collector(Box::new(Snapshot(status)));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Snapshot(Status);

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let Status { version, config_sha256, reload_failure, uptime_s, tiers, ledgers, .. } =
            &self.0;
        let known =
            || ledgers.iter().filter_map(|it| it.figures.as_ref().map(|figures| (it, figures)));
        write(&mut encoder, &BUILD, [(vec![("version", version.as_str())], &())])?;
        write(&mut encoder, &SETTINGS, [(vec![("sha256", config_sha256.as_str())], &())])?;
        write(&mut encoder, &RELOAD, [(Vec::new(), reload_failure)])?;
        write(&mut encoder, &UPTIME, [(Vec::new(), uptime_s)])?;
        write(&mut encoder, &TIER, tiers.iter().map(|it| (vec![("tier", it.name.as_str())], it)))?;
        for family in DAEMON {
            write(&mut encoder, family, ledgers.iter().map(|it| (of(it), it)))?;
        }
        for family in LEDGER {
            write(&mut encoder, family, known().map(|(it, figures)| (of(it), figures)))?;
        }
        for family in STAGE {
            let stages = known().flat_map(|(ledger, figures)| {
                figures.stages.iter().map(move |it| (and(of(ledger), "stage", &it.stage), it))
            });
            write(&mut encoder, family, stages)?;
        }
        for family in SINK {
            let sinks = known().flat_map(|(ledger, figures)| {
                figures.sinks.iter().map(move |it| (and(of(ledger), "sink", &it.name), it))
            });
            write(&mut encoder, family, sinks)?;
        }
        for family in RING {
            let rings = ledgers.iter().filter_map(|it| it.ring.as_ref().map(|ring| (of(it), ring)));
            write(&mut encoder, family, rings)?;
        }
        write_syncs(&mut encoder, known().map(|(it, figures)| (of(it), &figures.sync)))
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn of(ledger: &LedgerStatus) -> Labels<'_> {
    vec![("ledger", ledger.name.as_str())]
}

fn and<'a>(mut labels: Labels<'a>, name: &'static str, value: &'a str) -> Labels<'a> {
    labels.push((name, value));
    labels
}

/// A metric, and how it is read from what it is about. Units are Prometheus' base units.
struct Family<T: ?Sized> {
    name: &'static str,
    help: &'static str,
    unit: Option<&'static Unit>,
    kind: MetricType,
    value: fn(&T) -> f64,
}

const BYTES: Option<&Unit> = Some(&Unit::Bytes);
const SECONDS: Option<&Unit> = Some(&Unit::Seconds);

const fn gauge<T: ?Sized>(
    name: &'static str,
    unit: Option<&'static Unit>,
    help: &'static str,
    value: fn(&T) -> f64,
) -> Family<T> {
    Family { name, help, unit, kind: MetricType::Gauge, value }
}

const fn counter<T: ?Sized>(
    name: &'static str,
    unit: Option<&'static Unit>,
    help: &'static str,
    value: fn(&T) -> f64,
) -> Family<T> {
    Family { name, help, unit, kind: MetricType::Counter, value }
}

fn flag(set: bool) -> f64 {
    f64::from(u8::from(set))
}

static BUILD: Family<()> = gauge("build_info", None, "The version that runs.", |()| 1.0);
static SETTINGS: Family<()> =
    gauge("config_info", None, "The settings in force, by their hash.", |()| 1.0);
static RELOAD: Family<Option<String>> = gauge(
    "config_reload_failed",
    None,
    "Whether the configuration could not be applied the last time that this was asked for.",
    |it| flag(it.is_some()),
);
static UPTIME: Family<u64> =
    gauge("uptime", SECONDS, "Time since the daemon started.", |it| *it as f64);
static TIER: Family<TierStatus> =
    gauge("tier_active", None, "Whether this means of capture is at work.", |it| {
        flag(it.missing.is_none())
    });

static DAEMON: &[Family<LedgerStatus>] = &[
    gauge("disk_free", BYTES, "Bytes that are free on the ledger's disk.", |it| {
        it.disk_free_bytes as f64
    }),
    gauge(
        "worm_active",
        None,
        "Whether sealed segments are append-only and closed ones immutable.",
        |it| flag(it.worm == WormState::Held),
    ),
    gauge("up", None, "Whether the ledger is being written.", |it| flag(it.down.is_none())),
    counter("rebuilds", None, "Graphs rebuilt after a failure.", |it| it.rebuilds as f64),
    gauge("watch_targets", None, "Cgroups, units and executables to be watched.", |it| {
        it.watches.iter().flat_map(|watch| &watch.targets).count() as f64
    }),
    gauge("watch_targets_waiting", None, "Those of which nothing is there to be watched.", |it| {
        let targets = it.watches.iter().flat_map(|watch| &watch.targets);
        targets.filter(|target| target.waiting.is_some()).count() as f64
    }),
];

static LEDGER: &[Family<Figures>] = &[
    gauge("size_records", None, "Durable records in the ledger.", |it| it.size as f64),
    gauge("sealed_size_records", None, "Records below the newest signed checkpoint.", |it| {
        it.sealed_size as f64
    }),
    counter("records", None, "Records made durable.", |it| it.records as f64),
    counter("durable", BYTES, "Bytes made durable.", |it| it.bytes as f64),
    counter("blocks", None, "Blocks sealed.", |it| it.blocks as f64),
    counter("rejected_lines", None, "Lines of input refused.", |it| it.rejected as f64),
    counter("gaps", None, "Gaps put on record: what they name was not captured.", |it| {
        it.gaps as f64
    }),
    gauge("heartbeat_age", SECONDS, "Time since the newest heartbeat.", |it| {
        it.heartbeat_age_ms as f64 / 1e3
    }),
    gauge("intake_used", BYTES, "Raw bytes inside the graph.", |it| it.intake.used_bytes as f64),
    gauge("intake_max", BYTES, "Raw bytes that may be inside the graph.", |it| {
        it.intake.max_bytes as f64
    }),
    counter("intake_waited", SECONDS, "Time that sources have waited for room.", |it| {
        it.intake.waited_us as f64 / 1e6
    }),
    gauge("ledger_used", BYTES, "Bytes that the ledger's directory holds.", |it| {
        it.disk.used_bytes as f64
    }),
    gauge("ledger_budget", BYTES, "Bytes that it may hold; 0 where that is not limited.", |it| {
        it.disk.bytes_max.unwrap_or_default() as f64
    }),
    gauge(
        "ledger_free_min",
        BYTES,
        "Bytes that are to stay free on its disk; 0: no limit.",
        |it| it.disk.free_bytes_min.unwrap_or_default() as f64,
    ),
    gauge("ledger_budget_slowed", None, "Whether sources are slowed down by the budget.", |it| {
        flag(it.disk.standing == Standing::Slowed)
    }),
    gauge("ledger_budget_reached", None, "Whether sources are stopped by the budget.", |it| {
        flag(it.disk.standing == Standing::Reached)
    }),
    counter("ledger_released_segments", None, "Segments released.", |it| {
        it.release.segments as f64
    }),
    gauge(
        "ledger_release_failed",
        None,
        "Whether a release has failed and is to be tried again.",
        |it| flag(it.release.failure.is_some()),
    ),
    counter("ledger_budget_waited", SECONDS, "Time that sources have waited for disk.", |it| {
        it.disk.waited_us as f64 / 1e6
    }),
    gauge("clock_synchronised", None, "Whether the kernel calls the clock synchronised.", |it| {
        flag(it.clock.synchronised)
    }),
    gauge("clock_max_error", SECONDS, "The kernel's bound of the clock's error.", |it| {
        it.clock.max_error_ns as f64 / 1e9
    }),
    counter("kernel_emitted_records", None, "Records that the kernel has handed over.", |it| {
        it.kernel.emitted as f64
    }),
    counter("kernel_dropped_records", None, "Records that found the kernel's ring full.", |it| {
        it.kernel.dropped as f64
    }),
    counter("kernel_stash_failed_calls", None, "Calls for which the kernel had no memory.", |it| {
        it.kernel.stash_failed as f64
    }),
    counter(
        "kernel_recursion_missed_events",
        None,
        "Events that came while the program was running on that CPU already.",
        |it| it.kernel.recursion_misses as f64,
    ),
    counter(
        "kernel_skipped_calls",
        None,
        "Calls that were in progress when their task came under watch: not on record.",
        |it| it.kernel.skipped_mid_call as f64,
    ),
    counter("kernel_left_out_calls", None, "Calls left out by a filter.", |it| {
        it.kernel.left_out as f64
    }),
];

static STAGE: &[Family<StageFigures>] = &[
    counter("stage_records", None, "Records handed on by the stage.", |it| it.records as f64),
    counter("stage", BYTES, "Bytes handed on by the stage.", |it| it.bytes as f64),
    counter("stage_waited", SECONDS, "Time that the stage has waited on the one after it.", |it| {
        it.waited_us as f64 / 1e6
    }),
];

static SINK: &[Family<SinkFigures>] = &[
    gauge("sink_cursor_records", None, "Records that the destination holds.", |it| {
        it.cursor as f64
    }),
    gauge("sink_lag_records", None, "Durable records that the destination lacks.", |it| {
        it.lag_records as f64
    }),
    gauge("sink_lag", SECONDS, "Time since the destination last had all records.", |it| {
        it.lag_ms as f64 / 1e3
    }),
    gauge("sink_failed", None, "Whether the sink has stopped.", |it| flag(it.failure.is_some())),
];

static RING: &[Family<RingStatus>] = &[
    gauge("ring_pending", BYTES, "Bytes that wait in the kernel's ring.", |it| {
        it.pending_bytes as f64
    }),
    gauge("ring_size", BYTES, "Size of the kernel's ring.", |it| it.size_bytes as f64),
];

/// Writes a family: its samples stand together.
fn write<'a, T: ?Sized + 'a>(
    encoder: &mut DescriptorEncoder<'_>,
    family: &Family<T>,
    samples: impl IntoIterator<Item = (Labels<'a>, &'a T)>,
) -> fmt::Result {
    let Family { name, help, unit, kind, value } = family;
    let mut page = encoder.encode_descriptor(name, help, *unit, *kind)?;
    for (labels, sample) in samples {
        let (page, value) = (page.encode_family(&labels)?, value(sample));
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(page)?,
            _ => ConstGauge::new(value).encode(page)?,
        }
    }
    Ok(())
}

fn write_syncs<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    syncs: impl Iterator<Item = (Labels<'a>, &'a Latency)>,
) -> fmt::Result {
    let help = "How long fdatasync of the ledger took.";
    let mut page =
        encoder.encode_descriptor("sync", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for (labels, Latency { count, sum_us, buckets, .. }) in syncs {
        let (sum_s, buckets) = (*sum_us as f64 / 1e6, apart(buckets, *count));
        let mut page = page.encode_family(&labels)?;
        page.encode_histogram::<NoLabelSet>(sum_s, *count, &buckets, None)?;
    }
    Ok(())
}

/// Cumulative buckets in microseconds as single ones in seconds, with one for the rest.
fn apart(buckets: &[(u64, u64)], count: u64) -> Vec<(f64, u64)> {
    let mut below = 0;
    let mut apart: Vec<_> = buckets
        .iter()
        .map(|(edge_us, cumulative)| {
            let own = cumulative - below;
            below = *cumulative;
            (*edge_us as f64 / 1e6, own)
        })
        .collect();
    apart.push((f64::INFINITY, count - below));
    apart
}
