"""Ways to break the core, one rule each, and the test that has to notice: a suite that lets one live proves nothing.

Many are noticed twice: by a test of the statement itself, and by the checker, in the history of whole processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CLAIM = "tests/both_databases/test_claim.py"
SETTLE = "tests/both_databases/test_settle.py"
LEASE = "tests/both_databases/test_lease.py"
CONTROL = "tests/both_databases/test_control.py"
RACES = "tests/both_databases/test_races.py"


@dataclass(frozen=True)
class Mutant:
    """In ``file``, ``sound`` becomes ``broken``; ``killer`` is the test that fails then.

    ``breaks`` is the promise that the history of chaos then breaks, in one of its first seeds.
    """

    name: str
    file: str
    sound: str
    broken: str
    killer: str
    breaks: str = ""

    def plant(self, root: Path) -> None:
        """Break the copy of the package under ``root``; raises ValueError where the code no longer reads so."""
        path = root / "jobrunner" / self.file
        text = path.read_text()
        if text.count(self.sound) != 1:
            raise ValueError(f"{self.name}: {text.count(self.sound)} places in {self.file} read {self.sound!r}")
        path.write_text(text.replace(self.sound, self.broken))


MUTANTS = (
    Mutant(
        "writes prove no token",
        "queue/store/lease.py",
        "return (_t.id == lease.id, _t.token == lease.token)",
        "return (_t.id == lease.id, _t.token.is_not(None))",
        f"{SETTLE}::test_neither_id_nor_status_is_enough",
        "I5",
    ),
    Mutant(
        "a heartbeat proves no token",
        "queue/store/lease.py",
        "return among(_t.id, select(_HELD.c.id)), among(_t.token, select(_HELD.c.token).distinct())",
        "return among(_t.id, select(_HELD.c.id)), _t.token.is_not(None)",
        f"{LEASE}::test_a_renewal_with_another_token_is_lost",
    ),
    Mutant(
        "a sweep takes leases that have not run out",
        "queue/store/lease.py",
        "stale = stale.where(_t.lease_until < db_now())",
        "stale = stale.where(_t.lease_until.is_not(None))",
        f"{LEASE}::test_only_stale_leases_are_reclaimed",
        "I8",
    ),
    Mutant(
        "a sweep looks, and then updates by id only",
        "queue/store/lease.py",
        '.order_by(_t.lease_until).limit(limit).with_for_update(skip_locked=True).cte("stale")',
        '.order_by(_t.lease_until).limit(limit).cte("stale")',
        f"{RACES}::test_settle_against_reclaim_with_a_real_lock_wait",
    ),
    Mutant(
        "a renewal waits for locked rows",
        "queue/store/lease.py",
        'select(_t.id).where(*_ours()).with_for_update(skip_locked=True).cte("mine")',
        'select(_t.id).where(*_ours()).with_for_update().cte("mine")',
        f"{RACES}::test_a_locked_row_is_unknown_and_holds_up_no_other_renewal",
    ),
    Mutant(
        "a release is charged as a failure",
        "queue/store/lease.py",
        "releases=_t.releases + 1",
        "failures=_t.failures + 1",
        f"{LEASE}::test_a_release_charges_nothing_and_leaves_a_row",
    ),
    Mutant(
        "what is given back is charged as a failure",
        "queue/verdict.py",
        'return Verdict(Status.PENDING, "releases", outcome.delay)',
        'return Verdict(Status.PENDING, "failures", outcome.delay)',
        f"{SETTLE}::test_what_is_given_back_is_charged_as_a_release",
        "I11",
    ),
    Mutant(
        "dead nodes cost nothing",
        "queue/store/lease.py",
        "losses=_t.losses + 1",
        "losses=_t.losses",
        f"{LEASE}::test_a_task_with_one_try_survives_dead_nodes_until_the_loss_budget_is_spent",
        "I11",
    ),
    Mutant(
        "the attempt is not counted at the claim",
        "queue/store/claim.py",
        "attempt=_t.attempt + 1",
        "attempt=_t.attempt",
        f"{CLAIM}::test_the_attempt_is_counted_at_the_claim_and_the_token_is_fresh",
        "I4",
    ),
    Mutant(
        "every claim has the same token",
        "queue/store/claim.py",
        "token = secrets.token_hex(16)",
        'token = f"{node_id:0<32}"',
        f"{CLAIM}::test_the_attempt_is_counted_at_the_claim_and_the_token_is_fresh",
        "I4",
    ),
    Mutant(
        "claims lock nothing",
        "db/due.py",
        ".limit(most)\n        .with_for_update(skip_locked=True)",
        ".limit(most)",
        f"{RACES}::test_threads_share_the_work_without_a_double[postgres]",
        "I4",
    ),
    Mutant(
        "what expired is claimed",
        "db/due.py",
        "or_(_t.expires_at.is_(None), _t.expires_at > db_now())",
        "or_(_t.expires_at.is_(None), _t.expires_at.is_not(None))",
        f"{CLAIM}::test_what_expired_is_not_claimed",
    ),
    Mutant(
        "a result overtakes a cancel that came first",
        "queue/store/settle.py",
        '"status": case((asked, Status.CANCELLED), else_=told.status)',
        '"status": told.status + case((asked, ""), else_="")',
        f"{SETTLE}::test_a_cancel_that_came_first_wins_over_the_result",
        "I16",
    ),
    Mutant(
        "crashes have no budget",
        "queue/verdict.py",
        "return _again(task.crashes, CRASH_BUDGET,",
        "return _again(task.crashes, 1_000,",
        f"{SETTLE}::test_crashes_have_a_budget_of_their_own",
        "I11",
    ),
    Mutant(
        "a retry by hand goes on in the same generation",
        "queue/store/control.py",
        '"generation": _t.generation + 1',
        '"generation": _t.generation',
        f"{CONTROL}::test_a_retry_by_hand_opens_a_new_generation",
        "I6",
    ),
    Mutant(
        "one id takes two requests",
        "queue/store/enqueue.py",
        "if row is not None and row.request_hash != task.request_hash:",
        "if row is not None and not row.request_hash:",
        "tests/both_databases/test_enqueue.py::test_a_different_request_under_the_same_id_is_refused",
        "I3",
    ),
    Mutant(
        "an instant of a schedule is taken by all who see it",
        "queue/store/schedules.py",
        "return conn.execute(taken).first() is not None",
        "conn.execute(taken)\n    return True",
        "tests/both_databases/test_firing.py::test_an_instant_is_taken_once",
    ),
    Mutant(
        "leases are taken back right after an outage",
        "background/reaper.py",
        "return database.sound_for() >= lease_seconds + heartbeat_interval",
        "return database.sound_for() >= 0.0",
        "tests/both_databases/test_patience.py::test_a_pause_without_an_answer_is_an_outage_or_its_own_absence",
    ),
    Mutant(
        "an effect stands without its completion",
        "node/settler.py",
        "                if fate.status is not Status.COMPLETED:\n                    raise _NotCompleted\n",
        "",
        "tests/node/test_settler.py::test_effects_of_who_lost_the_task_are_undone",
        "I5",
    ),
    Mutant(
        "a handler's own transaction proves no lease",
        "queue/store/lease.py",
        "return conn.execute(statement).first() is not None",
        "conn.execute(statement)\n    return True",
        f"{LEASE}::test_holds_is_true_only_for_the_owner",
    ),
    Mutant(
        "an urgent task in a new lane waits for the backlog",
        "node/looking.py",
        "FULL_EVERY = 0.1",
        "FULL_EVERY = 1e9",
        "tests/node/test_lookout.py::test_an_urgent_task_in_a_new_lane_is_found_while_the_known_lane_never_runs_dry",
    ),
    Mutant(
        "what a node lost goes on there",
        "node/worker.py",
        "for lease in renewal.lost:",
        "for lease in renewal.lost & renewal.renewed:",
        "tests/node/test_batches.py::test_what_did_not_begin_can_be_cancelled_and_lost_unharmed",
    ),
    Mutant(
        "a paused queue is claimed from",
        "db/due.py",
        "PAUSED = queues.c.paused_at.is_not(None)",
        "PAUSED = queues.c.paused_at.is_(None) & queues.c.paused_at.is_not(None)",
        f"{CLAIM}::test_a_paused_queue_is_left_alone",
    ),
    Mutant(
        "an outage ends what went well",
        "node/settler.py",
        "        except DatabaseUnavailable:\n            raise\n        except Exception as error:\n"
        '            log.error("outcome refused by the database"',
        '        except Exception as error:\n            log.error("outcome refused by the database"',
        "tests/node/test_settler.py::test_an_outage_costs_no_outcome",
    ),
    Mutant(
        "submissions whose answer was lost are made again under new ids",
        "api/intake.py",
        "(len(batch) > 1 and not isinstance(error, DatabaseUnavailable))",
        "len(batch) > 1",
        "tests/api/test_intake.py::test_an_outage_is_told_to_all_and_the_next_are_served",
    ),
    Mutant(
        "who starts takes the leases of all others",
        "runtime/run.py",
        "    if settings.is_sqlite:\n        reclaim_all(database)",
        "    if settings:\n        reclaim_all(database)",
        "tests/both_databases/test_patience.py::"
        "test_a_process_that_starts_takes_leases_only_where_no_other_can_live[postgres]",
        "I8",
    ),
    Mutant(
        "two processes hold the lock of one file",
        "db/lock.py",
        "portalocker.LockFlags.EXCLUSIVE |",
        "portalocker.LockFlags.SHARED |",
        "tests/both_databases/test_migrations.py::test_a_sqlite_file_in_use_is_not_migrated",
    ),
    Mutant(
        "who just began judges at once",
        "db/engine.py",
        "self._sound_since = self._answered_at = _clock()",
        "self._sound_since, self._answered_at = 0.0, _clock()",
        "tests/both_databases/test_patience.py::test_a_fresh_process_waits_for_lease_and_heartbeat",
    ),
    Mutant(
        "a pause without answers is forgotten",
        "db/engine.py",
        "        if moment - self._answered_at > self._outage:\n            self._sound_since = moment\n",
        "",
        "tests/both_databases/test_patience.py::test_a_pause_without_an_answer_is_an_outage_or_its_own_absence",
    ),
    Mutant(
        "a leap of the database's clock is not seen",
        "background/tending.py",
        "if ahead > self._leap:",
        "if ahead > 1e9:",
        "tests/both_databases/test_tending.py::test_a_leap_of_the_databases_clock_is_nobodys_death",
    ),
    Mutant(
        "what is claimed for a held loop is held by nobody",
        "node/held.py",
        "self._arriving[task.lease] = task",
        "pass",
        "tests/faults/test_held_loop.py::test_what_is_claimed_for_it_is_renewed_and_given_back",
    ),
    Mutant(
        "a worker that was told to stop claims on",
        "node/worker.py",
        "        self._claims.stop()  # now: a handler may hold the loop for as long as the process lives\n",
        "",
        "tests/node/test_standing_by.py::test_nobody_claims_for_a_worker_that_was_told_to_stop_though_its_loop_is_held",
    ),
    Mutant(
        "whoever claims from a limited queue counts without its lock",
        "queue/store/limits.py",
        "        .order_by(_q.name)\n        .with_for_update(skip_locked=True)\n",
        "        .order_by(_q.name)\n",
        "tests/both_databases/test_limited_queues.py::test_many_claimers_at_once_never_exceed_a_limit",
    ),
    Mutant(
        "a child that died as it was ready is given a task",
        "execution/children.py",
        "        if child.condemned:  # killed between",
        "        if False:  # killed between",
        "tests/execution/test_children.py::test_a_child_that_dies_the_moment_it_is_ready_keeps_no_task",
    ),
)
