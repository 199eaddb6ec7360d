//! Every page of the site in a real browser: axe-core finds nothing to complain about in both languages and both colour
//! schemes, nothing sticks out sideways, nothing is asked of another host. Keeps screenshots in `target/e2e/pages`.

#[path = "pages/audit.rs"]
mod audit;
mod common;
#[path = "pages/table.rs"]
mod table;

use audit::Audit;
use common::browser::{Browser, Scripts, tour};
use common::skip;
use table::{Page, Step, Who};
use thirtyfour::Cookie;

#[tokio::test]
async fn every_page_is_accessible_in_both_languages_and_both_colour_schemes() {
    let test = "pages";
    if !Audit::is_possible() {
        return skip(test, "axe-core is not installed");
    }
    let settings = &table::SETTINGS;
    tour(test, Scripts::On, settings, async |browser, site| {
        let mut audit = Audit::new(browser).await;
        let pages = table::pages(site).await;
        for who in [Who::Stranger, Who::Player, Who::Admin] {
            become_visitor(browser, who, site.stack.site_password()).await;
            for language in ["en", "es"] {
                speak(browser, language).await;
                for page in pages.iter().filter(|page| page.who == who) {
                    visit(browser, page).await;
                    audit.page(browser, page, language).await;
                }
            }
        }
        become_visitor(browser, Who::Stranger, "").await;
        let page = table::exhaust_checks(site).await;
        visit(browser, &page).await;
        audit.page(browser, &page, "en").await;
        let page = table::lose_the_database(site).await;
        visit(browser, &page).await;
        audit.page(browser, &page, "en").await;

        let findings = audit.report();
        assert!(findings.is_empty(), "\n{findings}\n");
    })
    .await;
}

async fn become_visitor(browser: &Browser, who: Who, password: &str) {
    browser.open("/author").await;
    browser.driver.delete_all_cookies().await.unwrap();
    match who {
        Who::Stranger => {}
        Who::Player => browser.log_in("pepe", password).await,
        Who::Admin => browser.log_in("admin", password).await,
    }
}

/// As the switch does it, without a page in between.
async fn speak(browser: &Browser, language: &str) {
    let mut cookie = Cookie::new("quiz_lang", language);
    cookie.set_path("/");
    browser.driver.add_cookie(cookie).await.unwrap();
}

async fn visit(browser: &Browser, page: &Page) {
    browser.open(&page.path).await;
    for step in &page.steps {
        match step {
            Step::Fill(selector, text) => browser.fill(selector, text).await,
            Step::Unfold(selector) => {
                browser.resize(360, 800).await;
                browser.click(selector).await;
            }
            Step::Press(selector) => {
                let script = "for (const form of document.forms) form.noValidate = true";
                browser.script(script, Vec::new()).await;
                browser.follow(selector).await;
            }
        }
    }
}
