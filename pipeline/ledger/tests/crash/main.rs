//! The ledger on a disk that fails at any operation and loses power at any moment.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod check;
mod durable;
mod model;
mod named;
mod writer;

use std::{env, fs, thread};

use fastrand::Rng;
use graven_ledger::disk::Opening;
use graven_ledger::{LedgerError, Paths, list_segments, open_on};

use crate::durable::Freedom;
use crate::model::{Failure, Model};
use crate::writer::{Work, World};

const FREEDOMS: [Freedom; 2] = [Freedom::InOrder, Freedom::AnyOrder];
const FAILURES: [Failure; 3] = [Failure::Death, Failure::Io, Failure::Full];

/// How a writer's failure ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The same process opens the ledger again.
    Again,
    Death,
    Crash(Freedom, u64),
}

impl End {
    fn draw(failure: Failure, rng: &mut Rng) -> Self {
        match rng.u8(..4) {
            0 if failure != Failure::Death => Self::Again,
            0 | 1 => Self::Death,
            _ => Self::Crash(*rng.choice(&FREEDOMS).unwrap(), rng.u64(..)),
        }
    }

    fn come(self, model: &Model) {
        match self {
            Self::Again => {}
            Self::Death => model.die(),
            Self::Crash(freedom, seed) => model.crash(freedom, seed),
        }
    }
}

/// Tells how to run a case alone, where it fails.
struct Case<'a> {
    name: String,
    model: &'a Model,
}

impl Drop for Case<'_> {
    #[expect(clippy::print_stderr, reason = "the harness shows it with the failure")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}\n\n{}", self.model.log(), self.name);
        }
    }
}

/// Asserts that a failure is the disk's, and not taken for damaged evidence.
fn assert_is_io(result: Result<(), LedgerError>) {
    if let Err(error) = result {
        assert!(matches!(error, LedgerError::Io { .. }), "{error}: {error:?}");
    }
}

/// Opens the ledger as the failure left it, goes on writing, and checks all of it. Where a sync has
/// failed and the power was not lost, a reader of the cache sees more than recovery does.
fn go_on(world: &mut World, work: &Work, cache_is_true: bool) {
    world.model.fail_no_more();
    let before = check::stands(world);
    let opened = world.open().unwrap();
    if cache_is_true {
        check::same_tail(&before, &opened.recovered);
    }
    world.write(opened, work).unwrap();
    check::is_whole(world);
}

fn short_work(seed: u64) -> Work {
    Work { seed, groups: 4, segment_bytes: 4000, large: false }
}

/// Whole lines in all segments.
fn lines(world: &World) -> usize {
    let segments = list_segments(&Paths::new(&world.dir)).unwrap();
    let bytes = segments.iter().map(|segment| fs::read(&segment.path).unwrap());
    bytes.map(|bytes| memchr::memchr_iter(b'\n', &bytes).count()).sum()
}

/// Goal: the model loses what was not synced, and nothing else. Method: the same works on a disk
/// that syncs and on one that says so.
#[test]
fn a_disk_that_lies_loses_records() {
    let lost = |lies: bool, freedom, seed| {
        let mut world = World::new();
        if lies {
            world.model.lie();
        }
        world.live(&short_work(seed)).unwrap();
        let before = lines(&world);
        world.model.crash(freedom, seed);
        before - lines(&world)
    };
    for freedom in FREEDOMS {
        assert_eq!((0..20).map(|seed| lost(false, freedom, seed)).sum::<usize>(), 0, "control");
        assert!((0..20).any(|seed| lost(true, freedom, seed) > 0), "{freedom:?}");
    }
}

/// Goal: no operation at which a failure costs an acknowledged record or shows as a fault. Method:
/// every operation of a short work, every kind of failure, several states of the disk after it.
#[test]
fn a_failure_at_any_operation_costs_nothing_acknowledged() {
    let mut control = World::new();
    control.live(&short_work(1)).unwrap();
    let before = control.model.operations();
    control.live(&short_work(2)).unwrap();
    let last = control.model.operations() - before;
    check::is_whole(&control);

    for nth in 1..=last {
        let crashes = FREEDOMS.map(|freedom| End::Crash(freedom, nth));
        let ways = [
            (Failure::Death, End::Death),
            (Failure::Death, crashes[0]),
            (Failure::Death, crashes[1]),
            (Failure::Death, End::Crash(Freedom::AnyOrder, nth + last)),
            (Failure::Io, End::Again),
            (Failure::Io, End::Death),
            (Failure::Io, crashes[1]),
            (Failure::Full, End::Again),
        ];
        for (failure, end) in ways {
            let mut world = World::new();
            world.live(&short_work(1)).unwrap();
            let model = world.model.clone();
            let name = format!("operation {nth}, {failure:?}, {end:?}");
            let _case = Case { name, model: &model };
            model.fail(nth, failure, nth);
            assert_is_io(world.live(&short_work(2)));
            end.come(&model);
            let cache_is_true = failure == Failure::Death || matches!(end, End::Crash(..));
            go_on(&mut world, &short_work(3), cache_is_true);
        }
    }
}

/// Goal: damage is named though every run that saw it broke off. Method: a torn line, and the power is lost at
/// every operation until a record that names it is sealed, then again at the same one.
#[test]
fn what_a_recovery_set_aside_is_named_by_whoever_comes_through() {
    let torn = || {
        let mut world = World::new();
        world.live(&short_work(1)).unwrap();
        let segments = list_segments(&Paths::new(&world.dir)).unwrap();
        let last = &segments.last().unwrap().path;
        let mut file = world.model.as_disk().open(last, Opening::Append, 0o644).unwrap();
        file.write_all(b"{\"torn").unwrap();
        file.sync_all().unwrap();
        world
    };
    let mut control = torn();
    let before = control.model.operations();
    control.live(&short_work(2)).unwrap();
    let last = control.model.operations() - before;
    let report = check::is_whole(&control);
    let named = named::details(&control, report.records);
    let [detail] = &named[..] else { panic!("control: one recovery, one record: {named:#?}") };
    assert_eq!(detail["damaged"]["bytes"], 6, "control");

    for (nth, freedom) in (1..=last).flat_map(|nth| FREEDOMS.map(|freedom| (nth, freedom))) {
        let mut world = torn();
        let model = world.model.clone();
        let _case = Case { name: format!("operation {nth}, {freedom:?}"), model: &model };
        for run in 0..2 {
            model.fail(nth, Failure::Death, nth + run);
            assert_is_io(world.live(&short_work(2 + run)));
            model.crash(freedom, nth + run);
        }
        model.fail_no_more();
        world.live(&short_work(4)).unwrap();
        let report = check::is_whole(&world);
        assert!(named::details(&world, report.records).contains(detail), "{report}");
    }
}

/// Goal: what [`create_on`] has made stands, and what it has not made passes for no ledger. Method:
/// the power is lost at every operation.
#[test]
fn a_ledger_that_is_being_made_is_one_or_none() {
    let control = World::new().model.operations();
    for (nth, seed) in (1..=control + 1).flat_map(|nth| (0..8).map(move |seed| (nth, seed))) {
        let root = writer::temporary();
        let model = Model::new(root.path());
        let name = format!("operation {nth}, seed {seed}");
        let _case = Case { name, model: &model };
        model.fail(nth, Failure::Death, seed);
        let made = writer::create(&model, root.path());
        assert_eq!(made.is_ok(), nth > control);
        model.crash(FREEDOMS[usize::from(seed % 2 == 0)], seed);
        model.fail_no_more();
        match open_on(model.as_disk(), &root.path().join("ledger"), &root.path().join("key"), 0) {
            Ok(_) => {}
            Err(LedgerError::NotALedger(_)) => assert!(made.is_err(), "it was made"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// Goal: what no crash explains is refused, and named. Method: one bit of the last sealed record.
#[test]
fn damage_below_the_last_checkpoint_is_no_crash() {
    let mut world = World::new();
    world.live(&short_work(1)).unwrap();
    let control = check::is_whole(&world);
    drop(world.open().unwrap());
    let (paths, seq) = (Paths::new(&world.dir), control.sealed - 1);
    let last = graven_ledger::find(&paths, seq).unwrap().unwrap();
    let mut bytes = fs::read(&last.segment.path).unwrap();
    bytes[usize::try_from(last.at_byte).unwrap() + last.record.len() / 2] ^= 1;
    fs::write(&last.segment.path, bytes).unwrap();
    let error = world.open().unwrap_err();
    let LedgerError::Corrupt { path, at_byte, record, .. } = error else { panic!("{error}") };
    assert_eq!((path, at_byte, record), (last.segment.path, Some(last.at_byte), Some(seq)));
}

/// Cases of the seeded test where `GRAVEN_CRASH_POINTS` does not say how many.
const POINTS: u64 = 500;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|text| text.parse().unwrap())
}

/// Goal: the same for long works, with failures in recovery, and in the recovery from that. Method:
/// drawn from a seed; `GRAVEN_CRASH_SEED` runs one alone.
#[test]
fn failures_in_failures_cost_nothing_acknowledged() {
    let points = number("GRAVEN_CRASH_POINTS").unwrap_or(POINTS);
    let seeds = number("GRAVEN_CRASH_SEED").map_or(0..points, |seed| seed..seed + 1);
    for seed in seeds {
        failures_in_failures(seed);
    }
}

fn failures_in_failures(seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let mut world = World::new();
    let model = world.model.clone();
    let name =
        format!("run it alone: GRAVEN_CRASH_SEED={seed} cargo test -p graven-ledger --test crash");
    let _case = Case { name, model: &model };
    let mut cache_is_true = true;
    for _ in 0..rng.u8(1..5) {
        let failure = *rng.choice(&FAILURES).unwrap();
        model.fail(rng.u64(1..120), failure, rng.u64(..));
        assert_is_io(world.live(&any_work(&mut rng)));
        let end = End::draw(failure, &mut rng);
        end.come(&model);
        match end {
            End::Crash(..) => cache_is_true = true,
            _ => cache_is_true &= failure == Failure::Death,
        }
        model.fail_no_more();
        check::stands(&world);
    }
    go_on(&mut world, &any_work(&mut rng), cache_is_true);
}

fn any_work(rng: &mut Rng) -> Work {
    Work {
        seed: rng.u64(..),
        groups: rng.u32(1..8),
        segment_bytes: *rng.choice(&[2000, 20_000, 100_000, 1 << 30]).unwrap(),
        large: rng.bool(),
    }
}
