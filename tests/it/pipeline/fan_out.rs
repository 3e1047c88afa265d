//! The whole host in process, reading by enhanced fan-out.

use tests::rig::Rig;

fn rig(shards: u32) -> Rig {
    let mut rig = Rig::new(shards);
    rig.read_by_fan_out();
    rig
}

/// ORD-1, DEL-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_pushed_is_delivered_whole_and_in_order_and_a_restart_resumes() {
    let rig = rig(3);
    rig.write(300);
    let run = rig.start().await;
    rig.until_elements(300).await;
    rig.write(200);
    rig.until_elements(500).await;
    run.drained().await.expect_success();
    rig.write(100);
    let run = rig.start().await;
    rig.until_elements(600).await;
    run.drained().await.expect_success();
    rig.expect_exact();
}

/// ORD-1, LIN-1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_is_pushed_in_the_order_of_descent() {
    let rig = rig(1);
    rig.write(50);
    let run = rig.start().await;
    rig.until_elements(50).await;
    let first = rig.shards().remove(0);
    rig.stream.split(&first);
    rig.write(50);
    rig.until_elements(100).await;
    run.drained().await.expect_success();
    rig.expect_exact();
    rig.catch_up().await.expect_success();
}
