//! Places on Earth.

/// Earth's mean radius.
const EARTH_METRES: f64 = 6_371_008.8;

/// A place, in degrees.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Latitude.
    pub lat: f64,
    /// Longitude.
    pub lon: f64,
}

impl Place {
    /// How far it is to another one, along the ground.
    #[must_use]
    pub fn metres_to(self, other: Self) -> f64 {
        let (lat, other_lat) = (self.lat.to_radians(), other.lat.to_radians());
        let (half_lat, half_lon) = (
            (other_lat - lat) / 2.0,
            (other.lon - self.lon).to_radians() / 2.0,
        );
        let a = half_lat.sin().powi(2) + lat.cos() * other_lat.cos() * half_lon.sin().powi(2);
        2.0 * EARTH_METRES * a.sqrt().min(1.0).asin()
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.5},{:.5}", self.lat, self.lon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metres_are_metres() {
        let moneda = Place {
            lat: -33.442_9,
            lon: -70.653_8,
        };
        let north = Place {
            lat: moneda.lat + 0.001,
            ..moneda
        };
        assert!((moneda.metres_to(north) - 111.2).abs() < 0.1);
        let east = Place {
            lon: moneda.lon + 0.001,
            ..moneda
        };
        assert!((moneda.metres_to(east) - 92.8).abs() < 0.1);
        assert_eq!(moneda.metres_to(moneda), 0.0);
        let across = Place {
            lat: -moneda.lat,
            lon: moneda.lon + 180.0,
        };
        assert!((moneda.metres_to(across) - 20_015_115.0).abs() < 10.0);
    }
}
