//! Requests at a pace. Each begins when its time has come, whatever became of those before: a server that is slow is not asked less often, so that its
//! slowness is in the figures as often as its users meet it.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use super::Probe;
use super::visit::{Visit, visit};
use crate::look::{Outcome, look};

/// More at a time would be a load test.
const IN_FLIGHT_MAX: usize = 16;
/// When so many of the first requests had no answer at all and none had one, nothing more is to be learnt.
const HOPELESS: usize = 10;

/// A request, and what there was to see.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// What came.
    pub outcome: Outcome,
    /// From the request to the last byte.
    pub latency: std::time::Duration,
    /// From the request to the first byte.
    pub first_byte: Option<std::time::Duration>,
    /// What making a connection took, if one was made.
    pub setup: Option<super::Setup>,
}

/// All requests to a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// How many there should be.
    pub planned: usize,
    /// How many there were.
    pub attempts: Vec<Attempt>,
}

pub(super) async fn run(probe: &Probe<'_>, planned: usize, end: Instant) -> Series {
    let began = Instant::now();
    let mut running = FuturesUnordered::new();
    let (mut attempts, mut sent) = (Vec::<Attempt>::new(), 0_u32);
    loop {
        let next = began + probe.target.pace * sent;
        let is_hopeless = attempts.len() >= HOPELESS && attempts.iter().all(|attempt| matches!(attempt.outcome, Outcome::Unanswered(_)));
        let is_more = (sent as usize) < planned && next < end && !is_hopeless;
        if !is_more && running.is_empty() {
            return Series { planned, attempts };
        }
        tokio::select! {
            biased;
            Some(visit) = running.next(), if !running.is_empty() => attempts.push(attempt(probe, visit)),
            () = sleep_until(next), if is_more && running.len() < IN_FLIGHT_MAX => {
                let deadline = (Instant::now() + probe.target.timeout).min(end);
                running.push(visit(probe, sent as usize, deadline));
                sent += 1;
            }
        }
    }
}

fn attempt(probe: &Probe<'_>, visit: Visit) -> Attempt {
    let Visit { result, latency, first_byte, setup } = visit;
    Attempt { outcome: look(probe.target, &probe.quote, result), latency, first_byte, setup }
}
