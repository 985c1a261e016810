//! How options relate, and how a run is shrunk.

use super::*;

/// Fewest buyers and seats of a shrunk run.
const BUYERS_MIN: u64 = 20;
const SEATS_MIN: u32 = 10;

impl RunOptions {
    /// How the options relate; says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.pay + self.cancel > 1.0 {
            return Err(format!(
                "--pay {} and --cancel {} are more than everybody",
                self.pay, self.cancel
            ));
        }
        if self.event.is_none() && self.settle_seconds <= self.hold_ttl_seconds {
            return Err(format!(
                "--settle-seconds {} ends before the last hold lapses: it must be above \
                 --hold-ttl-seconds {}",
                self.settle_seconds, self.hold_ttl_seconds
            ));
        }
        if self.one_seat && self.by == By::Quantity {
            return Err("--one-seat needs --by ids".to_owned());
        }
        if self.by == By::Ids && (self.section.is_some() || self.split) {
            return Err("--section and --split need --by quantity".to_owned());
        }
        match self
            .url
            .iter()
            .find(|url| !url.starts_with("http://") && !url.starts_with("https://"))
        {
            Some(url) => Err(format!("--url {url:?} must begin with http:// or https://")),
            None => Ok(()),
        }
    }

    /// Returns the spike's shape.
    pub fn spike_shape(&self) -> SpikeShape {
        SpikeShape { share: self.spike, span: self.spike_span, rate: self.rate }
    }

    /// Whether calls are kept in a file.
    pub fn keeps_history(&self) -> bool {
        self.history.as_os_str() != "none"
    }

    /// The options with `--scale` applied: fewer people and seats by it, lower rates and shorter
    /// spans by its root.
    #[must_use]
    pub fn scaled(mut self) -> Self {
        let (factor, root) = (self.scale, self.scale.sqrt());
        // NaN and infinity are refused as options.
        let people = |n: u64| n.min(((n as f64 * factor).round() as u64).max(BUYERS_MIN));
        let seats = |n: u32| n.min(((f64::from(n) * factor).round() as u32).max(SEATS_MIN));
        self.buyers = people(self.buyers);
        self.users = self.users.map(people);
        self.addresses = self.addresses.map(people);
        self.seats = seats(self.seats);
        self.rate *= root;
        self.spike_span = self.spike_span.times(root);
        self.arrivals = self.arrivals.at_rates_times(root);
        self.room.limit = self.room.limit.map(seats);
        self.quiet.seats = self.quiet.seats.map(seats);
        self.quiet.buyers = people(self.quiet.buyers);
        self.quiet.rate *= root;
        self.bots.number = ((self.bots.number as f64 * factor).ceil()) as u64;
        self.bots.addresses = ((self.bots.addresses as f64 * factor).ceil()) as u64;
        self.bots.span = self.bots.span.times(root);
        self.scale = 1.0;
        self
    }
}
