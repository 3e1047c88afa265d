//! Texts with a rule. Each is checked where it enters and never again.

mod table;

use std::fmt;

pub use table::InvalidTable;
pub(super) use table::TableName;
pub(crate) use table::is_table_name;

/// Why a text is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// There is nothing.
    #[error("a name cannot be empty")]
    Empty,
    /// It is longer than 128 characters.
    #[error("a name has at most 128 characters, this one has {0}")]
    TooLong(usize),
    /// It does not start with a letter or digit.
    #[error("a name starts with a letter or digit, not with {0:?}")]
    Start(char),
    /// A character that no name has.
    #[error("a name has letters, digits, `.`, `_` and `-`, not {0:?}")]
    Character(char),
}

/// The name of a tenant, a pipeline or a sink: 1 to 128 of `A-Z a-z 0-9 . _ -`, a letter or digit first. It is safe in a
/// path, a metric's label and a table's row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks the rule.
    ///
    /// # Errors
    /// Which part of the rule `text` breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let Some(first) = text.chars().next() else { return Err(InvalidName::Empty) };
        if let Some(stranger) = text.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-".contains(*c))) {
            return Err(InvalidName::Character(stranger));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(InvalidName::Start(first));
        }
        if text.len() > 128 {
            return Err(InvalidName::TooLong(text.len()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that is never printed: neither `Debug` nor anything else of it shows what is inside but [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the one place that signs with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Why a text is not the ARN of a Kinesis stream, or not that of anything in a region and an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidArn {
    /// It is no ARN at all.
    #[error("this is no ARN")]
    Shape,
    /// Its partition is unknown.
    #[error("no ARN has the partition {0:?}")]
    Partition(String),
    /// It names something of another service.
    #[error("this ARN names a resource of {found}, not of {wanted}")]
    Service {
        /// What the ARN says.
        found: String,
        /// What it should say.
        wanted: &'static str,
    },
    /// Its region is no region.
    #[error("{0:?} is no region")]
    Region(String),
    /// Region and partition belong to different worlds.
    #[error("the region {region} is in the partition {expected}, not in {partition}")]
    Mismatch {
        /// What the ARN says.
        partition: String,
        /// What the ARN says.
        region: String,
        /// The region's partition.
        expected: &'static str,
    },
    /// Its account is no account.
    #[error("an account has 12 digits, not {0:?}")]
    Account(String),
    /// It names a consumer of a stream.
    #[error("this ARN names a consumer of the stream, not the stream")]
    Consumer,
    /// It names something else of the service.
    #[error("this ARN does not name a stream: {0:?} does not start with \"stream/\"")]
    Resource(String),
    /// The stream's name is none.
    #[error("a stream's name is 1 to 128 of letters, digits, `.`, `_` and `-`, not {0:?}")]
    StreamName(String),
}

/// What every ARN of something in a region and an account has.
struct Parts<'a> {
    partition: &'a str,
    region: &'a str,
    account: &'a str,
    resource: &'a str,
}

impl<'a> Parts<'a> {
    /// Takes the ARN of something of the service `wanted` apart.
    fn of(text: &'a str, wanted: &'static str) -> Result<Self, InvalidArn> {
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let &["arn", partition, service, region, account, resource] = parts.as_slice() else {
            return Err(InvalidArn::Shape);
        };
        let world = ["aws", "aws-cn", "aws-us-gov", "aws-eusc", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f"];
        if !world.contains(&partition) {
            return Err(InvalidArn::Partition(partition.to_owned()));
        }
        if service != wanted {
            return Err(InvalidArn::Service { found: service.to_owned(), wanted });
        }
        if !is_region(region) {
            return Err(InvalidArn::Region(region.to_owned()));
        }
        let expected = match region {
            _ if region.starts_with("cn-") => Some("aws-cn"),
            _ if region.starts_with("us-gov-") => Some("aws-us-gov"),
            _ if partition == "aws-cn" || partition == "aws-us-gov" => Some("aws"),
            _ => None,
        };
        if let Some(expected) = expected
            && expected != partition
        {
            return Err(InvalidArn::Mismatch { partition: partition.to_owned(), region: region.to_owned(), expected });
        }
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidArn::Account(account.to_owned()));
        }
        Ok(Self { partition, region, account, resource })
    }
}

/// The ARN of a Kinesis stream, taken apart: `arn:PARTITION:kinesis:REGION:ACCOUNT:stream/NAME`.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamArn {
    text: String,
    partition: String,
    region: String,
    account: String,
    name: String,
}

impl StreamArn {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What about it is not the ARN of a Kinesis stream.
    pub fn parse(text: &str) -> Result<Self, InvalidArn> {
        let Parts { partition, region, account, resource } = Parts::of(text, "kinesis")?;
        let Some(name) = resource.strip_prefix("stream/") else {
            return Err(InvalidArn::Resource(resource.to_owned()));
        };
        if name.contains("/consumer/") {
            return Err(InvalidArn::Consumer);
        }
        if !is_stream_name(name) {
            return Err(InvalidArn::StreamName(name.to_owned()));
        }
        Ok(Self {
            text: text.to_owned(),
            partition: partition.to_owned(),
            region: region.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The ARN as it was written (`StreamARN`).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `aws`, `aws-cn`, `aws-us-gov` and their like.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The region, such as `eu-central-1`.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The account: 12 digits.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The stream's name (`StreamName`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for StreamArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for StreamArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Why a text is not the ARN of a consumer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConsumerArn {
    /// What stands before the consumer is not the ARN of a stream.
    #[error(transparent)]
    Stream(#[from] InvalidArn),
    /// It names a stream.
    #[error("this ARN names a stream, not a consumer of it")]
    StreamAlone,
    /// The consumer's name is none.
    #[error("a consumer's name is 1 to 128 of letters, digits, `.`, `_` and `-`, not {0:?}")]
    Name(String),
    /// The time of its registration is missing, or none.
    #[error("the ARN of a consumer ends in a colon and the second of its registration, this one does not")]
    Registered,
}

/// The ARN of a registered consumer, taken apart: `STREAM_ARN/consumer/NAME:SECONDS` (`ConsumerARN`). A consumer that is
/// registered again under its name gets another one.
#[derive(Clone, PartialEq, Eq)]
pub struct ConsumerArn {
    text: String,
    stream: StreamArn,
    name: String,
}

impl ConsumerArn {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What about it is not the ARN of a consumer.
    pub fn parse(text: &str) -> Result<Self, InvalidConsumerArn> {
        let Some((stream, consumer)) = text.split_once("/consumer/") else {
            StreamArn::parse(text)?;
            return Err(InvalidConsumerArn::StreamAlone);
        };
        let stream = StreamArn::parse(stream)?;
        let (name, registered) = consumer.split_once(':').unwrap_or((consumer, ""));
        if !is_consumer_name(name) {
            return Err(InvalidConsumerArn::Name(name.to_owned()));
        }
        if registered.is_empty() || !registered.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidConsumerArn::Registered);
        }
        Ok(Self { text: text.to_owned(), stream, name: name.to_owned() })
    }

    /// The ARN as it was written (`ConsumerARN`).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The stream that it is registered on.
    #[must_use]
    pub const fn stream(&self) -> &StreamArn {
        &self.stream
    }

    /// The consumer's name (`ConsumerName`).
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for ConsumerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ConsumerArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// Whether `text` has the form of a region: lower-case words and a number, joined by `-`. Which regions exist is the
/// service's to say.
pub(super) fn is_region(text: &str) -> bool {
    let mut words = text.split('-');
    let number = words.next_back().unwrap_or_default();
    let mut count = 0;
    let worded = words.all(|word| {
        count += 1;
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
    });
    worded && count >= 2 && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `text` may be a stream's name (`StreamName`).
pub(crate) fn is_stream_name(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(is_name_byte)
}

/// What names of streams, consumers and tables are made of.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

/// Whether `text` may be a consumer's name (`ConsumerName`): the rule is that of streams.
pub(super) fn is_consumer_name(text: &str) -> bool {
    is_stream_name(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_tells_partition_region_account_and_stream() {
        let arn = StreamArn::parse("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/a.b-c_d").expect("an ARN");
        assert_eq!(
            (arn.partition(), arn.region(), arn.account(), arn.name()),
            ("aws-cn", "cn-north-1", "123456789012", "a.b-c_d")
        );
        assert!(StreamArn::parse("arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/s").is_ok());
    }

    #[test]
    fn what_is_not_a_stream_is_called_by_its_name() {
        let refused = |text| StreamArn::parse(text).expect_err(text);
        assert_eq!(refused("earthquakes"), InvalidArn::Shape);
        assert_eq!(
            refused("arn:aws:dynamodb:us-east-1:123456789012:table/t"),
            InvalidArn::Service { found: "dynamodb".to_owned(), wanted: "kinesis" }
        );
        assert_eq!(refused("arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/c:1"), InvalidArn::Consumer);
        assert!(matches!(refused("arn:aws:kinesis:cn-north-1:123456789012:stream/s"), InvalidArn::Mismatch { .. }));
        assert!(matches!(refused("arn:aws-cn:kinesis:us-east-1:123456789012:stream/s"), InvalidArn::Mismatch { .. }));
        assert!(matches!(refused("arn:aws:kinesis:us-east:123456789012:stream/s"), InvalidArn::Region(_)));
        assert!(matches!(refused("arn:aws:kinesis:us-east-1:1234:stream/s"), InvalidArn::Account(_)));
        assert!(matches!(refused("arn:aws:kinesis:us-east-1:123456789012:stream/"), InvalidArn::StreamName(_)));
    }

    #[test]
    fn the_arn_of_a_consumer_tells_its_stream_and_its_name() {
        let text = "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/a.b-c_d:1520000000";
        let arn = ConsumerArn::parse(text).expect("an ARN");
        let stream = StreamArn::parse("arn:aws:kinesis:us-east-1:123456789012:stream/s").expect("an ARN");
        assert_eq!((arn.as_str(), arn.stream(), arn.name()), (text, &stream, "a.b-c_d"));
        assert_eq!(format!("{arn} {arn:?}"), format!("{text} {text:?}"));
    }

    #[test]
    fn what_is_not_a_consumer_is_called_by_its_name() {
        let refused = |text: &str| ConsumerArn::parse(text).expect_err(text);
        let of_stream = |rest: &str| refused(&format!("arn:aws:kinesis:us-east-1:123456789012:stream/s{rest}"));
        assert_eq!(refused("c"), InvalidConsumerArn::Stream(InvalidArn::Shape));
        assert_eq!(
            refused("arn:aws:kinesis:us-east-1:1234:stream/s/consumer/c:1"),
            InvalidConsumerArn::Stream(InvalidArn::Account("1234".to_owned()))
        );
        assert_eq!(of_stream(""), InvalidConsumerArn::StreamAlone);
        assert_eq!(of_stream("/t/consumer/c:1"), InvalidConsumerArn::Stream(InvalidArn::StreamName("s/t".to_owned())));
        assert_eq!(of_stream("/consumer/"), InvalidConsumerArn::Name(String::new()));
        assert_eq!(of_stream("/consumer/:1"), InvalidConsumerArn::Name(String::new()));
        assert_eq!(of_stream("/consumer/c d:1"), InvalidConsumerArn::Name("c d".to_owned()));
        let long = "c".repeat(129);
        assert_eq!(of_stream(&format!("/consumer/{long}:1")), InvalidConsumerArn::Name(long));
        assert_eq!(of_stream("/consumer/c"), InvalidConsumerArn::Registered);
        assert_eq!(of_stream("/consumer/c:now"), InvalidConsumerArn::Registered);
        assert_eq!(of_stream("/consumer/c:1/consumer/d:2"), InvalidConsumerArn::Registered);
    }

    #[test]
    fn a_name_keeps_its_rule() {
        assert!(Name::parse("a").is_ok() && Name::parse("9.x_y-z").is_ok() && Name::parse(&"a".repeat(128)).is_ok());
        assert_eq!(Name::parse(""), Err(InvalidName::Empty));
        assert_eq!(Name::parse("-a"), Err(InvalidName::Start('-')));
        assert_eq!(Name::parse("a/b"), Err(InvalidName::Character('/')));
        assert_eq!(Name::parse(&"a".repeat(129)), Err(InvalidName::TooLong(129)));
    }

    #[test]
    fn a_secret_does_not_print_itself() {
        assert_eq!(format!("{:?}", Secret::new("hunter2".to_owned())), "<secret>");
    }
}
