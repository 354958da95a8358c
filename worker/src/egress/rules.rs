//! The addresses that are no business of a handler, as data: IANA's special-purpose registries, and the
//! transition addresses that hide an IPv4 address inside an IPv6 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

struct V4(Ipv4Addr, u32, &'static str);
struct V6(Ipv6Addr, u32, &'static str);

/// Sources: IANA IPv4 special-purpose address registry; 224/4 and 240/4 from the address space registry.
const V4_DENIED: &[V4] = &[
    V4(Ipv4Addr::new(0, 0, 0, 0), 8, "unspecified, \"this network\" (RFC 1122)"),
    V4(Ipv4Addr::new(10, 0, 0, 0), 8, "a private network (RFC 1918)"),
    V4(Ipv4Addr::new(100, 64, 0, 0), 10, "shared between a provider and its customers (RFC 6598)"),
    V4(Ipv4Addr::new(127, 0, 0, 0), 8, "loopback, this very machine (RFC 1122)"),
    V4(Ipv4Addr::new(168, 63, 129, 16), 32, "a cloud's metadata service (Azure)"),
    V4(Ipv4Addr::new(169, 254, 0, 0), 16, "link-local, where clouds keep their metadata (RFC 3927)"),
    V4(Ipv4Addr::new(172, 16, 0, 0), 12, "a private network (RFC 1918)"),
    V4(Ipv4Addr::new(192, 0, 0, 0), 24, "reserved for protocols (RFC 6890)"),
    V4(Ipv4Addr::new(192, 0, 2, 0), 24, "for documentation (RFC 5737)"),
    V4(Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relays, deprecated (RFC 7526)"),
    V4(Ipv4Addr::new(192, 168, 0, 0), 16, "a private network (RFC 1918)"),
    V4(Ipv4Addr::new(198, 18, 0, 0), 15, "for benchmarks (RFC 2544)"),
    V4(Ipv4Addr::new(198, 51, 100, 0), 24, "for documentation (RFC 5737)"),
    V4(Ipv4Addr::new(203, 0, 113, 0), 24, "for documentation (RFC 5737)"),
    V4(Ipv4Addr::new(224, 0, 0, 0), 4, "multicast (RFC 5771)"),
    V4(Ipv4Addr::new(240, 0, 0, 0), 4, "reserved or broadcast (RFC 1112)"),
];

/// Inside 2000::/3, the only global unicast space; what lies outside it is denied as a whole.
const V6_DENIED: &[V6] = &[
    V6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32, "Teredo, a way into IPv4 (RFC 4380)"),
    V6(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23, "reserved for protocols and benchmarks (RFC 2928)"),
    V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32, "for documentation (RFC 3849)"),
    V6(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16, "6to4, a way into IPv4 (RFC 3056)"),
    V6(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20, "for documentation (RFC 9637)"),
];

/// Names for what lies outside 2000::/3; the last one fits everything.
const V6_OUTSIDE: &[V6] = &[
    V6(Ipv6Addr::UNSPECIFIED, 128, "unspecified (RFC 4291)"),
    V6(Ipv6Addr::LOCALHOST, 128, "loopback, this very machine (RFC 4291)"),
    V6(Ipv6Addr::UNSPECIFIED, 96, "IPv4-compatible, deprecated (RFC 4291)"),
    V6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48, "a local way into IPv4 (RFC 8215)"),
    V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64, "discarded (RFC 6666)"),
    V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7, "a private network (RFC 4193)"),
    V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10, "link-local (RFC 4291)"),
    V6(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10, "site-local, deprecated (RFC 3879)"),
    V6(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8, "multicast (RFC 4291)"),
    V6(Ipv6Addr::UNSPECIFIED, 0, "reserved (RFC 4291)"),
];

/// The prefix under which a network without IPv4 reaches IPv4 hosts; the rest is the IPv4 address (RFC 6052).
const NAT64: V6 = V6(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96, "");
const GLOBAL: V6 = V6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, "");

/// Why an address is denied by default, or `None` if it is a public one.
pub(super) fn denied(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => denied_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => denied_v4(v4),
            None => denied_v6(v6),
        },
    }
}

/// The address that is really connected to: IPv4 ones come out of their IPv6 forms.
pub(super) fn plain(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) if NAT64.fits(v6) => low_v4(v6).into(),
        other => other,
    }
}

fn denied_v4(address: Ipv4Addr) -> Option<&'static str> {
    V4_DENIED.iter().find(|rule| rule.fits(address)).map(|rule| rule.2)
}

fn denied_v6(address: Ipv6Addr) -> Option<&'static str> {
    if NAT64.fits(address) {
        return denied_v4(low_v4(address));
    }
    if !GLOBAL.fits(address) {
        return V6_OUTSIDE.iter().find(|rule| rule.fits(address)).map(|rule| rule.2);
    }
    // ISATAP keeps an IPv4 address in the last 32 bits of any prefix (RFC 5214).
    if matches!(address.segments()[4..6], [0 | 0x200, 0x5efe]) {
        return Some("ISATAP, a way into IPv4 (RFC 5214)");
    }
    V6_DENIED.iter().find(|rule| rule.fits(address)).map(|rule| rule.2)
}

fn low_v4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

impl V4 {
    fn fits(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.1).unwrap_or(0);
        address.to_bits() & mask == self.0.to_bits()
    }
}

impl V6 {
    fn fits(&self, address: Ipv6Addr) -> bool {
        let mask = u128::MAX.checked_shl(128 - self.1).unwrap_or(0);
        address.to_bits() & mask == self.0.to_bits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(address: &str) -> Option<&'static str> {
        denied(address.parse().unwrap())
    }

    #[test]
    fn the_first_and_last_address_of_every_rule_are_denied_and_their_neighbours_judged_alone() {
        for V4(base, bits, name) in V4_DENIED {
            let last = base.to_bits() | u32::MAX.checked_shr(*bits).unwrap_or(0);
            assert_eq!(denied_v4(*base), Some(*name));
            assert_eq!(denied_v4(last.into()), Some(*name));
        }
        for V6(base, bits, _) in V6_DENIED {
            let last = base.to_bits() | u128::MAX.checked_shr(*bits).unwrap_or(0);
            assert!(denied_v6(*base).is_some() && denied_v6(last.into()).is_some());
        }
    }

    #[test]
    fn special_addresses_are_denied() {
        for address in [
            "0.0.0.0",
            "100.100.100.200",
            "169.254.169.254",
            "172.31.255.255",
            "255.255.255.255",
            "239.1.1.1",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:192.168.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "2001:0:1::1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2606:4700::5efe:7f00:1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "4000::1",
            "5f00::1",
        ] {
            assert!(rule(address).is_some(), "{address}");
        }
    }

    #[test]
    fn public_addresses_are_open() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "64:ff9b::1.1.1.1",
            "2001:200::1",
            "2606:4700:4700::1111",
            "2a00:1450:4001::1",
        ] {
            assert_eq!(rule(address), None, "{address}");
        }
    }
}
