//! Patience with a connection: much between two requests, little once the head of one has begun.
//!
//! The HTTP library knows one time for both and asks its timer for it whenever it begins to wait for a head. So the
//! timer is told here when the first byte has come, and ends earlier.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// How long a client may take to send the head of a request; also of the first, counted from the connection on.
const HEAD: Duration = Duration::from_secs(15);
/// How long a connection may idle between requests: longer than load balancers keep one, or they would send a request
/// just when it is closed.
pub const IDLE: Duration = Duration::from_secs(75);

/// The timer of one connection.
#[derive(Debug, Clone, Default)]
pub struct HeadPatience {
    /// Whether any byte has come since the wait for a head began.
    begun: Arc<AtomicBool>,
    /// Whether this is not the first wait.
    again: Arc<AtomicBool>,
}

impl HeadPatience {
    /// A byte has come.
    pub fn byte(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }
}

impl Timer for HeadPatience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.begun.store(false, Ordering::Relaxed);
        let first = !self.again.swap(true, Ordering::Relaxed);
        let deadline = if first { deadline.min(Instant::now() + HEAD) } else { deadline };
        let sleep = Box::pin(tokio::time::sleep_until(deadline.into()));
        Box::pin(HeadSleep { sleep, begun: self.begun.clone(), hurried: first })
    }
}

struct HeadSleep {
    sleep: Pin<Box<tokio::time::Sleep>>,
    begun: Arc<AtomicBool>,
    hurried: bool,
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.hurried && self.begun.load(Ordering::Relaxed) {
            self.hurried = true;
            let deadline = self.sleep.deadline().min((Instant::now() + HEAD).into());
            self.sleep.as_mut().reset(deadline);
        }
        self.sleep.as_mut().poll(context)
    }
}
