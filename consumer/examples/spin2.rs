use aguacero::{config::Kafka, kafka::Topics};
use std::time::{Duration, Instant};
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split(' ').collect();
    f[12].parse::<f64>().unwrap() + f[13].parse::<f64>().unwrap()
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let kafka = Kafka {
        brokers: a[1].clone(),
        message_timeout: Duration::from_secs(5),
    };
    let topics = Topics::new(&kafka, "spin").unwrap();
    for _ in 0..3 {
        println!("{:?}", topics.describe(&["m7"]).is_ok());
        std::thread::sleep(Duration::from_secs(1));
    }
    std::process::Command::new("kill")
        .args(["-9", &a[3]])
        .status()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let t = cpu();
    std::thread::sleep(Duration::from_secs(5));
    println!("idle: {} ticks in 5 s", cpu() - t);
    let t = cpu();
    let s = Instant::now();
    if a[2] == "d" {
        println!("{:?}", topics.describe(&["m7"]));
    } else {
        println!("{:?}", topics.offsets("m7", 0));
    }
    println!("{}: {} ticks in {:?}", a[2], cpu() - t, s.elapsed());
    std::process::exit(0);
}
