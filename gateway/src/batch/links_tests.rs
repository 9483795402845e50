//! Two producers, of which one is not there.

use std::path::Path;

use aguacero::shutdown::Shutdown;
use tokio::{sync::mpsc, time::timeout};

use super::*;
use crate::batch::{
    append::Refused,
    link::tests::{PATIENCE, append, serve},
    verdict::Outcome,
};

/// A stream with a route by each of `vias`.
fn config(folder: &Path, vias: &[&str], gateway: &str) -> Arc<Config> {
    let mut toml = "[topics.t]\npartitions = 1\n[streams.s]\ntopic = \"t\"\n".to_owned();
    for (n, via) in vias.iter().enumerate() {
        toml += &format!("[[streams.s.routes]]\npath = \"/{n}\"\nvia = \"{via}\"\n");
    }
    for producer in ["kafka", "wasm"] {
        let socket = folder.join(producer).display().to_string();
        toml += &format!("[{producer}_producer]\nsocket = \"{socket}\"\n");
    }
    toml += &format!("[kafka]\nmessage_timeout_ms = 1000\n[gateway]\n{gateway}\n");
    Arc::new(Config::parse(&toml, "test", []).unwrap_or_else(|e| panic!("{e}")))
}

fn links(config: &Arc<Config>, budget: usize) -> Links {
    Links::new(config, &Budget::new(budget), &Rc::new(Live::new(config)))
}

#[test]
fn there_is_a_link_to_each_producer_that_a_route_takes_and_to_no_other() {
    let here = Path::new("/tmp");
    let only = links(&config(here, &["wasm", "wasm"], ""), 1);
    assert_eq!(only.all().len(), 1);
    assert!(std::ptr::eq(only.of(Via::Wasm), &*only.all()[0]));
    let only = links(&config(here, &["grpc"], ""), 1);
    assert_eq!(only.all().len(), 1);
    assert!(std::ptr::eq(only.of(Via::Grpc), &*only.all()[0]));
    let both = links(&config(here, &["wasm", "grpc"], ""), 1);
    assert_eq!(both.all().len(), 2);
    assert!(!std::ptr::eq(both.of(Via::Grpc), both.of(Via::Wasm)));
}

#[test]
fn what_may_be_on_the_way_is_shared_by_all_links() {
    let config = config(Path::new("/tmp"), &["grpc", "wasm"], "");
    let links = links(&config, 100);
    let taken = append(links.of(Via::Grpc), &config, "{}");
    assert!(taken.is_ok());
    let refused = append(links.of(Via::Wasm), &config, "{}");
    assert_eq!(refused.err(), Some(Refused::Full));
    // Of a partition, each lane has its part.
    let of_both = links.of(Via::Wasm).lane().bounds.partition_bytes_max;
    let gateway = &config.gateway;
    let lanes = 2 * gateway.workers;
    assert!(of_both * lanes < gateway.partition_bytes_in_flight_max + lanes);
}

#[tokio::test]
async fn a_producer_that_is_away_stops_only_its_own_events_and_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = "ack_timeout_ms = 1500\npartition_slow_ms = 100\nworkers = 1";
    let config = config(folder.path(), &["grpc", "wasm"], gateway);
    let mut came = serve(config.socket_of(Via::Wasm), 0);
    let exchange = async {
        let links = links(&config, 1 << 20);
        let (welcomed, mut welcomes) = mpsc::channel(2);
        let (_trigger, shutdown) = Shutdown::new();
        for link in links.all() {
            let driving = Rc::clone(link).run(welcomed.clone(), shutdown.clone());
            tokio::task::spawn_local(driving);
        }
        let (kafka, wasm) = (links.of(Via::Grpc), links.of(Via::Wasm));
        let first = timeout(PATIENCE, welcomes.recv()).await.unwrap();
        assert_eq!(first, Some(Via::Wasm));

        // What has waited for it too long is certainly not stored; what is new is not taken.
        let lost = append(kafka, &config, "{\"by\":\"grpc\"}");
        if let Ok(lost) = lost {
            let verdict = timeout(PATIENCE, lost).await.unwrap().unwrap();
            assert_eq!(verdict.outcome, Outcome::NotStored);
        }
        assert_eq!(append(kafka, &config, "{}").err(), Some(Refused::Away));
        let stored = append(wasm, &config, "{\"by\":\"wasm\"}").unwrap();
        let verdict = timeout(PATIENCE, stored).await.unwrap().unwrap();
        assert_eq!(verdict.outcome, Outcome::Stored);
        assert!(timeout(PATIENCE, came.recv()).await.unwrap().is_some());

        let _came = serve(config.socket_of(Via::Grpc), 0);
        let second = timeout(PATIENCE, welcomes.recv()).await.unwrap();
        assert_eq!(second, Some(Via::Grpc));
        for link in [kafka, wasm] {
            let stored = append(link, &config, "{}").unwrap();
            let verdict = timeout(PATIENCE, stored).await.unwrap().unwrap();
            assert_eq!(verdict.outcome, Outcome::Stored);
        }
        assert!(links.all().iter().all(|link| link.lane().is_empty()));
    };
    tokio::task::LocalSet::new().run_until(exchange).await;
}
