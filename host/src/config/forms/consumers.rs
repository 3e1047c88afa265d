//! Forms of what names a consumer of enhanced fan-out.

use serde_json::{Value as Json, json};

use super::super::document::Value;
use super::super::names::{ConsumerArn, InvalidArn, InvalidConsumerArn, is_consumer_name};
use super::places::{arns, help_with_arn};
use super::{Complaint, Context, Form, Placed, text, text_schema};

/// The name of a consumer.
pub(in super::super) struct ConsumerNamed;

impl Form for ConsumerNamed {
    type Value = String;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<String, Complaint> {
        let (text, quote) = text(value)?;
        if is_consumer_name(text) {
            return Ok(text.to_owned());
        }
        let help = if text.starts_with("arn:") {
            "write the part between \"/consumer/\" and the colon only, or the ARN as `consumer_arn`"
        } else {
            "a consumer's name is 1 to 128 of letters, digits, `.`, `_` and `-`"
        };
        Err(Complaint::content(format!("{quote} is no name of a consumer"), help))
    }

    fn takes(&self) -> String {
        "the name of a consumer".to_owned()
    }

    fn example(&self) -> String {
        "\"sluicebox-orders\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema("^[A-Za-z0-9._-]{1,128}$")
    }
}

/// The ARN of a consumer.
pub(in super::super) struct OneConsumer;

impl Form for OneConsumer {
    type Value = ConsumerArn;

    fn parse(&self, value: &Value, _: &Context<'_>) -> Result<ConsumerArn, Complaint> {
        let (text, quote) = text(value)?;
        ConsumerArn::parse(text).map_err(|error| {
            let help = match &error {
                InvalidConsumerArn::Stream(error) => help_with_arn(error, &self.example()),
                InvalidConsumerArn::StreamAlone | InvalidConsumerArn::Registered => {
                    "write STREAM_ARN/consumer/NAME:SECONDS, as `aws kinesis list-stream-consumers` shows it".to_owned()
                }
                InvalidConsumerArn::Name(_) => format!("it looks like {}", self.example()),
            };
            // The error may quote a part of what a variable brought.
            if quote.is_of_a_variable() || error == InvalidConsumerArn::Stream(InvalidArn::Shape) {
                return Complaint::content(format!("{quote} is no ARN of a consumer"), help);
            }
            Complaint::content(error, help)
        })
    }

    fn takes(&self) -> String {
        "the ARN of a consumer".to_owned()
    }

    fn example(&self) -> String {
        "\"arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/sluicebox-orders:1520000000\"".to_owned()
    }

    fn schema(&self) -> Json {
        text_schema(
            "^arn:aws[a-z-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/[A-Za-z0-9._-]{1,128}/consumer/\
             [A-Za-z0-9._-]{1,128}:[0-9]+$",
        )
    }
}

/// The ARNs of several consumers, and where each stands: whether they fit the streams is for who knows these.
pub(in super::super) struct EachConsumer;

impl Form for EachConsumer {
    type Value = Placed<ConsumerArn>;

    fn parse(&self, value: &Value, context: &Context<'_>) -> Result<Self::Value, Complaint> {
        let consumers = arns(&OneConsumer, value, context)?;
        if consumers.is_empty() {
            return Err(Complaint::content("the list names no consumer", format!("write {}", self.example())));
        }
        Ok(consumers)
    }

    fn takes(&self) -> String {
        "a list of ARNs of consumers".to_owned()
    }

    fn example(&self) -> String {
        format!("[{}]", OneConsumer.example())
    }

    fn schema(&self) -> Json {
        json!({ "type": "array", "minItems": 1, "uniqueItems": true, "items": OneConsumer.schema() })
    }
}
