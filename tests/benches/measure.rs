//! Driving callers and taking figures: rates, latencies, medians of interleaved rounds.

use std::future::Future;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

/// A pause between two runs, in which the machine settles.
const SETTLE: Duration = Duration::from_millis(100);

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often the contenders take turns.
    pub rounds: usize,
    /// How long one turn lasts.
    pub time: Duration,
    /// Divides the amount of data that is prepared.
    pub scale: usize,
}

/// What one run gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figure {
    /// Operations per second.
    pub rate: f64,
    /// Median latency.
    pub p50: Duration,
    /// 99th percentile of the latency.
    pub p99: Duration,
}

impl Figure {
    /// How many operations took `elapsed`, when single ones were not timed.
    pub fn of(operations: u64, elapsed: Duration) -> Self {
        Self { rate: operations as f64 / elapsed.as_secs_f64(), ..Self::default() }
    }

    /// From the latency of every operation, all done within `elapsed`.
    pub fn from_latencies(mut latencies: Vec<Duration>, elapsed: Duration) -> Self {
        Self {
            rate: latencies.len() as f64 / elapsed.as_secs_f64(),
            p50: percentile(&mut latencies, 0.5),
            p99: percentile(&mut latencies, 0.99),
        }
    }

    /// The rate alone, where the latency is of something else than what is counted.
    pub fn without_latency(self) -> Self {
        Self { rate: self.rate, ..Self::default() }
    }

    /// The same when each operation counts `times`.
    pub fn times(self, times: f64) -> Self {
        Self { rate: self.rate * times, ..self }
    }
}

/// Runs `callers` callers side by side for `time`, each calling `operation(caller, number)` one after the other.
pub async fn drive<F, R>(callers: usize, time: Duration, operation: F) -> Figure
where
    F: Fn(usize, usize) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = ()> + Send,
{
    let started = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let operation = operation.clone();
            tokio::spawn(async move {
                let mut latencies = Vec::with_capacity(16_384);
                for number in 0.. {
                    if started.elapsed() >= time {
                        break;
                    }
                    let begun = Instant::now();
                    operation(caller, number).await;
                    latencies.push(begun.elapsed());
                }
                latencies
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.unwrap());
    }
    Figure::from_latencies(latencies, started.elapsed())
}

/// One side of a comparison: runs once and answers with its figure.
pub type Contender<'c, 'f> = &'c (dyn Fn() -> BoxFuture<'f, Figure> + Sync);

/// Runs the contenders in turns, every other round backwards, and answers with the median of each.
pub async fn in_turns<'f, const N: usize>(rounds: usize, contenders: [Contender<'_, 'f>; N]) -> [Figure; N] {
    let mut figures = [const { Vec::new() }; N];
    for round in 0..rounds {
        for turn in 0..N {
            let contender = if round % 2 == 0 { turn } else { N - 1 - turn };
            figures[contender].push(contenders[contender]().await);
            tokio::time::sleep(SETTLE).await;
        }
    }
    figures.map(|figures| median(&figures))
}

/// The median of each value by itself.
pub fn median(figures: &[Figure]) -> Figure {
    Figure {
        rate: middle(figures, |one, other| one.rate.total_cmp(&other.rate)).rate,
        p50: middle(figures, |one, other| one.p50.cmp(&other.p50)).p50,
        p99: middle(figures, |one, other| one.p99.cmp(&other.p99)).p99,
    }
}

fn middle(figures: &[Figure], order: fn(&Figure, &Figure) -> std::cmp::Ordering) -> Figure {
    let mut sorted = figures.to_vec();
    sorted.sort_by(order);
    sorted[sorted.len() / 2]
}

/// The latency below which the share `part` of all lies.
fn percentile(latencies: &mut [Duration], part: f64) -> Duration {
    latencies.sort_unstable();
    let index = (latencies.len() as f64 * part) as usize;
    let index = index.min(latencies.len().saturating_sub(1));
    latencies.get(index).copied().unwrap_or_default()
}
