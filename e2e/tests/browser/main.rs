//! The console's pages in a real Chromium: `scripts/test browser`. Pictures of them are left in `target/console`.

mod chromium;

use std::path::PathBuf;

use chromium::Chromium;
use e2e::{
    Pipeline, Request,
    console::{address, token},
    load::tweet,
    outage::Outages,
};
use serde_json::json;

/// What a script, marks of direction and a long text would do to a page that does not see to it.
const HOSTILE: &str = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">\u{202e}txt.exe\u{202c}";
const WIDTHS: [u32; 2] = [360, 1600];

async fn send(pipeline: &Pipeline, events: std::ops::Range<usize>) {
    let mut client = pipeline.client();
    for n in events {
        client
            .answer(&Request::json("/input", tweet(n)))
            .await
            .accepted(1);
    }
}

fn url(pipeline: &Pipeline, path: &str) -> String {
    let console = pipeline.console.as_ref().expect("a console");
    format!("http://{}{path}", address(console))
}

fn pictures() -> PathBuf {
    let program = std::env::current_exe().expect("a program knows where it is");
    // target/PROFILE/deps
    let folder = program.ancestors().nth(3).expect("target").join("console");
    std::fs::create_dir_all(&folder).expect("a folder of ours");
    folder
}

/// A picture at each width, where nothing is wider than the page.
async fn pictured(browser: &mut Chromium, name: &str) {
    for width in WIDTHS {
        browser.resize(width, 900).await;
        browser
            .value(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
            )
            .await;
        let wide = browser.value("document.documentElement.scrollWidth").await;
        let file = pictures().join(format!("{name}-{width}.png"));
        browser.picture(&file).await;
        assert!(
            wide.as_u64() <= Some(width.into()),
            "{name} is {wide} wide at {width}"
        );
    }
}

/// What holds for each page: landmarks, names for whatever can be used, and no script but ours.
async fn is_sound(browser: &mut Chromium, name: &str) {
    for (what, expression) in [
        (
            "one heading",
            "document.querySelectorAll('h1').length === 1",
        ),
        (
            "landmarks",
            "['header', 'nav', 'main'].every((n) => document.querySelectorAll(n).length === 1)",
        ),
        (
            "labels",
            "[...document.querySelectorAll('input, select, textarea')].every((n) => n.labels.length > 0 && n.labels[0].textContent.trim())",
        ),
        (
            "buttons with words",
            "[...document.querySelectorAll('button')].every((n) => n.textContent.trim())",
        ),
        (
            "no script of an event",
            "document.title !== 'ran' && !document.querySelector('main script, main img')",
        ),
        (
            "the page that one is on",
            "document.querySelectorAll('nav [aria-current=page]').length === 1",
        ),
    ] {
        assert_eq!(browser.value(expression).await, true, "{name}: {what}");
    }
    assert!(
        browser.problems.is_empty(),
        "{name}: {:#?}",
        browser.problems
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_page_shows_real_data_and_a_hostile_event_is_text() {
    let (file, token) = token();
    let pipeline = Pipeline::weather()
        .with("console.token_file", file.path().display())
        .console()
        .start()
        .await;
    send(&pipeline, 0..40).await;
    let hostile = json!({ "texto": HOSTILE, "país": HOSTILE, "z": "x ".repeat(450_000) });
    let mut client = pipeline.client();
    client
        .answer(&Request::json("/input", hostile.to_string()))
        .await
        .accepted(1);
    pipeline.exact("weather", 41).await;
    let letter = [HOSTILE.as_bytes(), b"\xff\xfe"].concat();
    let topic = pipeline.topic("weather").to_owned();
    pipeline.kafka.write(&topic, 0, &letter, None).await;

    let mut browser = Chromium::start().await;
    browser.resize(1600, 900).await;
    live(&mut browser, &pipeline).await;
    log(&mut browser, &pipeline).await;
    processes(&mut browser, &pipeline).await;
    letters(&mut browser, &pipeline, token).await;
    tried(&mut browser, &pipeline).await;
}

async fn live(browser: &mut Chromium, pipeline: &Pipeline) {
    browser.go(&url(pipeline, "/")).await;
    let total = "document.querySelector('.big').textContent === '41'";
    browser.until("the total", total).await;
    browser
        .until("the hostile key, as text", "[...document.querySelectorAll('.bars .key')].some((n) => n.textContent.includes('<script>') && n.querySelector('.unseen').textContent === 'U+202E')")
        .await;
    is_sound(browser, "live").await;
    browser.key("Tab").await;
    let first = "document.activeElement.className === 'skip'";
    assert_eq!(browser.value(first).await, true, "the keyboard begins");
    send(pipeline, 100..140).await;
    browser
        .until(
            "more events",
            "document.querySelector('.big').textContent === '81'",
        )
        .await;
    browser
        .until("a line", "document.querySelector('.chart polyline')")
        .await;
    pictured(browser, "live").await;
    browser.scheme("dark").await;
    let spanish = json!({ "headers": { "Accept-Language": "es" } });
    browser.call("Network.setExtraHTTPHeaders", spanish).await;
    browser.go(&url(pipeline, "/")).await;
    browser
        .until(
            "the total",
            "document.querySelector('.big').textContent === '81'",
        )
        .await;
    assert_eq!(browser.value("document.documentElement.lang").await, "es");
    pictured(browser, "live-dark-es").await;
    browser.scheme("light").await;
    let english = json!({ "headers": { "Accept-Language": "en" } });
    browser.call("Network.setExtraHTTPHeaders", english).await;
}

async fn log(browser: &mut Chromium, pipeline: &Pipeline) {
    send(pipeline, 200..203).await;
    browser.go(&url(pipeline, "/log?stream=weather")).await;
    browser
        .until(
            "20 entries",
            "document.querySelectorAll('#entries li').length === 20",
        )
        .await;
    let hostile = json!({ "texto": HOSTILE, "país": "Chile", "z": "x ".repeat(450_000) });
    let mut client = pipeline.client();
    client
        .answer(&Request::json("/input", hostile.to_string()))
        .await
        .accepted(1);
    browser
        .until("the new one is the last", "document.querySelector('#entries li:last-child .text').textContent.includes('<script>')")
        .await;
    is_sound(browser, "log").await;
    let filled = "(() => { const filter = document.querySelector('#filter'); filter.value = 'SCRIPT>'; filter.dispatchEvent(new Event('input')); })()";
    browser.value(filled).await;
    let one = "[...document.querySelectorAll('#entries li')].filter((n) => !n.hidden).length === 1";
    browser.until("the filter", one).await;
    browser.value(&filled.replace("SCRIPT>", "")).await;
    browser
        .value("document.querySelector('#entries li:last-child summary').focus()")
        .await;
    browser.key("Enter").await;
    browser
        .until("the document, a piece of it", "document.querySelector('#entries li:last-child .pre').textContent.includes('\"partition\"') || document.querySelector('#entries li:last-child .pre').textContent.length > 49_000")
        .await;
    let began = std::time::Instant::now();
    browser
        .value("document.querySelector('#entries li:last-child .long button').click()")
        .await;
    browser.value("document.body.offsetHeight").await;
    assert!(began.elapsed().as_secs() < 5, "it does not hang");
    is_sound(browser, "log, open").await;
    pictured(browser, "log").await;
}

async fn processes(browser: &mut Chromium, pipeline: &Pipeline) {
    browser.go(&url(pipeline, "/pipeline")).await;
    browser
        .until(
            "four that are ready",
            "document.querySelectorAll('.process[data-state=ready]').length === 4",
        )
        .await;
    let told =
        "[...document.querySelectorAll('.process')].every((n) => /[0-9]\\/s/.test(n.textContent))";
    browser.until("rates", told).await;
    browser
        .until(
            "a picture",
            "document.querySelectorAll('#way svg .box').length === 8",
        )
        .await;
    is_sound(browser, "pipeline").await;
    pictured(browser, "pipeline").await;
}

async fn letters(browser: &mut Chromium, pipeline: &Pipeline, token: &str) {
    browser.go(&url(pipeline, "/dead-letters")).await;
    browser
        .until("the letter", "document.querySelector('#letters summary')")
        .await;
    browser
        .value("document.querySelector('#letters summary').click()")
        .await;
    browser
        .until("its bytes", "[...document.querySelectorAll('#letters .pre')].some((n) => n.textContent.includes(' ff fe')) && document.querySelector('#letters .pre').textContent.includes('<script>')")
        .await;
    is_sound(browser, "dead letters").await;
    pictured(browser, "dead-letters").await;
    let type_token = |token: &str| {
        format!(
            "(() => {{ const field = document.querySelector('#token'); field.value = {token:?}; field.dispatchEvent(new Event('input')); }})()"
        )
    };
    let discard = "[...document.querySelectorAll('#letters button')].at(-1).click()";
    let last = "[...document.querySelectorAll('#letters button')].at(-1).disabled";
    assert_eq!(browser.value(last).await, true, "not without a token");
    browser.value(&type_token("another")).await;
    browser.value(discard).await;
    browser
        .until(
            "it is refused",
            "document.querySelector('#done').textContent.includes('not the operator')",
        )
        .await;
    browser.value(&type_token(token)).await;
    browser.value(discard).await;
    browser
        .until(
            "it is discarded",
            "document.querySelector('#letters .size').textContent.includes('discarded')",
        )
        .await;
    browser.problems.clear();
}

async fn tried(browser: &mut Chromium, pipeline: &Pipeline) {
    browser.go(&url(pipeline, "/try")).await;
    browser
        .until(
            "the form",
            "document.querySelectorAll('#fields .field').length === 2",
        )
        .await;
    let fill = |field: &str, text: &str| {
        format!(
            "(() => {{ const field = document.querySelector('[data-field={field}]'); field.value = {text:?}; field.dispatchEvent(new Event('input')); }})()"
        )
    };
    browser.value(&fill("texto", "<b>Su lluvia</b>")).await;
    browser.value(&fill("país", "Argentina")).await;
    browser
        .value("document.querySelector('#form').requestSubmit()")
        .await;
    browser
        .until(
            "200",
            "document.querySelector('#status').textContent === '200'",
        )
        .await;
    browser.until("it is archived", "document.querySelector('#went .well') && document.querySelector('#went .pre').textContent.includes('<b>Su lluvia</b>')").await;
    is_sound(browser, "try").await;
    pictured(browser, "try").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_go_on_after_redis_was_restarted() {
    let outages = Outages::prepare().await;
    let pipeline = Pipeline::weather().console().start().await;
    send(&pipeline, 0..10).await;
    pipeline.exact("weather", 10).await;
    let mut browser = Chromium::start().await;
    browser.resize(1600, 900).await;
    browser.go(&url(&pipeline, "/")).await;
    browser
        .until(
            "the total",
            "document.querySelector('.big').textContent === '10'",
        )
        .await;
    outages.begin("redis").await;
    browser
        .until(
            "that it is away",
            "document.querySelector('.notice').textContent.includes('Redis cannot be read')",
        )
        .await;
    pictured(&mut browser, "live-away").await;
    browser.go(&url(&pipeline, "/pipeline")).await;
    browser
        .until(
            "where it stands",
            "document.querySelector('#stands .wrong').textContent.includes('Redis')",
        )
        .await;
    pictured(&mut browser, "pipeline-stands").await;
    browser.go(&url(&pipeline, "/")).await;
    browser
        .until("that it is away", "document.querySelector('.notice')")
        .await;
    outages.end().await;
    send(&pipeline, 10..15).await;
    browser
        .until(
            "the new total",
            "document.querySelector('.big').textContent === '15'",
        )
        .await;
    browser
        .until("no notice", "!document.querySelector('.notice')")
        .await;
}
