//! A module that traps: the built one, with its `submit` behind a function that counts the calls.

use anyhow::{Context as _, bail};

/// Bytes before the first section: magic and version.
const HEAD: usize = 8;
/// Numbers of sections.
const IMPORTS: u8 = 2;
const FUNCTIONS: u8 = 3;
const GLOBALS: u8 = 6;
const EXPORTS: u8 = 7;
const CODE: u8 = 10;
/// Kind of an export.
const FUNCTION: u8 = 0;
/// What is called instead.
const SUBMIT: &[u8] = b"submit";

/// `module`, whose export `submit` traps in each instance at the call with number `at` and at every one after it.
pub(crate) fn trapping(module: &[u8], at: u32) -> anyhow::Result<Vec<u8>> {
    let sections = sections(module)?;
    let of = |wanted: u8| {
        let found = sections.iter().find(|(id, _)| *id == wanted);
        found.map(|(_, bytes)| *bytes)
    };
    if of(IMPORTS).is_some_and(|imports| imports != [0]) {
        bail!("a module that imports something numbers its functions from there");
    }
    let exports = of(EXPORTS).context("it exports nothing")?;
    let (place, submit) = exported(exports)?;
    let functions = of(FUNCTIONS).context("it has no functions")?;
    let (count, mut types) = counted(functions)?;
    let mut kind = 0;
    for _ in 0..=submit {
        kind = number(&mut types)?;
    }
    let (global, _) = counted(of(GLOBALS).context("it has no globals")?)?;

    let mut out = module[..HEAD].to_vec();
    for (id, bytes) in &sections {
        let section = match *id {
            FUNCTIONS => appended(bytes, &unsigned(kind))?,
            // A variable of 32 bits, at first 0.
            GLOBALS => appended(bytes, &[0x7f, 0x01, 0x41, 0x00, 0x0b])?,
            EXPORTS => {
                let rest = &bytes[place..];
                let old = rest.len() - skipped(rest)?.len();
                [&bytes[..place], &unsigned(count), &rest[old..]].concat()
            }
            CODE => appended(bytes, &body(global, at, submit))?,
            _ => bytes.to_vec(),
        };
        out.push(*id);
        out.extend(unsigned(u32::try_from(section.len())?));
        out.extend(section);
    }
    Ok(out)
}

/// Counts in `global`; traps once it is `at`; otherwise hands its three parameters on to function `submit`.
fn body(global: u32, at: u32, submit: u32) -> Vec<u8> {
    let (global, submit) = (unsigned(global), unsigned(submit));
    let get = [&[0x23][..], &global].concat();
    let code = [
        &[0x00][..], // no locals
        &get,
        &[0x41, 0x01, 0x6a, 0x24], // + 1, set
        &global,
        &get,
        &[0x41],
        &signed(i64::from(at)),
        &[0x4f, 0x04, 0x40, 0x00, 0x0b],             // ≥: unreachable
        &[0x20, 0x00, 0x20, 0x01, 0x20, 0x02, 0x10], // call with all three
        &submit,
        &[0x0b],
    ]
    .concat();
    [unsigned(code.len() as u32), code].concat()
}

/// Number and content of each section.
fn sections(module: &[u8]) -> anyhow::Result<Vec<(u8, &[u8])>> {
    let mut rest = module
        .strip_prefix(b"\0asm\x01\0\0\0")
        .context("not a module of WebAssembly")?;
    let mut sections = Vec::new();
    while let Some((id, after)) = rest.split_first() {
        rest = after;
        let bytes = number(&mut rest)? as usize;
        sections.push((*id, taken(&mut rest, bytes)?));
    }
    Ok(sections)
}

/// Where the number of the function that is exported as [`SUBMIT`] stands in the section, and that number.
fn exported(section: &[u8]) -> anyhow::Result<(usize, u32)> {
    let (count, mut rest) = counted(section)?;
    for _ in 0..count {
        let bytes = number(&mut rest)? as usize;
        let name = taken(&mut rest, bytes)?;
        let kind = taken(&mut rest, 1)?[0];
        let place = section.len() - rest.len();
        let index = number(&mut rest)?;
        if name == SUBMIT && kind == FUNCTION {
            return Ok((place, index));
        }
    }
    bail!("it exports no submit")
}

/// A section of a list, with one entry more.
fn appended(section: &[u8], entry: &[u8]) -> anyhow::Result<Vec<u8>> {
    let (count, entries) = counted(section)?;
    Ok([&unsigned(count + 1), entries, entry].concat())
}

/// How many entries a list has, and the entries.
fn counted(section: &[u8]) -> anyhow::Result<(u32, &[u8])> {
    let mut rest = section;
    let count = number(&mut rest)?;
    Ok((count, rest))
}

fn skipped(bytes: &[u8]) -> anyhow::Result<&[u8]> {
    counted(bytes).map(|(_, rest)| rest)
}

fn taken<'a>(rest: &mut &'a [u8], bytes: usize) -> anyhow::Result<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(bytes).context("it ends early")?;
    *rest = after;
    Ok(taken)
}

/// Unsigned LEB128.
fn number(rest: &mut &[u8]) -> anyhow::Result<u32> {
    let mut value = 0_u64;
    for shift in (0..35).step_by(7) {
        let byte = taken(rest, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(u32::try_from(value)?);
        }
    }
    bail!("a number of more than 32 bits")
}

fn unsigned(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(byte);
            return bytes;
        }
        bytes.push(byte | 0x80);
    }
}

/// Signed LEB128, of what is not negative.
fn signed(value: i64) -> Vec<u8> {
    let mut bytes = unsigned(value as u32);
    if let Some(last) = bytes.last_mut()
        && *last & 0x40 != 0
    {
        *last |= 0x80;
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use wasmtime::{Engine, Instance, Module, Store, Trap};

    use super::*;

    /// `submit` adds its parameters up; other functions, globals and exports are around it.
    const TEXT: &str = r#"(module
        (memory (export "memory") 1)
        (global $stack (mut i32) (i32.const 65536))
        (global $sum (export "sum") (mut i64) (i64.const 0))
        (func (export "version") (result i32) (i32.const 1))
        (func (export "submit") (param i64 i32 i64)
            (global.set $sum (i64.add (global.get $sum)
                (i64.add (local.get 0) (i64.add (i64.extend_i32_u (local.get 1)) (local.get 2))))))
        (func (export "input") (param i32) (result i32) (local.get 0)))"#;

    #[test]
    fn numbers_come_back() {
        for value in [0, 1, 63, 64, 127, 128, 300, 8191, 8192, u32::MAX] {
            assert_eq!(number(&mut &unsigned(value)[..]).unwrap(), value);
        }
        assert_eq!(signed(63), [63]);
        assert_eq!(signed(64), [0xc0, 0x00]);
    }

    #[test]
    fn it_does_the_same_until_it_traps_in_each_instance() {
        let built = wat::parse_str(TEXT).unwrap();
        for at in [1, 50, 64, 200] {
            let engine = Engine::default();
            let module = Module::new(&engine, trapping(&built, at).unwrap()).unwrap();
            for _ in 0..2 {
                let mut store = Store::new(&engine, ());
                let instance = Instance::new(&mut store, &module, &[]).unwrap();
                let submit = instance.get_typed_func::<(u64, u32, u64), ()>(&mut store, "submit");
                let submit = submit.unwrap();
                for _ in 1..at {
                    submit.call(&mut store, (1, 2, 3)).unwrap();
                }
                let sum = instance.get_global(&mut store, "sum").unwrap();
                let sum = sum.get(&mut store).i64().unwrap();
                assert_eq!(sum, 6 * (i64::from(at) - 1));
                let trap = submit.call(&mut store, (1, 2, 3)).unwrap_err();
                let trap = trap.downcast_ref::<Trap>().unwrap();
                assert_eq!(*trap, Trap::UnreachableCodeReached);
            }
        }
    }

    #[test]
    fn what_is_no_module_or_exports_no_submit_is_told() {
        for wrong in [&b"junk"[..], b"\0asm\x01\0\0\0", b"\0asm\x01\0\0\0\x07\x05"] {
            assert!(trapping(wrong, 1).is_err(), "{wrong:?}");
        }
        let none = wat::parse_str(r#"(module (func (export "version")))"#).unwrap();
        assert!(trapping(&none, 1).is_err());
    }
}
