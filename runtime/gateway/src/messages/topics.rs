//! Topics of MQTT: which there are, and which a filter means (MQTT 5.0 §4.7).

/// The longest topic or filter, in bytes. The protocol allows 65,535, and nobody writes such.
const MAX_BYTES: usize = 1_024;

/// Topics, as a subscription names them: `+` stands for one level, `#` for all that follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(String);

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{text:?} is no filter of topics: {why}"));
        if text.is_empty() || text.len() > MAX_BYTES {
            return wrong("it has 1 to 1,024 bytes");
        }
        if text.chars().any(char::is_control) {
            return wrong("it has no control characters");
        }
        // Shared subscriptions and the broker's own topics, which mean other things than they say.
        if text.starts_with('$') {
            return wrong("it does not begin with $");
        }
        let levels: Vec<&str> = text.split('/').collect();
        let last = levels.len() - 1;
        for (place, level) in levels.iter().enumerate() {
            if level.contains('#') && (*level != "#" || place != last) {
                return wrong("# stands alone, and at the end");
            }
            if level.contains('+') && *level != "+" {
                return wrong("+ stands alone between slashes");
            }
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it means this topic.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        // §4.7.2: wildcards at the beginning mean no topic of the broker's own.
        if topic.starts_with('$') {
            return false;
        }
        let mut topic = topic.split('/');
        for level in self.0.split('/') {
            match (level, topic.next()) {
                // §4.7.1.2: the level above, too.
                ("#", _) => return true,
                ("+", Some(_)) => {}
                (level, Some(found)) if level == found => {}
                _ => return false,
            }
        }
        topic.next().is_none()
    }
}

/// Whether a message can be published to this topic.
pub(crate) fn is_topic(text: &str) -> bool {
    let sized = !text.is_empty() && text.len() <= MAX_BYTES;
    sized && !text.starts_with('$') && !text.chars().any(|c| c.is_control() || "+#".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_mean_what_the_protocol_says() {
        for (filter, topic, meant) in [
            ("a/b", "a/b", true),
            ("a/b", "a/bc", false),
            ("a/b", "a", false),
            ("a/b", "a/b/c", false),
            ("a/+", "a/b", true),
            ("a/+", "a/", true),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("+/b", "a/b", true),
            ("a/#", "a/b/c", true),
            ("a/#", "a", true),
            ("a/#", "ab", false),
            ("#", "a/b", true),
            ("#", "$SYS/broker", false),
            ("+/b", "$SYS/b", false),
        ] {
            let parsed = Filter::parse(filter).expect(filter);
            assert_eq!(parsed.matches(topic), meant, "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_no_filter_or_topic_is_none() {
        let long = "a".repeat(1_025);
        for bad in [
            "",
            "a/#/b",
            "a#",
            "a+/b",
            "$share/x/a",
            "a\0",
            "a\nb",
            &long,
        ] {
            assert!(Filter::parse(bad).is_err(), "{bad:?}");
            assert!(!is_topic(bad), "{bad:?}");
        }
        for bad in ["", "a/#", "+", "$SYS/x"] {
            assert!(!is_topic(bad), "{bad:?}");
        }
        assert!(is_topic("devices/gateway-7/readings"));
    }
}
