//! The simulation beside dynoxide, an emulator of another hand that was held against AWS itself: the same operations give
//! the same answers, the same codes and the same items.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, ConditionCheck, Delete, KeySchemaElement, KeyType, Put,
    ReturnValue, ScalarAttributeType, TransactWriteItem, Update,
};
use dynoxide::Database;
use host::aws::AwsSettings;
use tests::simulated::{REGION, SimulatedAws};
use tokio::net::TcpListener;

use super::{Item, TABLE, delete, item, number, put, text};

const OPERATIONS: u32 = 200;
const SEEDS: std::ops::Range<u64> = 0..5;

/// Where the two are known to differ: the operation, what the simulation says, what dynoxide says.
struct Deviation {
    /// What is in the request.
    asked: &'static [&'static str],
    /// What its answer begins with.
    simulated: &'static str,
    /// What dynoxide's answer begins with.
    dynoxide: &'static str,
}

const DEVIATIONS: &[Deviation] = &[
    // An update that creates its item: dynoxide returns the key as the item before.
    Deviation { asked: &["UpdateItemInput", "Some(AllOld)"], simulated: "nothing", dynoxide: "{\"p\": " },
    // Keys that fit no item, of one attribute too many or of the wrong type, and twice the same but for that: dynoxide sees
    // one item twice before it sees that there is none.
    Deviation {
        asked: &["TransactWriteItemsInput", "\"q\": S(\"1\")"],
        simulated: "cancelled",
        dynoxide: "ValidationException",
    },
    Deviation {
        asked: &["TransactWriteItemsInput", "\"s\": S(\"1\")"],
        simulated: "cancelled",
        dynoxide: "ValidationException",
    },
];

/// Nor is this asked for in transactions: dynoxide lets one change an item's key, and the item is another one from then on.
const CHANGES_KEY: &str = "SET p = :text";

impl Deviation {
    fn is(&self, asked: &str, answer: &str, expected: &str) -> bool {
        self.asked.iter().all(|part| asked.contains(part))
            && answer.starts_with(self.simulated)
            && expected.starts_with(self.dynoxide)
    }
}

const CONDITIONS: &[&str] = &[
    "attribute_exists(p)",
    "attribute_not_exists(p)",
    "n = :one",
    "n <> :one",
    "n < :two AND attribute_exists(w)",
    "n >= :two OR NOT #n = :text",
    "(n > :one OR n <= :one) AND #n <> :text",
    "attribute_not_exists(w) OR w <> n",
    "n BETWEEN :one AND :two",
    "size = :one",
    "n = ",
    "n = :undefined",
];

const UPDATES: &[&str] = &[
    "SET n = :one",
    "SET n = n + :one, w = n",
    "SET n = if_not_exists(n, :one) + :two, #n = :text",
    "SET w = w - :two",
    "SET w = #n",
    "REMOVE n, #n",
    "REMOVE absent",
    "ADD n :two",
    "ADD w :one SET #n = :text REMOVE n",
    "ADD tags :set",
    "ADD #n :one",
    CHANGES_KEY,
    "SET n = :one, n = :two",
    "SET n :one",
];

/// A seeded source of choices (splitmix64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 33) as usize % count
    }

    fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    fn key(&mut self) -> Item {
        let sort = self.of(&["1", "1.0", "2", "-3e1", "0.5"]);
        let mut key = item([("p", text(self.of(&["a", "b"]))), ("s", number(sort))]);
        match self.below(30) {
            0 => drop(key.remove("s")),
            1 => drop(key.insert("s".to_owned(), text("1"))),
            2 => drop(key.insert("p".to_owned(), text(""))),
            3 => drop(key.insert("q".to_owned(), text("1"))),
            _ => {}
        }
        key
    }

    fn value(&mut self) -> AttributeValue {
        match self.below(14) {
            0..4 => number(self.of(&["1", "2", "-7.50", "1e3", "0.10"])),
            4..7 => text(self.of(&["", "x", "text"])),
            7 => AttributeValue::Bool(true),
            8 => AttributeValue::Null(true),
            9 => AttributeValue::Ss(self.of(&[vec!["b".to_owned(), "a".to_owned()], vec![]])),
            10 => AttributeValue::Ns(self.of(&[vec!["1".to_owned(), "1.0".to_owned()], vec!["3.0".to_owned()]])),
            11 => AttributeValue::L(vec![number("1.0"), text("x")]),
            12 => AttributeValue::M(item([("k", number("5."))])),
            _ => number(self.of(&["1e126", "123456789012345678901234567890123456789", "x", "7"])),
        }
    }

    fn item(&mut self) -> Item {
        let mut item = self.key();
        for name in ["n", "w", "name"] {
            if self.below(3) > 0 {
                item.insert(name.to_owned(), self.value());
            }
        }
        item
    }

    fn condition(&mut self) -> Option<&'static str> {
        (self.below(2) == 0).then(|| self.of(CONDITIONS))
    }
}

/// What the placeholders of an expression stand for, those that it has.
fn placeholders(expressions: &[Option<&str>]) -> (Option<std::collections::HashMap<String, String>>, Option<Item>) {
    let is_used = |name: &str| expressions.iter().flatten().any(|expression| expression.contains(name));
    let names = is_used("#n").then(|| [("#n".to_owned(), "name".to_owned())].into());
    let values = [
        (":one", number(1)),
        (":two", number("2.0")),
        (":text", text("text")),
        (":set", AttributeValue::Ss(vec!["c".to_owned(), "a".to_owned()])),
    ];
    let values: Item =
        values.into_iter().filter(|(name, _)| is_used(name)).map(|(name, value)| (name.to_owned(), value)).collect();
    (names, Some(values).filter(|values| !values.is_empty()))
}

/// Values as text; sets have no order.
fn shown(value: &AttributeValue) -> String {
    if let AttributeValue::Ss(texts) = value {
        format!("Ss{:?}", texts.iter().collect::<BTreeSet<_>>())
    } else if let AttributeValue::Ns(texts) = value {
        format!("Ns{:?}", texts.iter().collect::<BTreeSet<_>>())
    } else if let AttributeValue::L(values) = value {
        format!("L{:?}", values.iter().map(shown).collect::<Vec<_>>())
    } else if let AttributeValue::M(item) = value {
        format!("M{}", shown_item(item))
    } else {
        format!("{value:?}")
    }
}

fn shown_item(item: &Item) -> String {
    format!("{:?}", item.iter().map(|(name, value)| (name, shown(value))).collect::<BTreeMap<_, _>>())
}

fn told<T, E: ProvideErrorMetadata + Debug>(answer: Result<T, SdkError<E>>, show: impl FnOnce(T) -> String) -> String {
    match answer {
        Ok(answer) => show(answer),
        Err(error) => error.code().unwrap_or_else(|| panic!("{error:?}")).to_owned(),
    }
}

fn some(item: Option<Item>) -> String {
    item.filter(|item| !item.is_empty()).map_or_else(|| "nothing".to_owned(), |item| shown_item(&item))
}

fn part(chance: &mut Chance) -> TransactWriteItem {
    let part = TransactWriteItem::builder();
    let (condition, needed, update) = (chance.condition(), chance.of(CONDITIONS), chance.of(UPDATES));
    let update = if update == CHANGES_KEY { "REMOVE w" } else { update };
    let (names, values) = placeholders(&[condition]);
    match chance.below(4) {
        0 => {
            let put = Put::builder().table_name(TABLE).set_item(Some(chance.item()));
            let put = put.set_condition_expression(condition.map(str::to_owned));
            let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
            part.put(put.build().expect("whole"))
        }
        1 => {
            let delete = Delete::builder().table_name(TABLE).set_key(Some(chance.key()));
            let delete = delete.set_condition_expression(condition.map(str::to_owned));
            let delete = delete.set_expression_attribute_names(names).set_expression_attribute_values(values);
            part.delete(delete.build().expect("whole"))
        }
        2 => {
            let (names, values) = placeholders(&[Some(needed)]);
            let check = ConditionCheck::builder().table_name(TABLE).set_key(Some(chance.key()));
            let check = check.condition_expression(needed).set_expression_attribute_names(names);
            part.condition_check(check.set_expression_attribute_values(values).build().expect("whole"))
        }
        _ => {
            let (names, values) = placeholders(&[condition, Some(update)]);
            let change = Update::builder().table_name(TABLE).set_key(Some(chance.key())).update_expression(update);
            let change = change.set_condition_expression(condition.map(str::to_owned));
            let change = change.set_expression_attribute_names(names).set_expression_attribute_values(values);
            part.update(change.build().expect("whole"))
        }
    }
    .build()
}

/// One operation, chosen by chance: what it is, and what the service says.
async fn operate(client: &Client, chance: &mut Chance) -> (String, String) {
    let (condition, update) = (chance.condition(), chance.of(UPDATES));
    let (names, values) = placeholders(&[condition]);
    match chance.below(8) {
        0 | 1 => {
            let put = client.put_item().table_name(TABLE).set_item(Some(chance.item()));
            let put = put.set_condition_expression(condition.map(str::to_owned)).return_values(ReturnValue::AllOld);
            let put = put.set_expression_attribute_names(names).set_expression_attribute_values(values);
            (format!("{:?}", put.as_input()), told(put.send().await, |output| some(output.attributes)))
        }
        2 => {
            let get = client.get_item().table_name(TABLE).set_key(Some(chance.key()));
            (format!("{:?}", get.as_input()), told(get.send().await, |output| some(output.item)))
        }
        3 => {
            let delete = client.delete_item().table_name(TABLE).set_key(Some(chance.key()));
            let delete = delete.set_condition_expression(condition.map(str::to_owned));
            let delete = delete.set_expression_attribute_names(names).set_expression_attribute_values(values);
            let delete = delete.return_values(ReturnValue::AllOld);
            (format!("{:?}", delete.as_input()), told(delete.send().await, |output| some(output.attributes)))
        }
        4 => {
            let count = 1 + chance.below(3);
            let request = |chance: &mut Chance| {
                if chance.below(3) == 0 { delete(chance.key()) } else { put(chance.item()) }
            };
            let requests = (0..count).map(|_| request(chance)).collect();
            let batch = client.batch_write_item().request_items(TABLE, requests);
            (format!("{:?}", batch.as_input()), told(batch.send().await, |_| "written".to_owned()))
        }
        5 => {
            let count = 1 + chance.below(3);
            let parts = (0..count).map(|_| part(chance)).collect();
            let transact = client.transact_write_items().set_transact_items(Some(parts));
            let asked = format!("{:?}", transact.as_input());
            let answer = match transact.send().await.map_err(SdkError::into_service_error) {
                Err(TransactWriteItemsError::TransactionCanceledException(error)) => {
                    let codes = error.cancellation_reasons().iter().map(|reason| reason.code().unwrap_or_default());
                    format!("cancelled {:?}", codes.collect::<Vec<_>>())
                }
                Err(error) => error.code().unwrap_or_else(|| panic!("{error:?}")).to_owned(),
                Ok(_) => "carried out".to_owned(),
            };
            (asked, answer)
        }
        _ => {
            let (names, values) = placeholders(&[condition, Some(update)]);
            let change = client.update_item().table_name(TABLE).set_key(Some(chance.key())).update_expression(update);
            let change = change.set_condition_expression(condition.map(str::to_owned));
            let change = change.set_expression_attribute_names(names).set_expression_attribute_values(values);
            let returned = chance.of(&[
                ReturnValue::AllNew,
                ReturnValue::AllOld,
                ReturnValue::UpdatedNew,
                ReturnValue::UpdatedOld,
                ReturnValue::None,
            ]);
            let change = change.return_values(returned);
            (format!("{:?}", change.as_input()), told(change.send().await, |output| some(output.attributes)))
        }
    }
}

async fn create(client: &Client) {
    let attribute =
        |name: &str, of| AttributeDefinition::builder().attribute_name(name).attribute_type(of).build().expect("whole");
    let key = |name: &str, of| KeySchemaElement::builder().attribute_name(name).key_type(of).build().expect("whole");
    let create = client.create_table().table_name(TABLE).billing_mode(BillingMode::PayPerRequest);
    let create = create.attribute_definitions(attribute("p", ScalarAttributeType::S));
    let create = create.attribute_definitions(attribute("s", ScalarAttributeType::N));
    let create = create.key_schema(key("p", KeyType::Hash)).key_schema(key("s", KeyType::Range));
    create.send().await.expect("created");
}

async fn items(client: &Client) -> BTreeSet<String> {
    let page = client.scan().table_name(TABLE).send().await.expect("read");
    page.items().iter().map(shown_item).collect()
}

async fn partition(client: &Client) -> Vec<String> {
    let query = client.query().table_name(TABLE).key_condition_expression("p = :p AND s >= :s");
    let query = query.expression_attribute_values(":p", text("a")).expression_attribute_values(":s", number(-5));
    query.send().await.expect("read").items().iter().map(shown_item).collect()
}

#[tokio::test]
async fn the_same_operations_do_the_same_as_with_another_emulator() {
    let mut differences = Vec::new();
    let mut codes = BTreeSet::new();
    for seed in SEEDS {
        let aws = SimulatedAws::start().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let server = tokio::spawn(dynoxide::server::serve_on(listener, Database::memory().expect("memory")));
        let other = Client::new(&AwsSettings::local(REGION, &endpoint).load().await);
        let ours = aws.dynamodb_client().await;
        create(&ours).await;
        create(&other).await;
        let (mut one, mut same) = (Chance(seed), Chance(seed));
        for _ in 0..OPERATIONS {
            let (asked, answer) = operate(&ours, &mut one).await;
            let (_, expected) = operate(&other, &mut same).await;
            if answer != expected && !DEVIATIONS.iter().any(|known| known.is(&asked, &answer, &expected)) {
                differences.push(format!("{asked}\n  simulated: {answer}\n  dynoxide:  {expected}"));
            }
            codes.insert(answer.split(' ').next().unwrap_or_default().to_owned());
        }
        assert!(differences.is_empty(), "seed {seed}:\n{}", differences.join("\n"));
        assert_eq!(items(&ours).await, items(&other).await);
        assert_eq!(partition(&ours).await, partition(&other).await);
        server.abort();
    }
    for code in ["ValidationException", "ConditionalCheckFailedException", "cancelled", "written", "carried", "nothing"]
    {
        assert!(codes.contains(code), "{code} never came up: {codes:?}");
    }
}
