//! Address ranges as operators write them: `10.0.0.0/8`, `fd00::/8`, or one address.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// A range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// Not an address.
    #[error("{0:?} is not an address; write 10.0.0.0/8, fd00::/8 or one address")]
    Address(String),
    /// Too many bits, or no number.
    #[error("{0:?} is not a number of bits that such an address has")]
    Bits(String),
    /// The address has bits beyond the range: probably a slip.
    #[error("the range starts in the middle; write {0}")]
    Middle(Range),
}

impl Range {
    /// The range of one address.
    pub fn only(address: IpAddr) -> Self {
        Self { first: address, bits: width(address) }
    }

    /// The address, if it is the only one.
    pub fn sole(&self) -> Option<IpAddr> {
        (self.bits == width(self.first)).then_some(self.first)
    }

    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        width(address) == width(self.first) && masked(address, self.bits) == number(self.first)
    }
}

/// Bits of such an address.
const fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The address as a number whose highest bits are the address's.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn masked(address: IpAddr, bits: u8) -> u128 {
    number(address) & u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0)
}

impl FromStr for Range {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let first: IpAddr = address.parse().map_err(|_| RangeError::Address(address.to_owned()))?;
        let Some(bits) = bits else { return Ok(Self::only(first)) };
        let wrong = || RangeError::Bits(bits.to_owned());
        let count: u8 = bits.parse().map_err(|_| wrong())?;
        if count > width(first) {
            return Err(wrong());
        }
        let base = masked(first, count);
        if base != number(first) {
            let start = match first {
                IpAddr::V4(_) => IpAddr::V4(u32::try_from(base >> 96).unwrap_or(0).into()),
                IpAddr::V6(_) => IpAddr::V6(base.into()),
            };
            return Err(RangeError::Middle(Self { first: start, bits: count }));
        }
        Ok(Self { first, bits: count })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(range: &str, address: &str) -> bool {
        range.parse::<Range>().unwrap().contains(address.parse().unwrap())
    }

    #[test]
    fn ranges_contain_what_they_say() {
        assert!(contains("10.0.0.0/8", "10.255.0.1"));
        assert!(!contains("10.0.0.0/8", "11.0.0.0"));
        assert!(contains("0.0.0.0/0", "1.2.3.4"));
        assert!(!contains("0.0.0.0/0", "::1"));
        assert!(contains("fd00::/8", "fdff::1"));
        assert!(contains("::/0", "fdff::1"));
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert_eq!("127.0.0.1".parse::<Range>().unwrap().to_string(), "127.0.0.1/32");
    }

    #[test]
    fn slips_are_refused() {
        for bad in ["", "10.0.0.0/33", "10.0.0.0/", "10.0/8", "fd00::/129", "x/8", "10.0.0.0/-1"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
        let error = "10.1.2.3/8".parse::<Range>().unwrap_err();
        assert!(error.to_string().ends_with("10.0.0.0/8"));
        assert!("fd00::1/64".parse::<Range>().unwrap_err().to_string().ends_with("fd00::/64"));
    }
}
