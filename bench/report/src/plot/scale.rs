//! Axes: where values lie, and which of them are labelled.

/// How values lie on the axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    Linear,
    Log,
}

/// A labelled place on an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tick {
    pub value: f64,
    /// From 0 at the beginning to 1 at the end.
    pub at: f64,
    /// Whether it may be left out where there is little room.
    pub is_minor: bool,
}

/// An axis from one value to another.
#[derive(Clone, Debug)]
pub struct Axis {
    scale: Scale,
    from: f64,
    to: f64,
    ticks: Vec<f64>,
}

/// Labels on the axis of values, about.
const VALUE_TICKS: f64 = 4.0;
/// Labels on the axis of time, about.
const TIME_TICKS: f64 = 8.0;
/// Steps that people count in on the axis of time, seconds.
const TIME_STEPS: [f64; 20] = [
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0,
    1_800.0, 3_600.0, 7_200.0, 14_400.0, 43_200.0,
];

impl Axis {
    /// Creates an axis that has room for values up to `most`. On a logarithmic one `least` is the
    /// smallest value above zero; smaller ones lie at its beginning.
    pub fn of_values(scale: Scale, least: f64, most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        match scale {
            Scale::Linear => linear(most),
            Scale::Log => logarithmic(least, most),
        }
    }

    /// Creates an axis of time.
    pub fn of_time(from: f64, to: f64) -> Self {
        let rough = (to - from) / TIME_TICKS;
        let step = TIME_STEPS.iter().copied().find(|step| *step >= rough).unwrap_or(nice(rough));
        let first = (from / step).ceil() as i64;
        let last = (to / step + 1e-9).floor() as i64;
        let ticks = (first..=last).map(|index| index as f64 * step).collect();
        Axis { scale: Scale::Linear, from, to, ticks }
    }

    /// Returns where a value lies: 0 at the beginning, 1 at the end, never beyond.
    pub fn at(&self, value: f64) -> f64 {
        let at = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
        };
        if at.is_finite() { at.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// Returns the labelled places.
    pub fn ticks(&self) -> Vec<Tick> {
        let tick = |(index, value): (usize, &f64)| Tick {
            value: *value,
            at: self.at(*value),
            is_minor: index % 2 == 1,
        };
        self.ticks.iter().enumerate().map(tick).collect()
    }

    /// Returns the last labelled value.
    pub fn last_tick(&self) -> f64 {
        self.ticks.last().copied().unwrap_or(self.to)
    }
}

fn linear(most: f64) -> Axis {
    let step = nice(most / VALUE_TICKS);
    let steps = (most / step - 1e-9).ceil().max(1.0);
    let ticks = (0..=steps as u32).map(|index| f64::from(index) * step).collect();
    Axis { scale: Scale::Linear, from: 0.0, to: steps * step, ticks }
}

fn logarithmic(least: f64, most: f64) -> Axis {
    let least = if least.is_finite() && least > 0.0 { least.min(most) } else { most };
    let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
    // Few decades have room for 2 and 5 between the powers of ten.
    let digits: &[f64] = if last - first <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let powers = (first - 1..=last + 1).map(|power| 10_f64.powi(power));
    let all: Vec<f64> =
        powers.flat_map(|power| digits.iter().map(move |digit| digit * power)).collect();
    let end = all.iter().position(|tick| *tick >= most * 0.999_999).unwrap_or(all.len() - 1);
    let begin = all.iter().rposition(|tick| *tick <= least * 1.000_001).unwrap_or(0);
    // Three labels at least, so that the scale can be seen.
    let begin = begin.min(end.saturating_sub(2));
    let ticks = all.get(begin..=end).unwrap_or(&all).to_vec();
    let (from, to) = (ticks[0], ticks[ticks.len() - 1]);
    Axis { scale: Scale::Log, from, to, ticks }
}

/// Returns 1, 2 or 5 times a power of ten, not below a value.
fn nice(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let digits = value / power;
    let digit = [1.0, 2.0, 5.0].into_iter().find(|digit| *digit >= digits - 1e-9).unwrap_or(10.0);
    digit * power
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(axis: &Axis) -> Vec<f64> {
        axis.ticks().iter().map(|tick| tick.value).collect()
    }

    #[test]
    fn linear_axis_begins_at_zero_and_has_room() {
        assert_eq!(
            values(&Axis::of_values(Scale::Linear, 1.0, 3_700.0)),
            [0.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0]
        );
        assert_eq!(values(&Axis::of_values(Scale::Linear, 10.0, 10.0)), [0.0, 5.0, 10.0]);
    }

    #[test]
    fn axes_without_values_have_a_length() {
        for scale in [Scale::Linear, Scale::Log] {
            for (least, most) in
                [(f64::INFINITY, 0.0), (f64::NAN, f64::NAN), (1.0, f64::INFINITY), (5.0, 5.0)]
            {
                let axis = Axis::of_values(scale, least, most);
                assert!(axis.to > axis.from, "{scale:?} {least} {most}");
                assert!(!axis.ticks().is_empty());
                assert!(axis.ticks().iter().all(|tick| tick.at.is_finite()));
            }
        }
    }

    #[test]
    fn logarithmic_axis_has_powers_of_ten() {
        let axis = Axis::of_values(Scale::Log, 0.4, 900.0);
        assert_eq!(values(&axis), [0.1, 1.0, 10.0, 100.0, 1_000.0]);
        assert!((axis.at(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(axis.at(0.0), 0.0);
        assert_eq!(axis.at(f64::NAN), 0.0);
    }

    #[test]
    fn narrow_logarithmic_axis_has_steps_between() {
        assert_eq!(values(&Axis::of_values(Scale::Log, 3.0, 40.0)), [2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn logarithmic_axis_of_one_value_has_three_labels() {
        assert_eq!(values(&Axis::of_values(Scale::Log, 300.0, 310.0)), [100.0, 200.0, 500.0]);
        assert_eq!(values(&Axis::of_values(Scale::Log, 1.0, 1.0)), [0.2, 0.5, 1.0]);
    }

    #[test]
    fn time_axis_counts_in_steps_of_clocks() {
        assert_eq!(values(&Axis::of_time(0.0, 61.0)), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(Axis::of_time(0.0, 3_600.0).last_tick(), 3_600.0);
        assert_eq!(values(&Axis::of_time(0.0, 1.0)).len(), 6);
    }
}
