//! Sequences in which the model and a script once differed, as the model test printed them or
//! made shorter by hand.

use holdfast::domain::{EventStatus, OrphanRule};
use holdfast::redis::scripts::{ClockSource, Scripts};

use super::operations::{
    Act, Act::*, Hall, InTime, Key, Known, Look, Manner, Op, Op::*, Place, Room, Sequence, Setting,
    Step::*, Window,
};
use super::stage::Stage;
use crate::on_each_redis;
use crate::support::Flavor;

const PLAIN: Manner = Manner { in_time: InTime::Plenty, generation: Known::Right };

fn update_to(status: EventStatus) -> Act {
    Update { revision: Known::Right, status, on_sale_in_s: -1, off_sale_in_s: -1 }
}

async fn agrees(flavor: Flavor, sequence: Sequence) {
    let stage = Stage::new(flavor, Scripts::embedded(ClockSource::Swapped)).await;
    if let Err(difference) = stage.run(&sequence).await {
        panic!("{difference}");
    }
}

// The opener's status stood in the log, not the one that Redis had been loaded with.
on_each_redis!(an_opened_event_has_its_loads_status, async |flavor| {
    let setting = Setting {
        hall: Hall::Small,
        users: 3,
        per_user: 2,
        max_hold_s: 150,
        orphan_rule: OrphanRule::Off,
    };
    let ops = vec![
        Do(update_to(EventStatus::Paused), PLAIN),
        Lose,
        Do(Load { generation: Known::Right }, PLAIN),
        Do(Open { own_token: true }, PLAIN),
    ];
    agrees(flavor, Sequence { setting, ops }).await;
});

// Overdue holds that a search's second call releases lie where its first call had looked.
on_each_redis!(a_search_goes_back_for_what_came_free_behind_it, async |flavor| {
    let setting = Setting {
        hall: Hall::Wide,
        users: 60,
        per_user: 12,
        max_hold_s: 150,
        orphan_rule: OrphanRule::Off,
    };
    let hold = |user: u8, seats: Vec<u8>| {
        let (key, layout) = (Key::Fresh, Known::Right);
        let (window, room) = (Window::Always, Room::Plenty);
        Do(Hold { user, seats, free: false, key, layout, window, room, exempt: false }, PLAIN)
    };
    // Seat n is number n - 1. The sixteen oldest holds are no two neighbours.
    let apart = [1, 3, 5, 7, 9, 11, 13, 15, 17, 18, 20, 22, 24, 26, 28, 29];
    let between = [2, 4, 6, 8, 10, 12, 14, 16, 19, 21, 23, 25, 27];
    let mut ops: Vec<Op> = Vec::new();
    for seat in apart {
        ops.push(hold(seat, vec![seat - 1]));
    }
    ops.push(Pass(Ms(1)));
    for seat in between {
        ops.push(hold(seat, vec![seat - 1]));
    }
    ops.push(Pass(Seconds(30)));
    ops.push(hold(58, (29..40).collect()));
    ops.push(hold(59, (40..48).collect()));
    ops.push(Pass(Seconds(30)));
    let (key, look) = (Key::Fresh, Look::Little(28, 3));
    let place = Place::Anywhere;
    ops.push(Do(
        Search { user: 0, quantity: 2, place, together: true, key, look, exempt: false },
        PLAIN,
    ));
    agrees(flavor, Sequence { setting, ops }).await;
});
