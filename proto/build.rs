//! Compiles the `.proto` files without a `protoc` on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let descriptors = protox::compile(["aguacero/produce.proto", "aguacero/deltas.proto"], ["."])?;
    println!("cargo:rerun-if-changed=aguacero");
    let transport = std::env::var_os("CARGO_FEATURE_TRANSPORT").is_some();
    tonic_prost_build::configure()
        .build_client(transport)
        .build_server(transport)
        .bytes(".") // a slab's values stay in the receive buffer until librdkafka takes them
        .compile_fds(descriptors)?;
    Ok(())
}
