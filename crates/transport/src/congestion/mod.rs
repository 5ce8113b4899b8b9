//! How much a connection may have under way.
//!
//! Loss says little about how fast a path is: at 1 % of random loss and 50 ms
//! of round trip a window that halves with each loss moves 0.4 MB/s over any
//! path. So the window follows what the path delivers, as BBR's does
//! (draft-ietf-ccwg-bbr): the highest rate of the last rounds times the
//! shortest round trip. What quinn has of that kind takes the shortest round
//! trip that there ever was; here a connection may go on by a longer path,
//! and QUIC does not hear of it, so the round trip is measured anew all the
//! time, each time that the own queue has been let run empty.

mod model;
#[cfg(test)]
mod tests;

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory};
use quinn_proto::RttEstimator;

use model::Model;

/// Makes controllers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ByDelivery;

impl ControllerFactory for ByDelivery {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Delivery(Model::new(now, current_mtu.into())))
    }
}

/// The controller of one connection.
#[derive(Debug, Clone)]
struct Delivery(Model);

impl Controller for Delivery {
    fn on_sent(&mut self, now: Instant, bytes: u64, _last_packet_number: u64) {
        self.0.sent(now, bytes);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        _rtt: &RttEstimator,
    ) {
        self.0.delivered(now, sent, bytes, app_limited);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        _largest_packet_num_acked: Option<u64>,
    ) {
        self.0.acknowledged(now, in_flight, app_limited);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        _sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.0.lost(lost_bytes);
        if is_persistent_congestion {
            // Nothing came through for long: what was known of the path is no more.
            self.0.begin_anew(now);
        }
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.set_mtu(new_mtu.into());
    }

    fn window(&self) -> u64 {
        self.0.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.0.first_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
