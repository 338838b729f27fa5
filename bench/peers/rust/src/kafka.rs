//! Apache Kafka over loopback: acks=all, and a broker that syncs each batch before it acknowledges.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};

use crate::load::{Load, MANY, Row, Shape, now};

/// Until a record that was not acknowledged has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Just below what a broker takes unless told otherwise.
const BATCH_BYTES: &str = "1000000";

/// Records without an acknowledgement at full load.
const OUTSTANDING: usize = 16_384;

pub(crate) fn rows(load: &Load, address: &str) -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        produce(load, address, Shape::One, 1, "one outstanding")?,
        produce(load, address, Shape::Many, MANY, "64 outstanding")?,
        produce(load, address, Shape::Full, OUTSTANDING, "batches of 1 MB")?,
    ])
}

/// When a delivered record was handed in: nanoseconds from the beginning.
type Delivery = Result<usize, KafkaError>;

/// Passes deliveries on; the producer's own thread calls it.
#[derive(Debug)]
struct Deliveries(Sender<Delivery>);

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, at_ns: usize) {
        let delivery = result.as_ref().map(|_| at_ns).map_err(|(error, _)| error.clone());
        // Nobody listens any more once a measurement has failed.
        drop(self.0.send(delivery));
    }
}

fn producer(
    address: &str,
    linger_ms: &str,
    in_flight: &str,
) -> anyhow::Result<(ThreadedProducer<Deliveries>, Receiver<Delivery>)> {
    let (sender, delivered) = channel();
    let producer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("acks", "all")
        .set("linger.ms", linger_ms)
        .set("batch.size", BATCH_BYTES)
        .set("batch.num.messages", "100000")
        .set("message.max.bytes", BATCH_BYTES)
        .set("max.in.flight", in_flight)
        .set("socket.nagle.disable", "true")
        .set("message.timeout.ms", PATIENCE.as_millis().to_string())
        .create_with_context(Deliveries(sender))?;
    Ok((producer, delivered))
}

fn produce(
    load: &Load,
    address: &str,
    shape: Shape,
    outstanding: usize,
    how: &'static str,
) -> anyhow::Result<Row> {
    // What comes while a request is under way is one batch then, and one sync.
    let (linger_ms, in_flight) = if shape == Shape::Full { ("5", "5") } else { ("0", "1") };
    let (producer, delivered) = producer(address, linger_ms, in_flight)?;
    // Created by the broker when it is named, with the broker's own settings.
    let topic = format!("records-{outstanding}");
    let mut meter = load.meter()?;
    let begun = now();
    let (mut sent, mut waiting) = (0, 0);
    while meter.goes_on() || waiting > 0 {
        while waiting < outstanding && meter.goes_on() {
            let at_ns = usize::try_from(begun.elapsed().as_nanos())?;
            let record = BaseRecord::<(), [u8], usize>::with_opaque_to(&topic, at_ns);
            match producer.send(record.payload(load.record(sent))) {
                Ok(()) => (sent, waiting) = (sent + 1, waiting + 1),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                Err((error, _)) => return Err(error).context("a record was not taken"),
            }
        }
        let first = delivered.recv().context("the producer has gone")?;
        for delivery in [first].into_iter().chain(delivered.try_iter()) {
            waiting -= 1;
            meter.acknowledged(1, begun + Duration::from_nanos(delivery? as u64));
        }
    }
    let (_, stored) = producer.client().fetch_watermarks(&topic, 0, PATIENCE)?;
    let sent = i64::try_from(meter.all())?;
    ensure!(stored == sent, "{sent} acknowledged, but {stored} are there");
    meter.row("Kafka", shape, how)
}
