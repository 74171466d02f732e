"""What is said of how the whole stands."""

VERDICTS = {
    "ok": "All is well.",
    "no_node": "No worker is alive: nothing will run. Start one with: jobrunner up (or: jobrunner worker)",
    "late": "Due tasks wait too long: start more workers, or look for a queue that no worker serves.",
}
