use serde_json::{Value, json};

use super::*;

fn ledger(name: &str) -> Value {
    json!({
        "name": name, "dir": format!("/var/lib/graven/{name}"), "origin": format!("acme.example/{name}"),
        "down": null, "rebuilds": 0, "records_per_s": 123_676.4, "bytes_per_s": 103_900_000.0,
        "disk_free_bytes": 32_212_254_720_u64, "worm": {"state": "held"},
        "ring": {"pending_bytes": 1024, "size_bytes": 65536},
        "watches": [
            {"agent": "ci", "targets": [
                {"name": "ci-runner.service", "waiting": null},
                {"name": "/builds", "waiting": "there is no such cgroup now"}
            ]},
            {"agent": "exec", "targets": [{"name": "sleep (a017ac8f)", "waiting": null}]}
        ],
        "figures": {
            "size": 7_131_000, "sealed_size": 7_131_000, "records": 5, "bytes": 5, "syncs": 5, "blocks": 3,
            "disk": {"bytes_max": null, "free_bytes_min": null, "used_bytes": 7_340_032, "standing": "open",
                     "waited_us": 0},
            "release": {"segments": 2, "bytes": 536_870_912, "failure": null},
            "rejected": 0, "gaps": 0, "heartbeat_age_ms": 5,
            "intake": {"used_bytes": 0, "max_bytes": 4_194_304, "waited_us": 0},
            "stages": [{"stage": "normalize", "records": 5, "bytes": 5, "waited_us": 1_160_000},
                       {"stage": "seal", "records": 5, "bytes": 5, "waited_us": 0}],
            "sync": {"recent_p50_us": 130, "recent_p99_us": 170, "recent_max_us": 13_400, "count": 5,
                     "sum_us": 5, "buckets": []},
            "sinks": [{"name": "mirror", "cursor": 7_131_000, "lag_records": 0, "lag_ms": 0, "failure": null}],
            "clock": {"synchronised": true, "max_error_ns": 130_000},
            "kernel": {"emitted": 7125, "dropped": 0, "stash_failed": 0, "skipped_mid_call": 0,
                       "recursion_misses": 0, "left_out": 1}
        }
    })
}

fn status(ledgers: &[Value]) -> Status {
    let status = json!({
        "version": "0.1.0", "pid": 17, "uptime_s": 125, "config": "/etc/graven/graven.toml",
        "config_sha256": format!("sha256:7731fc8bf06a{}", "0".repeat(52)), "reload_failure": null,
        "tiers": [{"name": "observe", "missing": null}, {"name": "lsm", "missing": "not part of this version"},
                  {"name": "network", "missing": "not part of this version"}],
        "ledgers": ledgers
    });
    serde_json::from_value(status).expect("a status")
}

fn page(status: &Status, width: Option<usize>) -> String {
    let mut page = Vec::new();
    Page::new(&mut page, width).write(status).expect("memory takes it");
    String::from_utf8(anstream::adapter::strip_bytes(&page).into_vec()).expect("text")
}

#[test]
fn a_page() {
    let expected = "\
builds  well; 1 watch waits

graven 0.1.0, process 17, up 2 min 5 s
configuration /etc/graven/graven.toml, sha256:7731fc8bf06a…
without lsm, network (not part of this version)

builds  /var/lib/graven/builds  acme.example/builds
  records     7,131,000 durable, all sealed
  rate        123,676/s, 99.1 MiB/s (last 10 s)
  disk sync   p50 0.13 ms, p99 0.17 ms, longest 13.4 ms (last minute)
  intake      0 B of 4 MiB in use
  waits       normalize 1.16 s, each for the stage after it, since the start
  gaps        none since the start
  ring        1 KiB of 64 KiB in use; 7,125 records since the start, 0 lost
  left out    1 call by filters since the start, counted on record
  clock       synchronised, within 0.13 ms
  disk        7 MiB used, 30 GiB free
  worm        append-only and immutable
  released    2 segments, 512 MiB since the start
  sink        mirror  7,131,000 records  has them all
  watches     ci    ci-runner.service  watched
              ci    /builds            waiting: there is no such cgroup now
              exec  sleep (a017ac8f)   watched
";
    assert_eq!(page(&status(&[ledger("builds")]), Some(100)), expected);
}

/// The first lines say how each ledger is; what is not well comes with a remedy.
#[test]
fn the_verdict_comes_first() {
    let changed = |name: &str, pointer: &str, value: Value| {
        let mut ledger = ledger(name);
        *ledger.pointer_mut(pointer).expect("it is there") = value;
        ledger
    };
    let ledgers = [
        {
            let mut idle = changed("a", "/watches", json!([]));
            idle["figures"]["kernel"]["emitted"] = json!(0);
            idle
        },
        changed("bb", "/figures/kernel/dropped", json!(3_389_885)),
        changed("c", "/down", json!("disk full")),
        changed("d", "/figures/sinks/0/failure", json!("no such file")),
        changed("e", "/figures/gaps", json!(1)),
        changed("f", "/figures/disk/standing", json!("reached")),
        {
            let mut slowed = changed("g", "/figures/disk/standing", json!("slowed"));
            slowed["figures"]["disk"]["bytes_max"] = json!(7_500_000);
            slowed
        },
    ];
    let status = status(&ledgers);
    let page = page(&status, None);
    let expected = "\
a   all well
bb  LOSING RECORDS: 3,389,885 lost since the start
    → raise ring_bytes (now 64 KiB), or record fewer calls
c   DOWN: disk full
    → it is tried again by itself; mend what is named here
d   sink mirror stopped: no such file
    → the ledger has every record; mend the sink, then `graven reload`
e   with 1 gap on record since the start
    → `graven tail e --kind gap` shows what is missing
f   FULL: its budget of disk is reached, and sources wait
    → raise it in [ledger.budget] and `graven reload`, or make room on the disk
g   well; slowed down, near its budget of disk
    → raise it in [ledger.budget] and `graven reload`, or make room on the disk
";
    assert!(page.starts_with(expected), "{page}");
    let well: Vec<_> = status.ledgers.iter().map(|it| Verdict::of(it).is_well()).collect();
    assert_eq!(well, [true, false, false, false, false, false, true]);
    let ring_of_a = page.split("\n\n").nth(2).is_some_and(|a| a.contains("ring"));
    assert!(!ring_of_a, "a ring that nobody watches into says nothing: {page}");
}

#[test]
fn a_narrow_page_wraps_below_the_values() {
    let narrow = page(&status(&[ledger("builds")]), Some(50));
    assert!(narrow.lines().all(|line| measure_text_width(line) <= 50), "{narrow}");
    let ring = "
  ring        1 KiB of 64 KiB in use; 7,125
              records since the start, 0 lost
";
    assert!(narrow.contains(ring), "{narrow}");
}
