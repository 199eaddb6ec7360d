//! What is looked at on each page, and the list of what was found.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::common::artefacts;
use crate::common::browser::Browser;
use crate::table::Page;

const AXE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/axe/node_modules/axe-core/axe.min.js"
);

const SCHEMES: [&str; 2] = ["light", "dark"];

/// Each language in each scheme, and so each width twice: what depends on all three would be a strange fault.
const RULES_RUN_AT: [(&str, &str, u32); 4] = [
    ("en", "light", 360),
    ("en", "dark", 1280),
    ("es", "light", 1280),
    ("es", "dark", 360),
];

/// A phone, a tablet, a desk.
const WIDTHS: [u32; 3] = [360, 768, 1280];

/// The narrowest screen that must do (WCAG 2.2, 1.4.10 Reflow).
const NARROWEST: u32 = 320;

const HEIGHT: u32 = 800;

const RUN_AXE: &str = "
const done = arguments[arguments.length - 1];
const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa', 'best-practice'];
axe.run(document, { runOnly: tags, resultTypes: ['violations'] }).then(
  result => done(result.violations.flatMap(violation => violation.nodes.map(node => ({
    rule: violation.id,
    selector: node.target.join(' '),
    summary: node.failureSummary.split('\\n').map(line => line.trim()).filter(Boolean).slice(1).join('; '),
  })))),
  error => done([{ rule: 'axe', selector: '', summary: String(error) }]));
";

const FACTS: &str = "
const all = selector => document.querySelectorAll(selector).length;
const loaded = performance.getEntriesByType('resource').map(entry => entry.name);
return {
  status: performance.getEntriesByType('navigation')[0].responseStatus,
  lang: document.documentElement.lang,
  title: document.title,
  headings: all('h1'),
  mains: all('main'),
  inline: all('[style], style, script:not([src])'),
  elsewhere: loaded.filter(url => new URL(url).host !== location.host),
  broken: [...document.images].filter(image => image.complete && !image.naturalWidth).map(image => image.src),
};
";

/// The element that sticks out furthest, if the page can be scrolled sideways; else a text that has no room for its words.
const MISFIT: &str = "
const root = document.documentElement;
const all = [...document.body.querySelectorAll('*')];
const show = element => element.outerHTML.slice(0, 120);
if (root.scrollWidth > root.clientWidth) {
  const right = element => element.getBoundingClientRect().right;
  return `${root.scrollWidth} px wide, because of ${show(all.sort((a, b) => right(b) - right(a))[0])}`;
}
const hasText = element => [...element.childNodes].some(node => node.nodeType === Node.TEXT_NODE && node.data.trim());
const squeezed = all.find(element => {
  const { width, height } = element.getBoundingClientRect();
  return hasText(element) && !element.closest('.visually-hidden') && width > 0 && width < 56 && height > 84;
});
return squeezed ? `no room for the words of ${show(squeezed)}` : null;
";

#[derive(Deserialize)]
struct Violation {
    rule: String,
    selector: String,
    summary: String,
}

#[derive(Deserialize)]
struct Facts {
    status: u16,
    lang: String,
    title: String,
    headings: u32,
    mains: u32,
    inline: u32,
    elsewhere: Vec<String>,
    broken: Vec<String>,
}

/// Looks at pages and remembers what is wrong with them.
pub(crate) struct Audit {
    /// Where each finding was made: languages, schemes, widths.
    findings: BTreeMap<String, Vec<String>>,
}

impl Audit {
    /// Is axe-core there?
    pub(crate) fn is_possible() -> bool {
        Path::new(AXE).exists()
    }

    /// Has every page that the browser opens from now on bring axe-core along.
    pub(crate) async fn new(browser: &Browser) -> Self {
        std::fs::create_dir_all(artefacts().join("pages")).unwrap();
        let script = json!({ "source": std::fs::read_to_string(AXE).unwrap() });
        browser
            .devtools("Page.addScriptToEvaluateOnNewDocument", script)
            .await;
        Self {
            findings: BTreeMap::new(),
        }
    }

    /// One line for each finding.
    pub(crate) fn report(&self) -> String {
        let lines = self
            .findings
            .iter()
            .map(|(finding, places)| format!("{finding} [{}]", places.join(", ")));
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Looks at the page that the browser shows.
    pub(crate) async fn page(&mut self, browser: &Browser, page: &Page, language: &str) {
        self.facts(browser, page, language).await;
        browser.resize(NARROWEST, HEIGHT).await;
        self.fits(browser, page, language, NARROWEST).await;
        for width in WIDTHS {
            browser.resize(width, HEIGHT).await;
            self.fits(browser, page, language, width).await;
            for scheme in SCHEMES {
                let rules = RULES_RUN_AT.contains(&(language, scheme, width));
                // Spanish words are longer: they show on a phone.
                let picture = language == "en" || (width == 360 && scheme == "light");
                if rules || picture {
                    prefer(browser, scheme).await;
                }
                if rules {
                    let place = format!("{language} {scheme} {width}");
                    self.accessible(browser, page, &place).await;
                }
                if picture {
                    photograph(browser, page.name, language, width, scheme).await;
                }
            }
        }
    }

    async fn facts(&mut self, browser: &Browser, page: &Page, language: &str) {
        let facts = browser.script(FACTS, Vec::new()).await;
        let facts: Facts = serde_json::from_value(facts).unwrap();
        let mut check = |holds: bool, finding: String| {
            if !holds {
                self.found(page, &finding, language);
            }
        };
        check(
            facts.status == page.status,
            format!("status {}", facts.status),
        );
        check(facts.lang == language, format!("lang is {:?}", facts.lang));
        check(
            facts.title.contains("Quizstack"),
            format!("title {:?}", facts.title),
        );
        check(facts.headings == 1, format!("{} h1", facts.headings));
        check(facts.mains == 1, format!("{} main", facts.mains));
        check(
            facts.inline == 0,
            format!("{} inline styles or scripts", facts.inline),
        );
        check(
            facts.elsewhere.is_empty(),
            format!("asks {:?}", facts.elsewhere),
        );
        check(
            facts.broken.is_empty(),
            format!("no picture: {:?}", facts.broken),
        );
        let own = browser.driver.current_url().await.unwrap();
        for complaint in browser.complaints().await {
            // The browser complains of every error page too.
            let expected = page.status >= 400
                && complaint.starts_with(own.as_str())
                && complaint.contains("Failed to load resource");
            if !expected {
                self.found(page, &format!("console: {complaint}"), language);
            }
        }
    }

    async fn accessible(&mut self, browser: &Browser, page: &Page, place: &str) {
        let found = browser.driver.execute_async(RUN_AXE, Vec::new()).await;
        let found: Vec<Violation> = serde_json::from_value(found.unwrap().json().clone()).unwrap();
        for Violation {
            rule,
            selector,
            summary,
        } in found
        {
            self.found(page, &format!("{rule} at `{selector}`: {summary}"), place);
        }
    }

    async fn fits(&mut self, browser: &Browser, page: &Page, language: &str, width: u32) {
        if let Value::String(misfit) = browser.script(MISFIT, Vec::new()).await {
            self.found(page, &misfit, &format!("{language} {width}"));
        }
    }

    fn found(&mut self, page: &Page, finding: &str, place: &str) {
        let finding = format!("{}: {finding}", page.name);
        let places = self.findings.entry(finding).or_default();
        places.push(place.to_owned());
    }
}

/// Light or dark, and without transitions: a colour on its way to another has no contrast worth measuring.
async fn prefer(browser: &Browser, scheme: &str) {
    let features = json!({ "features": [
        { "name": "prefers-color-scheme", "value": scheme },
        { "name": "prefers-reduced-motion", "value": "reduce" },
    ]});
    browser
        .devtools("Emulation.setEmulatedMedia", features)
        .await;
}

/// Takes the whole page, however long it is.
async fn photograph(browser: &Browser, page: &str, language: &str, width: u32, scheme: &str) {
    let height = browser
        .script("return document.documentElement.scrollHeight", Vec::new())
        .await;
    let height = u32::try_from(height.as_u64().unwrap()).unwrap();
    browser.resize(width, height.max(HEIGHT)).await;
    let language = if language == "en" { "" } else { "-es" };
    let file = format!("pages/{page}-{width}-{scheme}{language}.png");
    let file = artefacts().join(file);
    browser.driver.screenshot(&file).await.unwrap();
    browser.resize(width, HEIGHT).await;
}
