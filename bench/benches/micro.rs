//! What single steps cost, to find where a change of the table comes from. Draft-making from a kernel
//! record is private to the stages: here it is parsed, decoded and attributed.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use graven_bench::samples::{CALLS_IN_MIX, KernelFeed, ORIGIN, RECORD_BYTES, event_line, record};
use graven_ledger::{Chain, Frontier, Members, Placement, Run};
use graven_record::event::Event;
use graven_record::{DraftBatch, Hash, leaf_hash};

/// Records of a batch that the chain takes at once.
const BATCH: usize = 256;

fn drafts(count: usize) -> DraftBatch {
    let mut drafts = DraftBatch::default();
    for n in 0..count {
        let (line, admission, defaults) = event_line(n);
        let event = Event::parse(line.as_bytes(), &admission).expect("the event is admitted");
        drafts.push(&event.draft(&defaults)).expect("the event is short");
    }
    drafts
}

/// What a reader does with a stored line.
fn read(criterion: &mut Criterion) {
    let record = record(1);
    let mut group = criterion.benchmark_group("read");
    group.throughput(Throughput::Bytes(RECORD_BYTES as u64));
    group.bench_function("canonical check and members, 600 B", |bencher| {
        bencher.iter(|| Members::read(black_box(&record)).expect("it is a record"));
    });
    let members = Members::read(&record).expect("it is a record");
    group.bench_function("placement, 600 B", |bencher| {
        bencher.iter(|| Placement::read(black_box(&members), ORIGIN).expect("it is a record"));
    });
    group.bench_function("leaf hash, 600 B", |bencher| {
        bencher.iter(|| leaf_hash(black_box(&record)));
    });
    group.finish();
}

/// From an application's line to a canonical draft.
fn normalize(criterion: &mut Criterion) {
    let (line, admission, defaults) = event_line(1);
    let event = Event::parse(line.as_bytes(), &admission).expect("the event is admitted");
    let mut group = criterion.benchmark_group("normalize");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse an event", |bencher| {
        bencher.iter(|| Event::parse(black_box(line.as_bytes()), &admission));
    });
    group.bench_function("push its draft", |bencher| {
        bencher.iter_batched_ref(
            DraftBatch::default,
            |drafts| drafts.push(&black_box(&event).draft(&defaults)),
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

/// The kernel's records, before they are put into words: the mix, not one kind.
fn kernel(criterion: &mut Criterion) {
    let mut feed = KernelFeed::default();
    let records: Vec<_> = (0..CALLS_IN_MIX).map(|_| feed.next_record().to_vec()).collect();
    let mut group = criterion.benchmark_group("kernel");
    group.throughput(Throughput::Elements(CALLS_IN_MIX as u64));
    group.bench_function("parse and decode, 20 of the mix", |bencher| {
        bencher.iter(|| {
            for record in &records {
                if let Ok(graven_abi::KernelRecord::Call(call)) = graven_abi::parse(record) {
                    black_box(graven_abi::decode(&call));
                }
            }
        });
    });
    let records = feed.next_batch().len() as u64;
    group.throughput(Throughput::Elements(records));
    group.bench_function("attribute a batch", |bencher| bencher.iter(|| feed.next_batch()));
    group.finish();
}

/// The one stage that cannot be spread over cores.
fn sequence(criterion: &mut Criterion) {
    let (drafts, host) = (drafts(BATCH), "host-1".to_owned());
    let trace_id = "6f9619ff-8b86-4011-b42d-00cf4fc964ff".to_owned();
    let run = Run { host, ledger: ORIGIN.to_owned(), trace_id };
    let mut group = criterion.benchmark_group("sequence");
    group.throughput(Throughput::Elements(BATCH as u64));
    group.bench_function("chain, 256 records of 600 B", |bencher| {
        bencher.iter_batched_ref(
            || Chain::new(Hash([0; 32])),
            |chain| {
                let (mut steps, mut receipts) = (Vec::new(), Vec::new());
                chain.append(&run, &drafts, &mut steps, &mut receipts);
                (steps, receipts)
            },
            BatchSize::SmallInput,
        );
    });
    group.throughput(Throughput::Elements(1));
    let mut frontier = Frontier::default();
    group.bench_function("grow a tree", |bencher| {
        bencher.iter(|| frontier.push(black_box(Hash([7; 32]))));
    });
    group.finish();
}

fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
}

criterion_group! {
    name = micro;
    config = criterion();
    targets = read, normalize, kernel, sequence
}
criterion_main!(micro);
