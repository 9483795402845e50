use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer},
    producer::BaseProducer,
};
use std::time::Duration;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split(' ').collect();
    f[12].parse::<f64>().unwrap() + f[13].parse::<f64>().unwrap()
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut c = ClientConfig::new();
    c.set("bootstrap.servers", &a[1]);
    for kv in &a[4..] {
        let (k, v) = kv.split_once('=').unwrap();
        c.set(k, v);
    }
    let mut p: Option<BaseProducer> = None;
    let mut k: Option<BaseConsumer> = None;
    if a[2] == "p" {
        p = Some(c.create().unwrap());
    } else {
        let x: BaseConsumer = c.set("group.id", "spin").create().unwrap();
        x.subscribe(&["m7"]).unwrap();
        k = Some(x);
    }
    let mut poll = |n| {
        for _ in 0..n {
            if let Some(p) = &p {
                p.poll(Duration::from_millis(100));
            }
            if let Some(k) = &k {
                k.poll(Duration::from_millis(100));
            }
        }
    };
    poll(40);
    std::process::Command::new("kill")
        .args(["-9", &a[3]])
        .status()
        .unwrap();
    poll(20);
    let t = cpu();
    poll(50);
    println!("{:?}: {} ticks in 5 s", &a[2..], cpu() - t);
    std::process::exit(0);
}
