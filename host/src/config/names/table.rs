//! Tables, by name or by ARN.

use super::super::Table;
use super::{InvalidArn, Parts, is_name_byte};

/// Why a text names no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTable {
    /// It is no ARN of `DynamoDB`.
    #[error(transparent)]
    Arn(#[from] InvalidArn),
    /// It names the stream of a table.
    #[error("this ARN names the stream of a table, not the table")]
    Stream,
    /// It names an index of a table.
    #[error("this ARN names an index of a table, not the table")]
    Index,
    /// It names something else that belongs to a table: a backup, an export.
    #[error("this ARN names something that belongs to a table, not the table")]
    Part,
    /// It names something else of the service.
    #[error("this ARN does not name a table: {0:?} does not start with \"table/\"")]
    Resource(String),
    /// The table's name is none.
    #[error("a table's name is 3 to 255 of letters, digits, `.`, `_` and `-`, not {0:?}")]
    Name(String),
}

/// What names a table: a name alone, which is one of the pipeline's region and account, or
/// `arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME` (`TableArn`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct TableName {
    name: String,
    /// Region and account, if it is an ARN.
    place: Option<(String, String)>,
}

impl TableName {
    /// Takes `text` apart.
    ///
    /// # Errors
    /// What about it names no table.
    pub(in super::super) fn parse(text: &str) -> Result<Self, InvalidTable> {
        if !text.starts_with("arn:") {
            return Ok(Self { name: table_name(text)?, place: None });
        }
        let Parts { region, account, resource, .. } = Parts::of(text, "dynamodb")?;
        let Some(table) = resource.strip_prefix("table/") else {
            return Err(InvalidTable::Resource(resource.to_owned()));
        };
        let name = match table.split_once('/') {
            None => table_name(table)?,
            Some((_, part)) if part.starts_with("stream/") => return Err(InvalidTable::Stream),
            Some((_, part)) if part.starts_with("index/") => return Err(InvalidTable::Index),
            Some(_) => return Err(InvalidTable::Part),
        };
        Ok(Self { name, place: Some((region.to_owned(), account.to_owned())) })
    }

    /// The table, with `home` as the region of a name alone.
    pub(in super::super) fn at_home_in(self, home: &str) -> Table {
        match self.place {
            Some((region, account)) => Table { name: self.name, region, account: Some(account) },
            None => Table { name: self.name, region: home.to_owned(), account: None },
        }
    }
}

fn table_name(text: &str) -> Result<String, InvalidTable> {
    if is_table_name(text) { Ok(text.to_owned()) } else { Err(InvalidTable::Name(text.to_owned())) }
}

/// Whether `text` may be a table's name (`TableName`).
pub(crate) fn is_table_name(text: &str) -> bool {
    (3..=255).contains(&text.len()) && text.bytes().all(is_name_byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_table_at_home_and_an_arn_tells_its_own_place() {
        let table = |text: &str| TableName::parse(text).expect(text).at_home_in("us-east-1");
        let expected = |name: &str, region: &str, account: Option<&str>| Table {
            name: name.to_owned(),
            region: region.to_owned(),
            account: account.map(str::to_owned),
        };
        assert_eq!(table("a.b-c_D"), expected("a.b-c_D", "us-east-1", None));
        for (partition, region) in [("aws", "eu-west-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")] {
            let arn = format!("arn:{partition}:dynamodb:{region}:123456789012:table/quakes");
            assert_eq!(table(&arn), expected("quakes", region, Some("123456789012")));
        }
    }

    #[test]
    fn a_name_has_3_to_255_characters() {
        for (length, is_one) in [(0, false), (2, false), (3, true), (255, true), (256, false)] {
            let name = "t".repeat(length);
            assert_eq!(TableName::parse(&name).is_ok(), is_one, "{length}");
            let arn = format!("arn:aws:dynamodb:us-east-1:123456789012:table/{name}");
            assert_eq!(TableName::parse(&arn).is_ok(), is_one, "{length}");
        }
    }

    #[test]
    fn what_is_not_a_table_is_called_by_its_name() {
        let refused = |text: &str| TableName::parse(text).expect_err(text);
        let of_table = |rest: &str| refused(&format!("arn:aws:dynamodb:us-east-1:123456789012:{rest}"));
        assert_eq!(refused("my table"), InvalidTable::Name("my table".to_owned()));
        assert_eq!(refused("quakes/index/by-day"), InvalidTable::Name("quakes/index/by-day".to_owned()));
        assert_eq!(refused("arn:quakes"), InvalidTable::Arn(InvalidArn::Shape));
        assert_eq!(
            refused("arn:aws:kinesis:us-east-1:123456789012:stream/quakes"),
            InvalidTable::Arn(InvalidArn::Service { found: "kinesis".to_owned(), wanted: "dynamodb" })
        );
        assert_eq!(
            refused("arn:aws:dynamodb:us-east-1:1234:table/quakes"),
            InvalidTable::Arn(InvalidArn::Account("1234".to_owned()))
        );
        assert!(matches!(
            refused("arn:aws:dynamodb:cn-north-1:123456789012:table/quakes"),
            InvalidTable::Arn(InvalidArn::Mismatch { expected: "aws-cn", .. })
        ));
        assert_eq!(of_table("table/quakes/stream/2018-02-01T00:00:00.000"), InvalidTable::Stream);
        assert_eq!(of_table("table/quakes/index/by-day"), InvalidTable::Index);
        assert_eq!(of_table("table/quakes/backup/0151"), InvalidTable::Part);
        assert_eq!(of_table("table/"), InvalidTable::Name(String::new()));
        assert_eq!(of_table("tables/quakes"), InvalidTable::Resource("tables/quakes".to_owned()));
    }
}
