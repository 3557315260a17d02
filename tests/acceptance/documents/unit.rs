use std::process::Command;

use crate::support::{found, root};

/// systemd itself has nothing to say about the unit, and finds that it may do little.
#[test]
fn systemd_takes_the_unit() {
    let Some(analyze) = found("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    let unit = std::fs::read_to_string(root("docs/deploy/app@.service")).unwrap();
    // It looks whether the program is there.
    let unit = unit.replace("/usr/local/bin/app", env!("CARGO_BIN_EXE_acceptance-app"));
    let file = folder.path().join("app@.service");
    std::fs::write(&file, unit).unwrap();

    let verified = Command::new(&analyze).arg("verify").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");

    // In tenths of the exposure level that systemd computes: 0 is none, 100 is everything.
    let judged =
        Command::new(&analyze).args(["security", "--offline=yes", "--threshold=20"]).arg(&file).output();
    let judged = judged.unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stdout));
}
