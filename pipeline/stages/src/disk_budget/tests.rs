use std::sync::mpsc;

use super::*;

const MIB: u64 = 1 << 20;

fn budget(used: u64, bytes_max: u64) -> (DiskBudget, ByteBudget) {
    let limits = DiskLimits { bytes_max: Some(bytes_max), free_bytes_min: None };
    let disk = DiskBudget::new(used, limits);
    disk.look(u64::MAX);
    (disk, ByteBudget::new(4 << 20))
}

fn standing(disk: &DiskBudget) -> Standing {
    disk.figures().standing
}

#[test]
fn sources_are_slowed_then_stopped_then_let_in_again() {
    let (disk, memory) = budget(0, 100 * MIB);
    assert_eq!(standing(&disk), Standing::Open);
    drop(disk.enter(&memory, 1_000, false).unwrap());
    assert_eq!(disk.figures().waited_us, 0, "control: there is room");
    disk.add(91 * MIB);
    assert_eq!(standing(&disk), Standing::Slowed);
    drop(disk.enter(&memory, 1_000, false).unwrap());
    assert!(disk.figures().waited_us > 0);
    disk.add(8 * MIB);
    let (entered, seen) = mpsc::channel();
    let waiting = thread::spawn({
        let (disk, memory) = (disk.clone(), memory.clone());
        move || entered.send(disk.enter(&memory, 1_000, false).map(drop))
    });
    while standing(&disk) != Standing::Reached {
        thread::sleep(BUSY);
    }
    assert!(seen.try_recv().is_err(), "it waits");
    assert!(!disk.may_resume());
    disk.limit(DiskLimits { bytes_max: Some(200 * MIB), free_bytes_min: None });
    disk.look(u64::MAX);
    assert!(disk.may_resume());
    disk.resume();
    assert_eq!(seen.recv().unwrap(), Ok(()));
    waiting.join().unwrap().unwrap();
}

#[test]
fn whoever_waits_is_sent_away_at_the_end() {
    let (disk, memory) = budget(100 * MIB, 100 * MIB);
    assert_eq!(standing(&disk), Standing::Reached);
    let waiting = thread::spawn({
        let (disk, memory) = (disk.clone(), memory.clone());
        move || disk.enter(&memory, 1_000, false).map(drop)
    });
    disk.last_call();
    assert!(disk.enter(&memory, 1_000, true).is_ok(), "the kernel's records are taken in");
    disk.close();
    assert_eq!(waiting.join().unwrap(), Err(Closed));
    assert_eq!(disk.enter(&memory, 1_000, true).map(drop), Err(Closed));
}

/// However many come at once, what is under way cannot outgrow what is left.
#[test]
fn nothing_goes_over_the_budget() {
    let (disk, memory) = budget(89 * MIB, 100 * MIB);
    let sources: Vec<_> = (0..8)
        .map(|_| {
            let (disk, memory) = (disk.clone(), memory.clone());
            thread::spawn(move || {
                while let Ok(permit) = disk.enter(&memory, 100_000, false) {
                    // Written at its largest, and only then given back.
                    disk.add(GROWTH * 100_000);
                    drop(permit);
                }
            })
        })
        .collect();
    while standing(&disk) != Standing::Reached {
        thread::sleep(BUSY);
    }
    disk.close();
    for source in sources {
        source.join().unwrap();
    }
    let used = disk.figures().used_bytes;
    assert!((98 * MIB..=99 * MIB).contains(&used), "{used}");
}

#[test]
fn the_tighter_limit_holds() {
    let limits = DiskLimits { bytes_max: Some(1_000 * MIB), free_bytes_min: Some(100 * MIB) };
    let none = DiskLimits::default().tightest(5, 5);
    assert_eq!(none, (u64::MAX, 0), "control: no limits, no end");
    let by_bytes = limits.tightest(950 * MIB, 1_000 * MIB);
    assert_eq!(by_bytes, (1_000 * MIB - 10 * MIB, 90 * MIB));
    let by_free = limits.tightest(500 * MIB, 104 * MIB);
    assert_eq!(by_free, (504 * MIB, 10 * MIB));
    let none_free = limits.tightest(500 * MIB, 99 * MIB);
    assert_eq!(none_free.0, 500 * MIB, "already over: stopped at once");
}
