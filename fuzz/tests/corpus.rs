//! Every target over its corpus, and over inputs made from it: the same ones every time.

use std::{fs, panic, path::PathBuf};

use fuzz::{
    TARGETS, Target,
    mutate::{Dice, mutated},
};

/// Inputs that are made for each target, unless `FUZZ_RUNS` says otherwise.
const RUNS: usize = 10_000;

fn target(name: &str) -> &'static Target {
    TARGETS
        .iter()
        .find(|target| target.name == name)
        .expect("a target")
}

/// Runs one input; if it fails, it is kept in a file, and how to run it again is told.
fn attempt(target: &Target, name: &str, input: &[u8]) {
    let run = target.run;
    if let Err(why) = panic::catch_unwind(|| run(input)) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let file = folder.join(format!("{}-{name}", target.name));
        let kept = fs::write(&file, input);
        eprintln!(
            "target {}: input {name} ({} bytes) fails; to run it again:\n  \
             scripts/fuzz --target {} --replay {} ({kept:?})",
            target.name,
            input.len(),
            target.name,
            file.display(),
        );
        panic::resume_unwind(why);
    }
}

fn holds(name: &str) {
    let target = target(name);
    let kept = target.corpus();
    assert!(!kept.is_empty(), "no corpus");
    for (file, input) in &kept {
        attempt(target, file, input);
    }
    let corpus: Vec<_> = kept.into_iter().map(|(_, input)| input).collect();
    let (words, mut dice) = (target.words(), Dice::new(1));
    let runs = std::env::var("FUZZ_RUNS")
        .ok()
        .and_then(|runs| runs.parse().ok());
    for n in 0..runs.unwrap_or(RUNS) {
        let input = mutated(&corpus, &words, &mut dice);
        attempt(target, &format!("made-{n}"), &input);
    }
}

#[test]
fn any_configuration_is_read_or_its_mistakes_are_told() {
    holds("config");
}

#[test]
fn any_header_is_routed_or_refused_and_its_key_is_given_back() {
    holds("header");
}

#[test]
fn any_packed_body_is_expanded_within_its_bounds_or_refused() {
    holds("packed");
}

#[test]
fn any_body_is_split_where_serde_json_splits_it() {
    holds("split");
}

#[test]
fn any_event_is_accepted_and_read_as_serde_json_and_the_documented_rules_have_it() {
    holds("decode");
}

#[test]
fn any_slab_is_read_whole_or_refused() {
    holds("slab");
}

#[test]
fn any_receipt_is_taken_or_passed_over() {
    holds("receipts");
}

#[test]
fn only_deltas_that_can_be_enter_the_ledger() {
    holds("deltas");
}

#[test]
fn any_record_becomes_the_document_of_its_event_or_a_dead_letter_or_stops() {
    holds("record");
}

#[test]
fn any_answer_of_a_broker_is_read_or_refused_and_every_slab_is_told_once() {
    holds("answers");
}

#[test]
fn every_target_has_a_test() {
    let this = include_str!("corpus.rs");
    for target in TARGETS {
        assert!(
            this.contains(&format!("holds(\"{}\")", target.name)),
            "{}",
            target.name
        );
    }
}
