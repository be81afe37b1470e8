//! The clock, which tests may move on.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

/// Wall-clock time plus what was added.
pub(crate) struct Clock {
    wall_ms: Box<dyn Fn() -> i64 + Send + Sync>,
    ahead_ms: watch::Sender<i64>,
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("now_ms", &self.now_ms()).finish_non_exhaustive()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::over(system_ms)
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks")]
fn system_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl Clock {
    /// A clock that goes as another one does.
    pub(crate) fn over(wall_ms: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self { wall_ms: Box::new(wall_ms), ahead_ms: watch::Sender::default() }
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.wall_ms().saturating_add(*self.ahead_ms.borrow())
    }

    /// The clock that signatures are made by, whatever was added: a client does not move on with a test.
    pub(crate) fn wall_ms(&self) -> i64 {
        (self.wall_ms)()
    }

    /// Waits for a time, which may come early when time is moved on.
    pub(crate) async fn reach(&self, ms: i64) {
        let mut moves = self.moves();
        loop {
            moves.mark_unchanged();
            let Ok(left @ 1..) = u64::try_from(ms.saturating_sub(self.now_ms())) else { return };
            // The clock lives as long as the cloud does.
            let _moved = tokio::time::timeout(Duration::from_millis(left), moves.changed()).await;
        }
    }

    pub(crate) fn advance(&self, ms: i64) {
        self.ahead_ms.send_modify(|ahead| *ahead = ahead.saturating_add(ms));
    }

    /// Changes whenever time is moved on: who waits for a time has to look again.
    pub(crate) fn moves(&self) -> watch::Receiver<i64> {
        self.ahead_ms.subscribe()
    }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
pub(crate) fn iso(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(86_400_000));
    let rest = ms.rem_euclid(86_400_000);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", rest % 1000)
}

/// `Thu, 01 Jan 1970 00:00:00 GMT`, as the header Date has it.
pub(crate) fn http_date(ms: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, rest) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000) / 1000);
    let (year, month, day) = civil(days);
    let name = |names: &[&'static str], at: i64| usize::try_from(at).ok().and_then(|at| names.get(at).copied());
    let (weekday, month) = (name(&DAYS, days.rem_euclid(7)), name(&MONTHS, month - 1));
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!(
        "{}, {day:02} {} {year:04} {hour:02}:{minute:02}:{second:02} GMT",
        weekday.unwrap_or_default(),
        month.unwrap_or_default()
    )
}

/// `YYYYMMDDTHHMMSSZ` → milliseconds.
pub(crate) fn parse_basic(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    if text.len() != 16 || text.get(8..9) != Some("T") || !text.ends_with('Z') {
        return None;
    }
    let days = days(digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    Some((((days * 24 + digits(9, 11)?) * 60 + digits(11, 13)?) * 60 + digits(13, 15)?) * 1000)
}

/// Days since 1970-01-01, with years from March on.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year.rem_euclid(400);
    year.div_euclid(400) * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + day_of_year - 719_468
}

fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + shifted.div_euclid(146_097) * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        assert_eq!(iso(1_704_110_400_123), "2024-01-01T12:00:00.123Z");
        assert_eq!(parse_basic("20240101T120000Z"), Some(1_704_110_400_000));
        assert_eq!(http_date(1_704_110_400_123), "Mon, 01 Jan 2024 12:00:00 GMT");
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(parse_basic("2024-01-01T12:00"), None);
        for day in (-800_000..1_000_000).step_by(17) {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), day);
        }
    }
}
