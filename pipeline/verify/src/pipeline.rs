//! Work on all cores whose results come back in order.

use crossbeam_channel::{Sender, bounded};

/// Runs `produce` on one thread and `work` on each core; hands the results to `fold`, here, in the
/// order in which `produce` emitted their jobs.
///
/// Bounded: at most a few jobs for each core are in memory. `produce` gives a job to its argument,
/// which says false when nobody wants more. An error of `produce` arrives behind the jobs before it.
pub(crate) fn in_order<J: Send, D: Send, E: Send>(
    produce: impl FnOnce(&mut dyn FnMut(J) -> bool) -> Result<(), E> + Send,
    work: impl Fn(J) -> D + Sync,
    mut fold: impl FnMut(D) -> Result<(), E>,
) -> Result<(), E> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // Each job's result has a channel of its own, and the channels queue in the order of the jobs.
    let (queue, results) = bounded(2 * workers);
    let (jobs, todo) = bounded::<(J, Sender<D>)>(workers);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (todo, work) = (todo.clone(), &work);
            scope.spawn(move || {
                for (job, result) in todo {
                    // Nobody waits for it any more once the fold has failed.
                    if result.send(work(job)).is_err() {
                        break;
                    }
                }
            });
        }
        drop(todo);
        scope.spawn(move || {
            let mut emit = |job| {
                let (result, place) = bounded(1);
                queue.send(Ok(place)).is_ok() && jobs.send((job, result)).is_ok()
            };
            if let Err(error) = produce(&mut emit) {
                drop(queue.send(Err(error)));
            }
        });
        for place in results {
            // A worker that is gone has panicked; the scope passes that on.
            let Ok(done) = place?.recv() else { break };
            fold(done)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let mut seen = Vec::new();
        in_order::<_, _, ()>(
            |emit| {
                assert!((0..1000).all(emit));
                Ok(())
            },
            |job: u32| {
                if job.is_multiple_of(7) {
                    std::thread::yield_now();
                }
                job * 2
            },
            |done| {
                seen.push(done);
                Ok(())
            },
        )
        .unwrap();
        assert_eq!(seen, (0..1000).map(|job| job * 2).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_on_either_side_ends_it() {
        let mut seen = 0;
        let error = in_order(
            |emit| {
                assert!(emit(1_u32));
                Err("source")
            },
            |job| job,
            |_| {
                seen += 1;
                Ok(())
            },
        );
        assert_eq!((error, seen), (Err("source"), 1));
        let error = in_order(
            |emit| {
                while emit(1_u32) {}
                Ok(())
            },
            |job| job,
            |_| Err("fold"),
        );
        assert_eq!(error, Err("fold"));
    }
}
