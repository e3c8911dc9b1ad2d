"""The kit finds what is wrong with a bad connector."""

from __future__ import annotations

from pathlib import Path

import pytest

from canonical.faults import PlatformFault
from policies.problems import ProblemError
from tests.support.connector_kit.bad import BadSubject
from tests.support.connector_kit.kit import behaviours, run
from tests.support.connector_kit.provisioning import ProvisioningKit

WRONG = [
    "the_same_put_twice_is_one_record",
    "two_puts_at_once_are_one_record",
    "a_put_after_a_restart_is_the_same_record",
    "a_retry_after_a_lost_answer_finds_what_was_done",
    "a_higher_attempt_is_a_new_try",
    "a_write_that_was_sent_and_not_answered_has_an_unknown_outcome",
    "a_write_that_a_broken_platform_answers_has_an_unknown_outcome",
    "a_read_that_is_not_answered_is_unavailable",
    "a_read_that_a_broken_platform_answers_is_unavailable",
    "a_limit_is_throttled_for_as_long_as_the_platform_says",
    "a_limit_may_name_a_date",
    "a_platform_that_is_down_is_unavailable",
    "a_platform_that_cannot_be_reached_is_unavailable_and_comes_back",
    "a_maintenance_page_is_no_answer",
    "a_redirect_to_a_maintenance_page_is_no_answer",
    "what_is_refused_is_rejected_with_its_field",
    "a_removal_takes_back_all_and_what_is_not_there_is_removed_already",
    "a_service_is_suspended_and_taken_up_and_nothing_of_it_is_lost",
    "a_service_that_is_not_there_is_not_suspended",
    "a_service_goes_to_another_customer_as_it_is",
    "every_write_says_what_it_carries",
    "no_secret_is_ever_seen",
    "a_signed_webhook_is_an_event_of_its_instance",
    "a_repeated_webhook_is_the_same_event",
    "a_forged_webhook_is_refused",
    "a_webhook_of_another_time_is_refused",
    "a_webhook_that_is_replayed_later_is_refused",
    "an_empty_secret_opens_nothing",
    "a_signed_webhook_that_is_no_report_is_invalid",
]


@pytest.mark.parametrize("behaviour", WRONG)
def test_a_bad_connector_fails_the_kit(behaviour: str, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, ValueError, KeyError, TypeError, ProblemError, PlatformFault)):
        run(ProvisioningKit, BadSubject(), behaviour, tmp_path)


@pytest.mark.parametrize("behaviour", sorted(set(behaviours(ProvisioningKit)) - set(WRONG)))
def test_what_a_bad_connector_does_right_passes(behaviour: str, tmp_path: Path) -> None:
    run(ProvisioningKit, BadSubject(), behaviour, tmp_path)
