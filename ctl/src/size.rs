//! Numbers of bytes for people.

/// Units above the byte, each a thousand of the one before.
const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];

/// `512 B`, `3.4 MB`: rounded to a tenth of the unit, in decimal units as disks have them.
pub(crate) fn bytes(count: u64) -> String {
    if count < 1000 {
        return format!("{count} B");
    }
    let count = u128::from(count);
    let (mut unit, mut shown) = (1, String::new());
    for name in UNITS {
        unit *= 1000;
        let tenths = (count * 10 + unit / 2) / unit;
        shown = format!("{}.{} {name}", tenths / 10, tenths % 10);
        if tenths < 10_000 {
            break;
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_and_never_a_thousand_of_a_unit() {
        let table = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (3_449_999, "3.4 MB"),
            (3_450_000, "3.5 MB"),
            (999_949, "999.9 kB"),
            (999_950, "1.0 MB"),
            (2_000_000_000, "2.0 GB"),
            (u64::MAX, "18.4 EB"),
        ];
        for (count, shown) in table {
            assert_eq!(bytes(count), shown);
        }
    }
}
