//! What a browser says of itself, in the two words a person knows it by. A guess for the eye; nothing depends on it.

/// The program and the system of a `User-Agent`, as far as they can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Browser {
    pub program: Option<&'static str>,
    pub system: Option<&'static str>,
}

/// Mark and name. Most browsers also name those that they want to be taken for, so the more special mark comes first.
const PROGRAMS: [(&str, &str); 9] = [
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];

/// Mark and name, in the same order.
const SYSTEMS: [(&str, &str); 7] = [
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
];

impl Browser {
    /// Looks for the marks in a `User-Agent`.
    pub fn of(user_agent: &str) -> Self {
        let first = |marks: &[(&str, &'static str)]| {
            let found = marks.iter().find(|(mark, _)| user_agent.contains(mark));
            found.map(|&(_, name)| name)
        };
        Self {
            program: first(&PROGRAMS),
            system: first(&SYSTEMS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Browser;

    #[test]
    fn a_browser_is_known_by_its_own_name_and_not_by_those_it_borrows() {
        let cases = [
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
                ("Firefox", "Linux"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 \
                 Safari/537.36 Edg/130.0.0.0",
                ("Edge", "Windows"),
            ),
            (
                "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
                ("Chrome", "Android"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/18.0 Mobile/15E148 Safari/604.1",
                ("Safari", "iPhone"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 \
                 Safari/605.1.15",
                ("Safari", "macOS"),
            ),
        ];
        for (user_agent, (program, system)) in cases {
            let browser = Browser::of(user_agent);
            assert_eq!(
                (browser.program, browser.system),
                (Some(program), Some(system)),
                "{user_agent}"
            );
        }
    }

    #[test]
    fn what_says_nothing_is_unknown() {
        assert_eq!(Browser::of("<script>"), Browser::default());
        assert_eq!(Browser::of("curl/8.9").program, Some("curl"));
    }
}
