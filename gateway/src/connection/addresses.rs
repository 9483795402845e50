//! How much of the gateway one client's address may take.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aguacero::config::{AddressField, Gateway};
use hyper::header::{FORWARDED, HeaderMap, HeaderName};
use ipnet::IpNet;

/// As most proxies tell it.
static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The places of all workers.
pub(crate) struct Addresses {
    max: usize,
    proxies: Vec<IpNet>,
    field: AddressField,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place that is taken, until it is dropped.
pub(crate) struct Place {
    all: Arc<Addresses>,
    address: IpAddr,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A client.
    Client(IpAddr),
    /// A proxy: each of its requests is somebody's.
    Proxy(IpAddr),
}

impl Addresses {
    pub(crate) fn new(gateway: &Gateway) -> Self {
        Self {
            max: gateway.connections_per_address_max,
            proxies: gateway.proxies.clone(),
            field: gateway.proxies_field,
            taken: Mutex::default(),
        }
    }

    /// Who a connection from `address` is with.
    pub(crate) fn peer(&self, address: IpAddr) -> Peer {
        let address = address.to_canonical();
        match self.is_proxy(address) {
            true => Peer::Proxy(address),
            false => Peer::Client(address),
        }
    }

    /// A place for `address`, unless it has as many as it may.
    pub(crate) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = client(address);
        let mut taken = self.taken();
        let places = taken.entry(address).or_default();
        if *places >= self.max {
            return None;
        }
        *places += 1;
        Some(Place {
            all: Arc::clone(self),
            address,
        })
    }

    /// Places of one address.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Whose request `proxy` hands on: the last of the addresses in the header that is not itself that of a
    /// proxy. What stands before that one is the client's own word.
    pub(crate) fn behind(&self, proxy: IpAddr, headers: &HeaderMap) -> IpAddr {
        let name = match self.field {
            AddressField::XForwardedFor => &X_FORWARDED_FOR,
            AddressField::Forwarded => &FORWARDED,
        };
        let mut nearest = proxy;
        let values = headers.get_all(name).into_iter().rev();
        for value in values {
            for element in value.as_bytes().rsplit(|byte| *byte == b',') {
                let element = std::str::from_utf8(element).unwrap_or_default();
                let address = match self.field {
                    AddressField::XForwardedFor => node(element.trim()),
                    AddressField::Forwarded => of_element(element),
                };
                let Some(address) = address else {
                    return nearest; // it does not say: the proxy answers for it
                };
                nearest = address;
                if !self.is_proxy(address) {
                    return nearest;
                }
            }
        }
        nearest
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies
            .iter()
            .any(|network| network.contains(&address))
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.all.taken();
        if let Some(places) = taken.get_mut(&self.address) {
            *places -= 1;
            if *places == 0 {
                taken.remove(&self.address);
            }
        }
    }
}

/// What counts as one client: an address, or the network of 64 bits that one customer of IPv6 is given.
pub(crate) fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let bits = u128::from(address) >> 64 << 64;
            Ipv6Addr::from(bits).into()
        }
        v4 => v4,
    }
}

/// The `for` of an element of `Forwarded` (RFC 7239, section 4).
fn of_element(element: &str) -> Option<IpAddr> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        name.eq_ignore_ascii_case("for")
            .then(|| node(value.trim_matches('"')))?
    })
}

/// An address with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`, `2001:db8::1`. None for a name.
fn node(text: &str) -> Option<IpAddr> {
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => match text.split_once(':') {
            Some((v4, port)) if !port.contains(':') => v4,
            _ => text,
        },
    };
    address.parse::<IpAddr>().ok().map(|a| a.to_canonical())
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn addresses(max: usize, field: AddressField) -> Arc<Addresses> {
        let network = |text: &str| text.parse().unwrap();
        Arc::new(Addresses {
            max,
            proxies: ["10.0.0.0/8", "fd00::/8"].map(network).into(),
            field,
            taken: Mutex::default(),
        })
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let all = addresses(2, AddressField::XForwardedFor);
        let places = [ip("1.2.3.4"), ip("::ffff:1.2.3.4")].map(|a| all.take(a));
        assert!(places.iter().all(Option::is_some));
        assert!(all.take(ip("1.2.3.4")).is_none());
        assert!(all.take(ip("1.2.3.5")).is_some(), "somebody else");
        drop(places);
        assert!(all.take(ip("1.2.3.4")).is_some());
        assert!(all.taken().is_empty(), "nothing is kept of those who left");
    }

    #[test]
    fn a_network_of_64_bits_is_one_client() {
        let all = addresses(1, AddressField::XForwardedFor);
        let _place = all.take(ip("2001:db8:1:2::1"));
        assert!(all.take(ip("2001:db8:1:2:ffff::9")).is_none());
        assert!(all.take(ip("2001:db8:1:3::1")).is_some());
    }

    #[test]
    fn only_the_word_of_a_proxy_is_taken_for_who_is_behind_it() {
        for (field, name, cases) in [
            (
                AddressField::XForwardedFor,
                &X_FORWARDED_FOR,
                &[
                    (&["1.2.3.4"][..], "1.2.3.4"),
                    (&["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
                    (&["6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
                    (&["6.6.6.6", "1.2.3.4:80, 10.0.0.2"], "1.2.3.4"),
                    (&["1.2.3.4, who, 10.0.0.2"], "10.0.0.2"),
                    (&["10.0.0.3,10.0.0.2"], "10.0.0.3"),
                    (&["[2001:db8::1]:80"], "2001:db8::1"),
                    (&["2001:db8::1, fd00::1"], "2001:db8::1"),
                    (&["6.6.6.6, "], "10.0.0.1"),
                    (&["6.6.6.6, \u{e9}"], "10.0.0.1"),
                    (&["\u{e9}, 1.2.3.4"], "1.2.3.4"),
                    (&[], "10.0.0.1"),
                ][..],
            ),
            (
                AddressField::Forwarded,
                &FORWARDED,
                &[
                    (&["for=1.2.3.4"], "1.2.3.4"),
                    (
                        &["for=6.6.6.6, proto=http;For=\"1.2.3.4:80\";by=x"],
                        "1.2.3.4",
                    ),
                    (&["for=\"[2001:db8::1]:80\", for=10.0.0.2"], "2001:db8::1"),
                    (&["for=\"6.6.6.6, for=1.2.3.4"], "1.2.3.4"),
                    (&["for=6.6.6.6, for=_hidden"], "10.0.0.1"),
                    (&["for=6.6.6.6, by=1.2.3.4"], "10.0.0.1"),
                ],
            ),
        ] {
            let all = addresses(1, field);
            for (values, client) in cases {
                let mut headers = HeaderMap::new();
                // What is not of the configured field is the client's own word.
                headers.insert(&X_FORWARDED_FOR, HeaderValue::from_static("7.7.7.7"));
                headers.insert(&FORWARDED, HeaderValue::from_static("for=7.7.7.7"));
                headers.remove(name);
                for value in *values {
                    headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
                }
                assert_eq!(
                    all.behind(ip("10.0.0.1"), &headers),
                    ip(client),
                    "{values:?}"
                );
            }
            assert_eq!(all.peer(ip("1.2.3.4")), Peer::Client(ip("1.2.3.4")));
            assert_eq!(all.peer(ip("::ffff:10.9.9.9")), Peer::Proxy(ip("10.9.9.9")));
        }
    }
}
