//! What a provider of Nomad has to get right, line by line of the list that this one was built by, and what shows that
//! it does: tests of the provider and of the host, and the rows of "Where it differs" in docs/providers/nomad.md.

use std::collections::BTreeSet;
use std::fs;

use crate::support::repository;

/// A line of the list: its number, what it is about, the tests that show it, and the rows that say what is different.
type Line =
    (usize, &'static str, &'static [(&'static str, &'static [&'static str])], &'static [&'static str]);

// Files with tests, from the root of the repository.
const ACQUIRE: &str = "tests/e2e/nomad/acquire.rs";
const BAD_INPUT: &str = "tests/e2e/bad_input.rs";
const BROKEN: &str = "tests/e2e/nomad/broken.rs";
const CANCEL: &str = "tests/e2e/nomad/cancel.rs";
const CONFIG: &str = "tests/e2e/config.rs";
const DOCTOR: &str = "tests/e2e/nomad/doctor.rs";
const ENDING: &str = "tests/e2e/nomad/ending.rs";
const FIRST_RUN: &str = "tests/e2e/first_run.rs";
const LEASE: &str = "tests/e2e/nomad/lease.rs";
const LIVE: &str = "tests/e2e/nomad_live.rs";
const PROTOCOL: &str = "tests/e2e/nomad/protocol.rs";
const READY: &str = "tests/e2e/nomad/ready.rs";
const RUN: &str = "tests/e2e/nomad/run.rs";
const SILENCE: &str = "tests/e2e/nomad/silence.rs";
const SYNC: &str = "tests/e2e/nomad/sync.rs";
const TAIL: &str = "tests/e2e/nomad/tail.rs";
const TEMPLATE: &str = "tests/e2e/nomad/template.rs";
const TLS: &str = "tests/e2e/nomad/tls.rs";
const TRUST: &str = "tests/e2e/nomad/trust.rs";
const VALUES: &str = "tests/e2e/nomad/values.rs";
const ADDRESS: &str = "plugins/nomad/src/address.rs";
const ALLOCATIONS: &str = "plugins/nomad/src/allocations.rs";
const FRAMES: &str = "plugins/nomad/src/exec/frames.rs";
const JOB: &str = "plugins/nomad/src/job/tests.rs";
const SETTINGS: &str = "plugins/nomad/src/settings/tests.rs";

/// The row about exit codes, which many lines of the list name.
const CODES: &str = "exit codes of its own";

#[rustfmt::skip]
const LINES: &[Line] = &[
    (1, "an address is http, https or unix, and has a host", &[
        (ADDRESS, &["what_is_no_address_is_refused", "one_spelling_for_every_way_to_write_it"]),
        (TRUST, &["what_cannot_be_an_address_is_refused_without_repeating_a_password"])], &[]),
    (2, "no user, query or fragment in it", &[
        (ADDRESS, &["what_is_no_address_is_refused"]),
        (TRUST, &["what_cannot_be_an_address_is_refused_without_repeating_a_password"])], &[]),
    (3, "a socket by an absolute path", &[
        (ADDRESS, &["what_is_no_address_is_refused"]),
        (VALUES, &["what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked"])], &[]),
    (4, "no address", &[(DOCTOR, &["without_an_address_nobody_is_asked"])],
        &["no address is found out when a client is made"]),
    (5, "the token is in a variable and nowhere else", &[
        (VALUES, &["what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked",
            "nomads_own_variables_come_after_ours_and_before_the_file"]),
        (TRUST, &["the_token_is_in_the_header_and_nowhere_else"]),
        (RUN, &["what_is_forwarded_is_in_no_request_and_the_token_is_never_forwarded"]),
        (LIVE, &["the_token_is_nowhere_but_in_the_requests"])], &[]),
    (6, "no token, where none is needed", &[
        (DOCTOR, &["where_everything_is_well_each_check_says_so", "a_token_that_is_missing_is_told_from_one_that_is_wrong"])], &[]),
    (7, "a repository sets nothing", &[(TRUST, &["a_repository_may_set_nothing_and_nothing_goes_where_it_says"])], &[]),
    (8, "nor does it say where a token goes", &[(TRUST, &["a_repository_may_set_nothing_and_nothing_goes_where_it_says"])],
        &["a repository that sets the address or the token's variable is an error"]),
    (9, "who wins: flag, our variable, Nomad's, file", &[
        (TRUST, &["a_flag_wins_over_our_variable_that_over_nomads_and_that_over_the_file"]),
        (VALUES, &["nomads_own_variables_come_after_ours_and_before_the_file"]),
        (CONFIG, &["a_flag_wins_over_a_variable_that_over_the_repository_that_over_the_user_that_over_the_default"])], &[]),
    (10, "no directory of the system", &[
        (SETTINGS, &["a_workspace_is_never_a_directory_of_the_system"]),
        (VALUES, &["what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked"])],
        &["`..` in `workdir` is resolved"]),
    (11, "task, driver and image", &[
        (SETTINGS, &["every_problem_is_named_at_once"]),
        (VALUES, &["what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked"])], &[]),
    (12, "sizes, times and the target", &[
        (VALUES, &["what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked"]),
        (PROTOCOL, &["what_names_nothing_to_execute_or_nowhere_to_do_it_is_refused_without_a_request"])], &[]),
    (13, "options of other providers", &[
        (BAD_INPUT, &["flags_that_only_upstream_has"]),
        ("tests/e2e/crew/tailnet.rs", &["where_a_tailnet_is_not_declared_nothing_is_made"])],
        &["`--class`, `--type`, Tailscale and runner options are refused by the provider"]),
    (14, "options of a run that are not there", &[
        (BAD_INPUT, &["flags_that_only_upstream_has"]),
        (SYNC, &["a_full_resync_replaces_everything", "without_a_sync_the_workspace_is_there_and_empty"]),
        ("tests/e2e/tree.rs", &["a_large_tree_is_warned_of_and_too_large_a_one_refused"])],
        &["the archive goes to `/tmp` and replaces the tree"]),
    (15, "defaults", &[(SETTINGS, &["the_defaults_are_those_of_the_documentation"])],
        &["`datacenters` is `dc1`", "`execTimeout` is 600 s"]),
    (16, "nothing secret is shown", &[
        (CONFIG, &["a_password_in_a_url_reaches_no_claim_and_no_message"]),
        (VALUES, &["nomads_own_variables_come_after_ours_and_before_the_file"]),
        ("host/src/config/redact.rs", &["urls_lose_their_credentials"])],
        &["the configuration is shown with whether there is a token"]),
    (17, "redirects", &[
        (TRUST, &["no_redirect_is_followed_wherever_it_leads"]),
        ("plugins/nomad/src/api/refused.rs", &["where_a_redirect_leads_is_not_told"])],
        &["up to 10 redirects to the same origin are followed"]),
    (18, "a redirect that leads nowhere, and one of an execution", &[(TRUST, &["no_redirect_is_followed_wherever_it_leads"])],
        &["up to 10 redirects to the same origin are followed"]),
    (19, "TLS", &[
        (TLS, &["the_agents_certificate_has_to_be_of_an_authority_that_is_trusted",
            "the_name_in_the_certificate_has_to_be_the_one_that_is_asked_for",
            "an_agent_that_wants_a_certificate_gets_the_configured_one",
            "speaking_tls_to_a_plain_port_and_the_other_way_round_is_told", "a_socket_of_this_machine_is_as_good"])], &[]),
    (20, "every request can be cancelled and says where", &[
        (ACQUIRE, &["every_request_says_region_and_namespace"]),
        (ENDING, &["an_agent_that_says_nothing_does_not_hold_the_user"])], &[]),
    (21, "ids and names", &[
        (ACQUIRE, &["the_job_says_in_three_places_whose_it_is_and_nothing_that_is_nobodys_business"]),
        (JOB, &["the_job_says_in_three_places_whose_it_is"])], &[]),
    (22, "a job is created and never replaced", &[
        (ACQUIRE, &["the_job_says_in_three_places_whose_it_is_and_nothing_that_is_nobodys_business",
            "a_job_of_the_leases_name_that_is_another_s_is_left_alone"]),
        (PROTOCOL, &["a_foreign_job_of_the_same_name_is_a_conflict_and_no_more_than_looked_at"])], &[]),
    (23, "marks on job, group and task", &[
        (ACQUIRE, &["the_job_says_in_three_places_whose_it_is_and_nothing_that_is_nobodys_business"]),
        (JOB, &["the_job_says_in_three_places_whose_it_is"])], &[]),
    (24, "the scope, and what is in no mark", &[
        (SETTINGS, &["the_scope_depends_on_address_namespace_region_and_task"]),
        (JOB, &["the_job_says_in_three_places_whose_it_is"]),
        (ACQUIRE, &["the_job_says_in_three_places_whose_it_is_and_nothing_that_is_nobodys_business"])], &[]),
    (25, "no region and no namespace", &[
        (SETTINGS, &["the_scope_depends_on_address_namespace_region_and_task"]),
        (JOB, &["the_job_says_in_three_places_whose_it_is"])],
        &["an empty region is sent as `global`"]),
    (26, "what the task does", &[
        (JOB, &["the_driver_decides_what_the_task_is_told", "the_task_stays_and_at_its_end_nothing_of_a_shared_one_is_left"])],
        &["the task is `sh -lc 'while :; do sleep 3600; done'`"]),
    (27, "no image where there is none", &[
        (JOB, &["the_driver_decides_what_the_task_is_told"]),
        (ACQUIRE, &["the_job_says_in_three_places_whose_it_is_and_nothing_that_is_nobodys_business"])], &[]),
    (28, "placeholders are text", &[
        (JOB, &["a_placeholder_cannot_become_more_than_text", "braces_of_nomads_own_templates_are_left_alone"]),
        (TEMPLATE, &["a_job_of_ones_own_has_its_placeholders_replaced_and_is_a_lease"]),
        (VALUES, &["what_makes_no_sense_is_refused_with_its_key_before_anything_is_asked"])], &[]),
    (29, "what a template has to have", &[
        (TEMPLATE, &["a_template_that_cannot_be_a_lease_is_refused_before_anything_is_asked"]),
        (JOB, &["a_template_is_completed_with_whose_it_is", "a_template_that_contradicts_is_refused"])],
        &["a template must contain every mark"]),
    (30, "what a template may not be", &[
        (TEMPLATE, &["a_template_that_cannot_be_a_lease_is_refused_before_anything_is_asked"]),
        (JOB, &["a_template_that_contradicts_is_refused"]),
        (ENDING, &["a_job_that_is_taken_and_not_scheduled_is_no_lease"])], &[]),
    (31, "evaluations", &[
        (READY, &["an_evaluation_that_fails_is_told_with_what_the_scheduler_said", "an_evaluation_of_which_nothing_is_said_is_an_error",
            "a_scheduler_that_does_not_look_is_waited_for_as_long_as_was_said", "an_evaluation_that_waits_for_room_is_no_failure"])], &[]),
    (32, "what was not placed", &[
        (READY, &["a_lease_for_which_there_is_no_room_yet_waits_for_it", "a_lease_for_which_there_is_no_room_fails_with_the_reasons"]),
        (ALLOCATIONS, &["why_nothing_was_placed"])], &[]),
    (33, "when a lease is ready", &[
        (ALLOCATIONS, &["the_configured_task_has_to_run"]), (READY, &["a_task_that_is_slow_to_start_is_waited_for"])], &[]),
    (34, "tasks that do not run yet, or no more", &[
        (ALLOCATIONS, &["the_configured_task_has_to_run"]),
        ("plugins/nomad/src/api/types.rs", &["what_go_writes_for_nothing_is_nothing"])], &[]),
    (35, "which allocation counts", &[(ALLOCATIONS, &["what_works_beats_what_comes_and_that_beats_what_is_over"])], &[]),
    (36, "all allocations of this job and no other's", &[
        (READY, &["an_allocation_of_another_job_or_without_an_id_is_not_taken"])], &[]),
    (37, "allocations that fail", &[
        (READY, &["a_task_that_cannot_start_is_told_with_the_drivers_words", "a_lease_for_which_there_is_no_room_fails_with_the_reasons",
            "a_task_that_takes_too_long_to_start_is_told_with_what_happened_last",
            "a_template_that_fails_over_is_waited_for_until_its_replacement_runs"]),
        (ALLOCATIONS, &["one_that_is_over_is_not_the_end_while_another_is_to_come", "a_failure_is_told_with_what_happened_last"]),
        (PROTOCOL, &["a_failure_is_waited_on_for_a_moment_where_the_job_may_replace_it"])], &[]),
    (38, "a lease that comes to nothing", &[
        (READY, &["an_evaluation_that_fails_is_told_with_what_the_scheduler_said", "a_task_that_cannot_start_is_told_with_the_drivers_words"]),
        (ENDING, &["a_lease_that_comes_to_nothing_is_not_taken_from_whoever_has_it_now"])], &[]),
    (39, "also when it was interrupted, or is gone", &[
        (ENDING, &["ctrl_c_while_a_lease_is_made_takes_its_job_back"]),
        ("tests/e2e/signals.rs", &["ctrl_c_while_the_lease_is_made_takes_it_back"])],
        &["a job that is not found after a failure was never made"]),
    (40, "the tree is known to be good before there is a job", &[
        (VALUES, &["what_cannot_be_sent_is_known_before_a_job_is_registered"]),
        ("tests/e2e/tree.rs", &["a_tree_that_cannot_be_told_is_refused_before_there_is_a_lease"])], &[]),
    (41, "no command", &[
        (BAD_INPUT, &["no_command"]), (VALUES, &["what_cannot_be_sent_is_known_before_a_job_is_registered"])], &[]),
    (42, "how files get there", &[
        (RUN, &["what_is_sent_is_on_standard_input_and_that_is_closed_each_time"]),
        (SYNC, &["a_sync_that_fails_is_no_exit_code_and_releases_the_lease", "a_tree_of_many_megabytes_arrives_as_it_is"]),
        ("host/src/sync/engine/trouble.rs", &["a_bundle_that_is_cut_short_leaves_the_old_tree"])],
        &["the archive goes to `/tmp` and replaces the tree"]),
    (43, "what is deleted here goes there", &[
        (SYNC, &["only_what_changed_is_sent_and_what_a_build_left_stays", "what_a_command_did_to_our_files_is_undone"]),
        ("tests/e2e/sync.rs", &["what_is_gone_here_stays_there_where_the_setting_says_so"])],
        &["the archive goes to `/tmp` and replaces the tree"]),
    (44, "what a command is given goes by standard input", &[
        (RUN, &["what_is_forwarded_is_in_no_request_and_the_token_is_never_forwarded",
            "what_is_sent_is_on_standard_input_and_that_is_closed_each_time"]),
        ("host/src/config/env_forward.rs", &["what_is_no_name_is_refused_or_warned_of"])], &[]),
    (45, "a shell where one is needed", &[
        ("host/src/commands/run.rs", &["a_shell_is_used_only_where_the_words_need_one"]),
        (FIRST_RUN, &["a_shell_is_used_where_the_words_need_one"]), (RUN, &["words_arrive_byte_for_byte"])], &[]),
    (46, "the directory is made", &[
        (SYNC, &["without_a_sync_the_workspace_is_there_and_empty"]),
        (RUN, &["a_directory_that_is_gone_is_made_again_and_one_that_cannot_be_made_is_no_exit_code"])], &[]),
    (47, "output", &[
        (RUN, &["output_comes_while_the_command_runs_and_the_streams_stay_apart", "every_byte_arrives_as_it_was_written"]),
        (TAIL, &["what_a_command_prints_at_the_very_end_is_whole_in_a_container_too",
            "every_byte_of_a_flood_arrives_on_both_streams_at_once"]),
        (FRAMES, &["bytes_come_as_they_are_and_what_is_unknown_is_left_alone"]), (LIVE, &["output_is_whole"])], &[]),
    (48, "exit codes", &[
        (RUN, &["the_exit_code_is_the_commands_or_128_and_its_signal"]),
        (FRAMES, &["an_exit_code_that_is_left_out_is_0"]), (BROKEN, &["an_exit_frame_without_the_word_is_no_exit_code"])],
        &["Nomad's exit frame has the exit code, and a negative one is 1"]),
    (49, "a broken connection is no exit code", &[
        (BROKEN, &["a_connection_that_breaks_is_never_an_exit_code_and_the_command_is_ended",
            "a_connection_that_ends_while_the_command_is_silent_is_no_exit_code_either",
            "a_connection_that_ends_before_anything_was_heard_executes_nothing",
            "an_exit_frame_that_never_comes_takes_nothing_away", "a_lease_is_released_when_the_connection_breaks"]),
        (ENDING, &["the_timing_record_of_a_run_that_broke_is_no_success"])], &[CODES]),
    (50, "what takes too long is ended where it runs", &[
        (CANCEL, &["what_is_executed_may_take_as_long_as_the_setting_says", "a_timeout_ends_the_command_with_124",
            "ctrl_c_ends_the_command_with_its_children_and_releases_the_lease"]),
        (LIVE, &["ctrl_c_ends_the_command_where_it_runs"])],
        &["cancelling ends the connection"]),
    (51, "standard input is closed, and a silent command lives", &[
        (RUN, &["what_is_sent_is_on_standard_input_and_that_is_closed_each_time"]),
        (SILENCE, &["signs_of_life_keep_a_silent_command_and_the_connection", "a_silent_command_ends_when_its_host_was_killed",
            "an_agent_that_says_nothing_any_more_is_not_waited_for"])], &[]),
    (52, "nothing to execute, or nowhere to do it", &[
        (PROTOCOL, &["what_names_nothing_to_execute_or_nowhere_to_do_it_is_refused_without_a_request"]),
        (READY, &["an_allocation_of_another_job_or_without_an_id_is_not_taken"]), (BROKEN, &["a_job_that_is_gone_is_no_lease"])], &[]),
    (53, "a lease that stays after its run", &[
        (ENDING, &["a_run_whose_lease_stays_fails_and_names_it_and_a_commands_own_code_comes_first"])], &[]),
    (54, "leases that are kept", &[
        (FIRST_RUN, &["a_lease_is_kept_on_failure_only_where_that_was_asked_for_and_there_was_one"]),
        (SYNC, &["a_sync_that_fails_is_no_exit_code_and_releases_the_lease"])], &[]),
    (55, "files alone", &[
        (SYNC, &["without_a_sync_the_workspace_is_there_and_empty"]), (FIRST_RUN, &["files_are_brought_over_alone_or_not_at_all"])], &[]),
    (56, "use is noted", &[
        (VALUES, &["a_lease_without_a_command_in_it_says_what_it_is"]),
        ("host/src/lease/store.rs", &["a_claim_that_could_not_be_read_again_is_not_written"])], &[]),
    (57, "the timing record", &[
        (RUN, &["the_timing_record_says_how_it_went"]), (ENDING, &["the_timing_record_of_a_run_that_broke_is_no_success"])],
        &["the timing record has fields of its own, for `warmup` as well"]),
    (58, "who is meant by a name", &[
        (VALUES, &["what_cannot_be_sent_is_known_before_a_job_is_registered"]), (BAD_INPUT, &["a_lease_that_is_not_there"])], &[CODES]),
    (59, "another scope", &[(LEASE, &["another_scope_has_no_say_over_a_lease"])], &[CODES]),
    (60, "another directory", &[(LEASE, &["another_workdir_is_refused_before_anything_is_executed"])], &[CODES]),
    (61, "whose a job is, before it is used", &[
        (LEASE, &["a_job_that_says_something_else_of_its_owner_is_neither_used_nor_stopped"]),
        (JOB, &["a_job_that_differs_anywhere_is_not_the_leases"])], &[]),
    (62, "the allocation that is there now", &[
        (BROKEN, &["an_allocation_that_was_replaced_gets_the_whole_tree"]),
        ("tests/e2e/crew/members.rs", &["what_the_user_calls_a_lease_no_provider_changes"])], &[]),
    (63, "a job that is gone, and one of which nothing is known", &[
        (LEASE, &["a_lease_whose_job_is_gone_is_missing_and_can_be_stopped"]),
        (ENDING, &["what_the_agent_does_not_want_to_say_is_no_absence"])],
        &["a list fails when one lease cannot be asked about"]),
    (64, "waiting for a lease", &[
        (READY, &["a_task_that_dies_after_its_start_is_no_lease_any_more"]),
        (ENDING, &["a_lease_that_is_waited_for_has_its_time"])], &[CODES]),
    (65, "the order in which a lease ends", &[
        (ENDING, &["a_job_is_stopped_and_its_end_waited_for_before_it_is_purged"]),
        (LEASE, &["stop_waits_for_a_job_that_takes_its_time"])],
        &["purge alone"]),
    (66, "404 is a status", &[
        (LEASE, &["a_lease_whose_job_is_gone_is_missing_and_can_be_stopped", "only_the_status_404_means_that_a_job_is_gone"])], &[]),
    (67, "an end that is not confirmed", &[
        (ENDING, &["a_deletion_that_cannot_be_confirmed_keeps_the_lease"]),
        (LEASE, &["a_job_that_stays_although_it_was_stopped_keeps_its_claim"])], &[]),
    (68, "a job of somebody else", &[
        (LEASE, &["a_job_that_says_something_else_of_its_owner_is_neither_used_nor_stopped"]),
        (ENDING, &["cleanup_asks_about_its_own_jobs_and_leaves_those_alone_that_are_not",
            "a_job_that_changes_hands_while_it_ends_is_not_purged"])], &[]),
    (69, "cleanup", &[
        (ENDING, &["cleanup_asks_about_its_own_jobs_and_leaves_those_alone_that_are_not"]),
        (LEASE, &["cleanup_ends_what_is_over_and_a_dry_run_changes_nothing",
            "cleanup_forgets_a_lease_whose_job_is_gone_when_its_time_is_over"]),
        ("tests/e2e/lease.rs", &["a_lease_whose_time_is_over_is_released_by_cleanup_and_no_other_is"])],
        &["cleanup asks about every lease of the scope"]),
    (70, "warmup", &[(VALUES, &["a_lease_without_a_command_in_it_says_what_it_is"])],
        &["the timing record has fields of its own, for `warmup` as well"]),
    (71, "a job that was gone already", &[
        (ENDING, &["a_job_that_goes_away_before_it_is_told_to_is_confirmed_to_be_gone"])], &[]),
    (72, "leases on one node", &[
        (LEASE, &["leases_on_one_node_share_nothing_and_leave_nothing_there"]),
        (JOB, &["the_task_stays_and_at_its_end_nothing_of_a_shared_one_is_left"]),
        (LIVE, &["leases_on_one_node_share_nothing_and_end_with_all_that_they_started"])], &[]),
    (73, "doctor: no address", &[(DOCTOR, &["without_an_address_nobody_is_asked"])], &[]),
    (74, "doctor: no token, and a wrong one", &[(DOCTOR, &["a_token_that_is_missing_is_told_from_one_that_is_wrong"])], &[]),
    (75, "doctor: none is needed", &[
        (DOCTOR, &["where_everything_is_well_each_check_says_so", "who_has_no_token_may_be_allowed_all_the_same"])], &[]),
    (76, "doctor: region and namespace", &[(DOCTOR, &["a_region_or_a_namespace_that_is_not_there_is_named"])], &[]),
    (77, "doctor: classes", &[(DOCTOR, &["an_agent_that_cannot_be_asked_has_a_class"])],
        &["`doctor` has a class for every status"]),
    (78, "doctor: what a token may not see", &[
        (DOCTOR, &["a_token_that_holds_just_enough_is_enough", "what_a_token_lacks_is_named_and_what_the_driver_does_not_need_is_not",
            "what_is_allowed_without_a_token_is_not_the_tokens", "the_policies_of_a_tokens_roles_are_its_own"]),
        ("tests/e2e/nomad/tokens.rs", &["what_doctor_says_of_a_token_is_what_happens"])], &[]),
    (79, "tests on a real cluster", &[
        ("tests/src/nomad/cluster/tests.rs", &["a_job_runs_and_goes_on_every_cluster", "an_address_is_read_only_where_nothing_is_left_out"])],
        &["a script tries a real cluster"]),
    (80, "all of it, on a real cluster", &[
        (LIVE, &["the_whole_life_of_a_lease", "the_checker_is_content", "ten_runs_at_once_do_not_meet",
            "a_host_that_was_killed_leaves_what_cleanup_finds"])],
        &["a script tries a real cluster"]),
];

/// The first cells of the rows of "Where it differs".
fn rows() -> BTreeSet<String> {
    let text = fs::read_to_string(repository().join("docs/providers/nomad.md")).unwrap();
    let table = text.split("## Where it differs").nth(1).unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(2);
    rows.map(|row| row.split(" | ").next().unwrap().trim_start_matches("| ").to_owned()).collect()
}

#[test]
fn every_line_of_the_list_has_a_test_that_is_there_or_a_row_that_says_why_not() {
    let (rows, mut named) = (rows(), BTreeSet::new());
    assert!(rows.len() > 10, "{rows:?}");
    let mut wrong = Vec::new();
    for (nth, (number, what, files, differs)) in LINES.iter().enumerate() {
        assert_eq!(*number, nth + 1, "{what}");
        if files.is_empty() {
            wrong.push(format!("{number}: no test at all"));
        }
        for (file, tests) in *files {
            let code = fs::read_to_string(repository().join(file)).unwrap();
            // What is not under the attribute is a helper.
            let is_test = |name: &str| {
                let parts = code.split("#[test]\n").skip(1);
                parts.into_iter().any(|part| {
                    let line =
                        part.lines().map(str::trim).find(|line| !line.starts_with("#[")).unwrap_or_default();
                    line.starts_with(&format!("fn {name}()"))
                })
            };
            wrong.extend(
                tests.iter().filter(|name| !is_test(name)).map(|name| format!("{number}: {name} in {file}")),
            );
        }
        for row in *differs {
            named.insert((*row).to_owned());
            if !rows.contains(*row) {
                wrong.push(format!("{number}: no row `{row}`"));
            }
        }
    }
    wrong.extend(rows.difference(&named).map(|row| format!("no line names the row `{row}`")));
    assert_eq!(LINES.len(), 80);
    assert!(wrong.is_empty(), "{wrong:#?}");
}
