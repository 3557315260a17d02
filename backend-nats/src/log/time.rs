//! The times that servers write: RFC 3339, in UTC.

/// Milliseconds since 1970 of `2006-01-02T15:04:05.999999999Z`.
pub(super) fn parse(text: &str) -> Option<u64> {
    let text = text.strip_suffix('Z')?;
    let (date, time) = text.split_once('T')?;
    let mut date = date.split('-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let (time, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut time = time.split(':').map(str::parse::<i64>);
    let (hour, minute, second) = (time.next()?.ok()?, time.next()?.ok()?, time.next()?.ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..10_000).contains(&year) {
        return None;
    }
    // Days from civil: March is the first month of a year, so that a leap day is its last day.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let mut millis = 0;
    for digit in digits {
        millis = millis * 10 + i64::from(char::from(digit).to_digit(10)?);
    }
    u64::try_from(seconds * 1000 + millis).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(parse("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse("2024-02-29T23:59:59.5Z"), Some(1_709_251_199_500));
        assert_eq!(parse("2022-10-06T19:40:56.123456789Z"), Some(1_665_085_256_123));
        for text in
            ["", "2022", "2022-10-06", "2022-13-06T00:00:00Z", "2022-10-06T19:40Z", "2022-10-06T1:1:1.xZ"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
