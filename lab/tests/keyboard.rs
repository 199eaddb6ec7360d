//! The site without a mouse, and for eyes that motion disturbs.

mod common;

use common::browser::{Browser, Scripts, tour};
use serde::Deserialize;
use serde_json::{Value, json};
use thirtyfour::Key;

/// Pages with what a visitor comes to them for.
const MAIN_ACTIONS: [(&str, &str); 4] = [
    ("/", "main a[href='/random']"),
    ("/quizzes", "main a[href$='/play']"),
    ("/quizzes/1/play", "main form button"),
    ("/login", "main form button"),
];

/// More stops than any page has.
const TABS: usize = 200;

#[derive(Deserialize)]
struct Focus {
    tag: String,
    html: String,
    outlined: bool,
    on_screen: bool,
    is_target: bool,
}

const FOCUS: &str = "
const element = document.activeElement;
const style = getComputedStyle(element);
const box = element.getBoundingClientRect();
return {
  tag: element.localName,
  html: element.outerHTML.slice(0, 120),
  outlined: style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
  on_screen: box.width > 0 && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth,
  is_target: element.matches(arguments[0]),
};
";

/// What moves, or would move when something changes.
const MOVING: &str = "
return [...document.querySelectorAll('*')].filter(element => {
  const style = getComputedStyle(element);
  const lasts = list => list.split(',').some(time => parseFloat(time) > 0);
  return lasts(style.transitionDuration) || lasts(style.animationDuration);
}).length;
";

#[tokio::test]
async fn everything_can_be_done_with_the_keyboard() {
    tour("keyboard", Scripts::On, &[], async |browser, _| {
        for (path, target) in MAIN_ACTIONS {
            every_stop_is_visible_and_one_is_the_main_action(browser, path, target).await;
        }
        the_first_stop_skips_to_the_content(browser).await;
        plays_without_a_mouse(browser).await;
        the_menu_of_a_phone_opens_and_closes(browser).await;
        nothing_moves_for_those_who_ask_for_it(browser).await;
    })
    .await;
}

async fn every_stop_is_visible_and_one_is_the_main_action(
    browser: &Browser,
    path: &str,
    target: &str,
) {
    browser.open(path).await;
    // Some pages put the focus where one types: begin before the first stop.
    let script = "document.activeElement.blur(); getSelection().setPosition(document.body, 0)";
    browser.script(script, Vec::new()).await;
    let mut reached = false;
    let mut stops = 0;
    loop {
        press(browser, Key::Tab).await;
        let focus = focus(browser, target).await;
        // After the last stop the browser's own controls would come.
        if focus.tag == "body" {
            break;
        }
        assert!(focus.outlined, "{path}: no outline around {}", focus.html);
        assert!(
            focus.on_screen,
            "{path}: focus out of sight at {}",
            focus.html
        );
        reached |= focus.is_target;
        stops += 1;
        assert!(
            stops < TABS,
            "{path}: the focus is trapped at {}",
            focus.html
        );
    }
    assert!(reached, "{path}: {target} is not among the {stops} stops");
}

async fn the_first_stop_skips_to_the_content(browser: &Browser) {
    browser.open("/quizzes").await;
    press(browser, Key::Tab).await;
    assert!(focus(browser, "a.skip[href='#main']").await.is_target);
    press(browser, Key::Enter).await;
    press(browser, Key::Tab).await;
    let focus = focus(browser, "main *").await;
    assert!(
        focus.is_target,
        "still before the content, at {}",
        focus.html
    );
}

async fn plays_without_a_mouse(browser: &Browser) {
    browser.open("/quizzes/1/play").await;
    let field = focus(browser, "input[name=answer]").await;
    assert!(field.is_target, "the cursor is in the field for the answer");
    let field = browser.driver.active_element().await.unwrap();
    field.send_keys("Rome" + Key::Enter).await.unwrap();
    browser.sees("is Right.").await;
}

async fn the_menu_of_a_phone_opens_and_closes(browser: &Browser) {
    browser.resize(360, 640).await;
    browser.open("/author").await;
    for _ in 0..TABS {
        press(browser, Key::Tab).await;
        if focus(browser, ".menu-button").await.is_target {
            break;
        }
    }
    press(browser, Key::Enter).await;
    press(browser, Key::Tab).await;
    let first = focus(browser, "#menu a").await;
    assert!(
        first.is_target && first.on_screen,
        "the menu is open, not {}",
        first.html
    );
    press(browser, Key::Escape).await;
    browser.gone("#menu:popover-open").await;
    assert!(focus(browser, ".menu-button").await.is_target);
}

async fn nothing_moves_for_those_who_ask_for_it(browser: &Browser) {
    browser.open("/").await;
    for (wish, motion) in [("no-preference", true), ("reduce", false)] {
        let features = json!({ "features": [{ "name": "prefers-reduced-motion", "value": wish }] });
        browser
            .devtools("Emulation.setEmulatedMedia", features)
            .await;
        let moving = browser.script(MOVING, Vec::new()).await;
        assert_eq!(moving.as_u64().unwrap() > 0, motion, "{wish}: {moving}");
    }
}

async fn press(browser: &Browser, key: Key) {
    let keys = browser.driver.action_chain().send_keys(key);
    keys.perform().await.unwrap();
}

async fn focus(browser: &Browser, target: &str) -> Focus {
    let focus = browser.script(FOCUS, vec![Value::from(target)]).await;
    serde_json::from_value(focus).unwrap()
}
