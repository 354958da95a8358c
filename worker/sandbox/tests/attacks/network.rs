//! x

use crate::attacks;
use crate::stage::Stage;

attacks!("network.py": nothing);
async fn nothing(stage: &mut Stage) {
    stage.inside().await;
}
