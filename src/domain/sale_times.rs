//! The begin and end of an event's sale: how its times relate, and the effect of changing them.

/// The times of an event that determine its sale, Unix ms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaleTimes {
    /// When the event starts.
    pub starts_at_ms: Option<i64>,
    /// When holds begin; `None`: at once.
    pub on_sale_at_ms: Option<i64>,
    /// When holds end; `None`: never.
    pub off_sale_at_ms: Option<i64>,
}

impl SaleTimes {
    /// The times of a new event: a sale without an end ends when the event starts.
    pub fn of_new(self) -> Self {
        SaleTimes { off_sale_at_ms: self.off_sale_at_ms.or(self.starts_at_ms), ..self }
    }

    /// Checks that the sale begins before it ends, and not after the event starts.
    ///
    /// # Errors
    /// The fault, and how to correct it.
    pub fn check(&self) -> Result<(), String> {
        let Some(begins_ms) = self.on_sale_at_ms else { return Ok(()) };
        if self.starts_at_ms.is_some_and(|starts_ms| starts_ms < begins_ms) {
            return Err(
                "`starts_at` is before `on_sale_at`: give a later `starts_at`, or an earlier \
                        `on_sale_at`"
                    .to_owned(),
            );
        }
        if self.off_sale_at_ms.is_some_and(|ends_ms| ends_ms <= begins_ms) {
            return Err("`off_sale_at`, or `starts_at` where it is not given, must be after \
                        `on_sale_at`: the sale would end before it begins"
                .to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(starts: Option<i64>, on_sale: Option<i64>, off_sale: Option<i64>) -> SaleTimes {
        SaleTimes { starts_at_ms: starts, on_sale_at_ms: on_sale, off_sale_at_ms: off_sale }
    }

    #[test]
    fn sale_ends_at_the_start_unless_another_end_is_given() {
        assert_eq!(times(Some(9), None, None).of_new().off_sale_at_ms, Some(9));
        assert_eq!(times(Some(9), None, Some(12)).of_new().off_sale_at_ms, Some(12));
        assert_eq!(times(None, Some(3), None).of_new().off_sale_at_ms, None);
    }

    #[test]
    fn order_of_times_is_checked() {
        for (times, expected) in [
            (times(None, None, None), Ok(())),
            (times(Some(9), Some(3), Some(9)), Ok(())),
            (times(Some(9), Some(9), Some(12)), Ok(())),
            (times(Some(9), None, Some(1)), Ok(())),
            (times(Some(2), Some(3), Some(12)), Err("`starts_at` is before")),
            (times(Some(9), Some(9), Some(9)), Err("must be after")),
            (times(None, Some(3), Some(3)), Err("must be after")),
        ] {
            let checked = times.check();
            match expected {
                Ok(()) => assert_eq!(checked, Ok(()), "{times:?}"),
                Err(text) => assert!(checked.unwrap_err().contains(text), "{times:?}"),
            }
        }
    }
}
