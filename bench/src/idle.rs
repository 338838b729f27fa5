//! `graven run` with nothing to record.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use graven_stages::clock;

use crate::recorder;
use crate::service::Service;
use crate::stats::{Figure, float};

pub(crate) const GROUP: &str = "graven run, idle: two ledgers and watches, metrics read";

/// Until what a start takes is over.
const SETTLED: Duration = Duration::from_secs(3);
/// Between two looks at the metrics: three times as often as Prometheus does.
const SCRAPE: Duration = Duration::from_secs(5);
const SCRAPES: u32 = 4;

/// Size and CPU of a service with two ledgers, a watch each, whose metrics are read.
pub(crate) fn figures(dir: &Path) -> anyhow::Result<Vec<Figure>> {
    let cgroups = [recorder::cgroup("idle-0")?, recorder::cgroup("idle-1")?];
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let metrics = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"");
    let service = Service::start(dir, &[&cgroups[0], &cgroups[1]], &metrics)?;
    scrape(port)?;
    thread::sleep(SETTLED);
    let process = service.process();
    let (cpu_ns, since_ns) = (process.cpu_ns()?, clock::mono_ns());
    for _ in 0..SCRAPES {
        scrape(port)?;
        thread::sleep(SCRAPE);
    }
    let (cpu_ns, elapsed_ns) = (process.cpu_ns()? - cpu_ns, clock::mono_ns() - since_ns);
    let (resident, rings_kib) = (process.resident()?, process.rings_kib()?);
    service.stop()?;
    let mib = |kib: u64| float(kib) / 1024.0;
    Ok(vec![
        Figure::new(GROUP, "resident".into(), "MiB", mib(resident.kib)),
        Figure::new(GROUP, "resident, at most".into(), "MiB", mib(resident.peak_kib)),
        Figure::new(GROUP, "  the rings in it, each counted twice".into(), "MiB", mib(rings_kib)),
        Figure::new(GROUP, "CPU".into(), "% of a core", float(cpu_ns) / float(elapsed_ns) * 100.0),
    ])
}

fn scrape(port: u16) -> anyhow::Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    ensure!(page.starts_with("HTTP/1.1 200"), "the metrics are not served: {page}");
    Ok(())
}
