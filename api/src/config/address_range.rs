//! A range of network addresses.

use std::net::IpAddr;
use std::str::FromStr;

/// The addresses that share their first bits with a given one, as in `10.0.0.0/8`. An address alone is a range of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    prefix: u32,
}

/// What was to be an address range is none.
#[derive(Debug, thiserror::Error)]
#[error("no address range")]
pub struct NoAddressRange;

impl AddressRange {
    /// Whether an address lies in the range. An IPv4 address written as IPv6 counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                same_start(u128::from(range.to_bits()), u128::from(address.to_bits()), 32 - self.prefix)
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                same_start(range.to_bits(), address.to_bits(), 128 - self.prefix)
            }
            _ => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = NoAddressRange;

    fn from_str(text: &str) -> Result<Self, NoAddressRange> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NoAddressRange)?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), str::parse).map_err(|_| NoAddressRange)?;
        if prefix > bits { Err(NoAddressRange) } else { Ok(Self { address, prefix }) }
    }
}

/// Whether two numbers are the same but for their last `free` bits.
fn same_start(one: u128, other: u128, free: u32) -> bool {
    (one ^ other).checked_shr(free).unwrap_or(0) == 0
}
