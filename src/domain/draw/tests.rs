//! Places are a permutation and equally likely. Seeds are fixed, so each statistic here is one
//! number; its bounds are those of a fair draw at 4 standard deviations to either side, which 1 in
//! 16,000 fair ones would miss.

use std::hint::black_box;
use std::time::Instant;

use super::*;

const DEVIATIONS_MAX: f64 = 4.0;
const JOINERS: u64 = 100_000;

fn draw(seed: u64, joiners: u64) -> Draw {
    let mut bytes = [0; SEED_BYTES];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    Draw::new(bytes, joiners)
}

/// Whether counts deviate from the expected value as chance makes them: neither more nor less.
/// Wilson and Hilferty's approximation of the distribution of chi-square.
fn assert_chance(what: &str, counts: &[u64], expected: f64, freedom: f64) {
    assert_chance_of(what, chi_square(counts, expected), freedom);
}

fn chi_square(counts: &[u64], expected: f64) -> f64 {
    assert!(expected >= 5.0, "too few for the approximation");
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

fn assert_chance_of(what: &str, chi_square: f64, freedom: f64) {
    let spread = 2.0 / (9.0 * freedom);
    let deviations = ((chi_square / freedom).cbrt() - (1.0 - spread)) / spread.sqrt();
    println!("{what}: chi-square {chi_square:.1}, {freedom} degrees, {deviations:+.2} deviations");
    assert!(deviations.abs() <= DEVIATIONS_MAX, "{what}: {deviations:+.2} deviations");
}

/// The rank of an order among all orders, 0 to n! - 1.
fn rank(order: &[u64]) -> usize {
    order.iter().enumerate().fold(0, |rank, (at, place)| {
        let smaller_behind = order[at + 1..].iter().filter(|later| *later < place).count();
        rank * (order.len() - at) + smaller_behind
    })
}

/// Small draws, by many seeds: each order is as frequent as any other.
fn assert_every_order(joiners: u64, seeds: u64) {
    let orders = (1..=joiners).product::<u64>() as usize;
    let mut counts = vec![0; orders];
    for seed in 0..seeds {
        let draw = draw(seed, joiners);
        let order: Vec<u64> = (1..=joiners).map(|number| draw.place(number)).collect();
        counts[rank(&order)] += 1;
    }
    let (expected, freedom) = (seeds as f64 / orders as f64, (orders - 1) as f64);
    assert_chance(&format!("orders of {joiners}"), &counts, expected, freedom);
}

fn assert_permutation(draw: &Draw) {
    let mut is_taken = vec![false; draw.joiners() as usize];
    for number in 1..=draw.joiners() {
        let place = draw.place(number);
        assert!((1..=draw.joiners()).contains(&place), "{number} is at {place}: {draw:?}");
        let taken = std::mem::replace(&mut is_taken[place as usize - 1], true);
        assert!(!taken, "{place} is assigned twice: {draw:?}");
        assert_eq!(draw.number(place), number, "{draw:?}");
    }
}

#[test]
fn places_are_a_permutation() {
    (1..=300).for_each(|joiners| assert_permutation(&draw(joiners, joiners)));
    for power in [9, 10, 12] {
        let joiners = 1_u64 << power;
        [joiners - 1, joiners, joiners + 1].iter().for_each(|n| assert_permutation(&draw(1, *n)));
    }
}

#[test]
fn number_outside_the_draw_is_its_own_place() {
    for joiners in [0, 1, 5, 4_096] {
        let draw = draw(1, joiners);
        for number in [0, joiners + 1, joiners + 2, u64::MAX] {
            assert_eq!((draw.place(number), draw.number(number)), (number, number));
        }
    }
}

#[test]
fn largest_numbers_of_joiners_work() {
    for joiners in [u64::from(u32::MAX), (1 << 62) + 1, u64::MAX] {
        let draw = draw(1, joiners);
        for number in [1, 2, joiners / 2, joiners] {
            let place = draw.place(number);
            assert!((1..=joiners).contains(&place) && draw.number(place) == number, "{joiners}");
        }
    }
}

#[test]
fn large_draw_is_a_uniform_permutation() {
    const GROUPS: usize = 100;
    let draw = draw(2_026, JOINERS);
    let group_of = |value: u64| ((value - 1) * GROUPS as u64 / JOINERS) as usize;
    let mut is_taken = vec![false; JOINERS as usize];
    let mut moved = vec![0; GROUPS * GROUPS];
    let mut steps = vec![0; GROUPS];
    let mut rises = 0_u64;
    let mut before = draw.place(JOINERS);
    for number in 1..=JOINERS {
        let place = draw.place(number);
        assert!(!std::mem::replace(&mut is_taken[place as usize - 1], true), "twice: {place}");
        moved[group_of(number) * GROUPS + group_of(place)] += 1;
        // The distance between the places of neighbours, around the circle; never 0.
        let step = (place + JOINERS - before) % JOINERS;
        steps[group_of(step)] += 1;
        rises += u64::from(place > before);
        before = place;
    }
    assert!(is_taken.into_iter().all(|taken| taken));
    // From each hundredth to each hundredth; rows and columns have their sums.
    let per_cell = JOINERS as f64 / (GROUPS * GROUPS) as f64;
    assert_chance("from group to group", &moved, per_cell, ((GROUPS - 1) as f64).powi(2));
    assert_chance("steps", &steps, JOINERS as f64 / GROUPS as f64, (GROUPS - 1) as f64);
    // Rises of a random order: a half, with a variance of a twelfth.
    let deviations = (rises as f64 - JOINERS as f64 / 2.0) / (JOINERS as f64 / 12.0).sqrt();
    assert!(deviations.abs() <= DEVIATIONS_MAX, "rises: {deviations:+.2} deviations");
}

#[test]
fn small_draws_have_every_order() {
    assert_every_order(2, 4_000);
    assert_every_order(3, 6_000);
    assert_every_order(4, 6_000);
    assert_every_order(5, 3_000);
}

/// Whether an order is an even permutation.
fn is_even(order: &[u64]) -> bool {
    let pairs = (0..order.len()).flat_map(|at| (0..at).map(move |before| (before, at)));
    pairs.filter(|(before, at)| order[*before] > order[*at]).count() % 2 == 0
}

#[test]
fn even_and_odd_orders_are_equally_likely() {
    // Without the swap: 1 in 12 more of one parity among 5, only one parity among 16.
    for (joiners, seeds) in [(5, 8_000), (15, 400), (16, 400), (64, 400)] {
        let mut counts = [0; 2];
        for seed in 0..seeds {
            let draw = draw(seed, joiners);
            let order: Vec<u64> = (1..=joiners).map(|number| draw.place(number)).collect();
            counts[usize::from(is_even(&order))] += 1;
        }
        assert_chance(&format!("even orders of {joiners}"), &counts, seeds as f64 / 2.0, 1.0);
    }
}

#[test]
fn every_number_gets_every_place_equally_often() {
    const SEEDS: u64 = 1_500;
    for joiners in [7_u64, 16, 17] {
        let mut counts = vec![0; (joiners * joiners) as usize];
        for seed in 0..SEEDS {
            let draw = draw(seed, joiners);
            for number in 1..=joiners {
                counts[((number - 1) * joiners + draw.place(number) - 1) as usize] += 1;
            }
        }
        let others = (joiners - 1) as f64;
        // A draw fills each row and each column once. So a count varies by 1 - 1/n of its
        // mean, n² of them are n(n-1) together, and (n-1)/n of that is chi-square of (n-1)².
        let sum = chi_square(&counts, SEEDS as f64 / joiners as f64) * others / joiners as f64;
        assert_chance_of(&format!("places of {joiners}"), sum, others.powi(2));
    }
}

#[test]
fn different_seed_gives_a_different_draw() {
    // The same number at the same place: one on average, by chance.
    let base = draw(0, JOINERS);
    for bit in [0, 7, 255] {
        let mut seed = base.seed;
        seed[bit / 8] ^= 1 << (bit % 8);
        let other = Draw::new(seed, JOINERS);
        let same = (1..=10_000).filter(|number| base.place(*number) == other.place(*number));
        assert!(same.count() <= 5, "bit {bit}");
    }
}

/// `cargo test --lib -- --ignored --nocapture draw::tests::long`: the figures of the decision page.
#[test]
#[ignore = "minutes; prints figures"]
fn long_every_order_of_small_draws() {
    for (joiners, seeds) in [(2, 1_000_000), (3, 1_000_000), (4, 1_000_000), (5, 500_000)] {
        assert_every_order(joiners, seeds);
    }
}

/// `cargo test --release --lib -- --ignored --nocapture place_cost`
#[test]
#[ignore = "prints a figure, judges nothing"]
fn place_cost() {
    for joiners in [JOINERS, 1_000_000] {
        let draw = draw(1, joiners);
        let began = Instant::now();
        for number in 1..=JOINERS {
            black_box(draw.place(black_box(number)));
        }
        let micros = began.elapsed().as_secs_f64() * 1e6 / JOINERS as f64;
        println!("a place among {joiners}: {micros:.1} µs");
    }
}
