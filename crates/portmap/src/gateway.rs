//! Which router is this machine's way out, and by which of its addresses.

use std::fs;
use std::io;
use std::net::Ipv4Addr;

/// The routes of IPv4 as the kernel tells them (proc_pid_net(5)).
const ROUTES: &str = "/proc/net/route";

/// Flags of a route: it is up, and leads to a gateway.
const UP_TO_GATEWAY: u16 = 0x1 | 0x2;

/// The gateway of the default route with the smallest metric.
pub(crate) fn default_gateway() -> io::Result<Option<Ipv4Addr>> {
    Ok(of_table(&fs::read_to_string(ROUTES)?))
}

fn of_table(table: &str) -> Option<Ipv4Addr> {
    let routes = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (destination, gateway) = (fields.next()?, fields.next()?);
        let flags = u16::from_str_radix(fields.next()?, 16).ok()?;
        let metric: u32 = fields.nth(2)?.parse().ok()?;
        let mask = fields.next()?;
        let is_default = destination == "00000000" && mask == "00000000";
        let leads_out = flags & UP_TO_GATEWAY == UP_TO_GATEWAY;
        // As the machine holds it: the bytes in the order of the network.
        let gateway = Ipv4Addr::from(u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes());
        (is_default && leads_out).then_some((metric, gateway))
    });
    routes.min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

    fn line(destination: &str, gateway: Ipv4Addr, flags: &str, metric: u32, mask: &str) -> String {
        let gateway = u32::from_ne_bytes(gateway.octets());
        format!("eth0\t{destination}\t{gateway:08X}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0")
    }

    #[test]
    fn the_default_route_with_the_smallest_metric_counts() {
        let router = |last| Ipv4Addr::new(192, 168, 1, last);
        let table = [
            HEADER.to_owned(),
            line("00000000", router(9), "0003", 600, "00000000"),
            line("0001A8C0", Ipv4Addr::UNSPECIFIED, "0001", 100, "00FFFFFF"),
            line("00000000", router(1), "0003", 100, "00000000"),
            line("00000000", router(7), "0001", 1, "00000000"),
            line("0000000A", router(8), "0003", 1, "000000FF"),
        ];

        assert_eq!(of_table(&table.join("\n")), Some(router(1)));
    }

    #[test]
    fn a_table_without_a_way_out_has_none() {
        for table in ["", HEADER, "a\nb c d e f g h i", "\n\u{0}\nx\t00000000\tzz\t0003"] {
            assert_eq!(of_table(table), None, "{table:?}");
        }
    }
}
